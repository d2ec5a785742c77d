//! Records read against a definition.

use serde_json::json;

use super::*;

const DEFINITION: &str = "
collection = 'image'
key = 'id'
[fields]
id = { type = 'text', required = true }
source = { type = 'text', required = true, max_length = 4, on_long = 'reject' }
title = { type = 'text', max_length = 3, on_long = 'truncate' }
note = { type = 'text', max_length = 3, on_long = 'null' }
size = 'int'
tags = 'json'
names = 'text[]'
removed = { type = 'bool', required = true, default = false }
views = { type = 'int', owner = 'api', default = 0 }
updated_on = { type = 'timestamp', volatile = true }
";

fn definition(text: &str) -> Definition {
    Definition::parse(text).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn read_as(source: Source, coverage: Coverage, given: Value) -> Result<RecordInput, RecordFault> {
    let Value::Object(given) = given else { panic!("this is no object") };
    read(&definition(DEFINITION), given, source, coverage)
}

fn code(given: Value) -> Result<Value, (&'static str, String)> {
    let input = read_as(Source::Json, Coverage::Whole, given);
    input.map(|input| Value::Object(input.fields)).map_err(|fault| (fault.code, fault.field))
}

#[test]
fn fields_get_the_normal_form_of_their_types() {
    let given = json!({"id": "a", "source": "\u{e9}\u{e9}\u{e9}\u{e9}", "size": 5.0, "tags": null,
        "updated_on": "2018-11-09 10:31:06+00"});
    let expected = json!({"id": "a", "source": "\u{e9}\u{e9}\u{e9}\u{e9}", "size": 5, "tags": null,
        "updated_on": "2018-11-09T10:31:06.000000Z"});
    assert_eq!(code(given), Ok(expected));
}

#[test]
fn what_is_not_kept_is_named() {
    let given =
        json!({"id": "a", "source": "s", "titel": "x", "views": 5, "title": "\u{e9}bcd", "note": "abcd", "x": {}});
    let input = read_as(Source::Json, Coverage::Whole, given).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(Value::Object(input.fields), json!({"id": "a", "source": "s", "title": "\u{e9}bc", "note": null}));
    assert_eq!((input.unknown, input.ignored), (vec!["titel".to_owned(), "x".to_owned()], vec!["views".to_owned()]));
    assert_eq!(input.shortened, ["note", "title"]);
}

#[test]
fn a_record_with_a_fault_is_refused() {
    for (given, expected) in [
        (json!({"id": "a"}), ("required-missing", "source")),
        (json!({"id": "a", "source": null}), ("required-null", "source")),
        (json!({"id": "a", "source": "s", "removed": null}), ("required-null", "removed")),
        (json!({"id": "a", "source": "abcde"}), ("too-long", "source")),
        (json!({"id": "a", "source": 5}), ("not-a-text", "source")),
        (json!({"id": "a", "source": "s", "size": 1.5}), ("not-an-integer", "size")),
        (json!({"id": "a", "source": "s", "tags": ["\0"]}), ("nul-character", "tags")),
        (json!({"source": "s"}), ("key-missing", "id")),
        (json!({"id": null}), ("key-null", "id")),
        (json!({"id": ""}), ("key-empty", "id")),
        (json!({"id": 5}), ("not-a-text", "id")),
        (json!({"id": "\u{e9}".repeat(100), "source": 5}), ("not-a-text", "source")),
        (json!({"id": "\u{e9}".repeat(101)}), ("key-too-long", "id")),
        (json!({"id": "a\nb"}), ("key-control-character", "id")),
        (json!({"id": "a\u{85}b"}), ("key-control-character", "id")),
    ] {
        assert_eq!(code(given.clone()), Err((expected.0, expected.1.to_owned())), "{given}");
    }
}

#[test]
fn a_fault_of_another_field_names_the_record() {
    let Err(fault) = read_as(Source::Json, Coverage::Whole, json!({"id": "a"})) else { panic!("a field is missing") };
    assert_eq!((fault.record_id.as_deref(), fault.detail.as_str()), (Some("a"), "source is required"));
    let Err(fault) = read_as(Source::Json, Coverage::Whole, json!({})) else { panic!("the key is missing") };
    assert_eq!((fault.record_id, fault.detail.as_str()), (None, "id is required"));
}

#[test]
fn a_partial_record_needs_only_its_key() {
    let input = read_as(Source::Json, Coverage::Partial, json!({"id": "a", "size": 1}));
    assert_eq!(input.map(|input| Value::Object(input.fields)), Ok(json!({"id": "a", "size": 1})));
    let null = read_as(Source::Json, Coverage::Partial, json!({"id": "a", "source": null}));
    assert_eq!(null.map_err(|fault| fault.code).err(), Some("required-null"));
}

#[test]
fn the_api_sets_the_fields_that_it_owns_and_no_others() {
    let text = DEFINITION
        .replace("size = 'int'", "size = { type = 'text', owner = 'api', max_length = 2, on_long = 'truncate' }");
    let definition = definition(&text);
    let read = |given: Value| {
        let Value::Object(given) = given else { panic!("this is no object") };
        let read = read_api(&definition, "a", given);
        read.map(|input| (Value::Object(input.fields), input.shortened)).map_err(|fault| (fault.code, fault.field))
    };
    assert_eq!(
        read(json!({"views": 7.0, "size": "wide"})),
        Ok((json!({"views": 7, "size": "wi"}), vec!["size".to_owned()]))
    );
    for (given, code, field) in [
        (json!({"views": 1, "title": "x"}), "owned-by-upstream", "title"),
        (json!({"id": "a"}), "owned-by-upstream", "id"),
        (json!({"views": 1, "depth": 1}), "unknown-field", "depth"),
        (json!({"views": "many"}), "not-an-integer", "views"),
    ] {
        assert_eq!(read(given), Err((code, field.to_owned())));
    }
}

#[test]
fn texts_of_a_csv_file_are_read_by_type() {
    let given = json!({"id": "a", "source": "s", "size": " 5 ", "names": "{a,\"b c\"}", "tags": "[1]", "removed": "f",
        "title": null});
    let input = read_as(Source::Csv, Coverage::Whole, given).unwrap_or_else(|e| panic!("{e}"));
    let expected = json!({"id": "a", "source": "s", "size": 5, "names": ["a", "b c"], "tags": [1], "removed": false,
        "title": null});
    assert_eq!(Value::Object(input.fields), expected);
}

#[test]
fn the_record_id_is_the_text_of_the_key() {
    for (kind, given, expected) in [
        ("text", json!(" a b "), " a b "),
        ("uuid", json!("8969E5BD-1D6F-4C1B-9F0E-5A0A3B2C1D0E"), "8969e5bd-1d6f-4c1b-9f0e-5a0a3b2c1d0e"),
        ("int", json!(-7.0), "-7"),
        ("long", json!(i64::MIN), "-9223372036854775808"),
    ] {
        let definition = definition(&format!("collection = 'c'\nkey = 'id'\nfields = {{ id = '{kind}' }}"));
        let given = Map::from_iter([("id".to_owned(), given)]);
        let input = read(&definition, given, Source::Json, Coverage::Whole);
        assert_eq!(input.map(|input| input.record_id).as_deref(), Ok(expected));
    }
}

#[test]
fn the_content_hash_leaves_out_the_values_of_volatile_fields() {
    let definition = definition(DEFINITION);
    let hash = |given: Value| {
        let Value::Object(fields) = given else { panic!("this is no object") };
        content_hash(&fields, &definition)
    };
    let base = hash(json!({"id": "a", "title": "x"}));
    let updated = hash(json!({"title": "x", "updated_on": "2018-11-09T10:31:06.000000Z", "id": "a"}));
    assert_eq!(hash(json!({"id": "a", "title": "x", "updated_on": "2019-01-01T00:00:00.000000Z"})), updated);
    // So a field that is new, and volatile, is recorded once.
    assert_ne!(updated, base);
    assert_ne!(hash(json!({"id": "a", "title": "y"})), base);
    assert_ne!(hash(json!({"id": "a", "title": "x", "note": null})), base);
}

#[test]
fn an_id_gets_the_normal_form_of_the_keys_type() {
    let id = |kind: &str, text: &str| {
        let definition = definition(&format!("collection = 'c'\nkey = 'id'\nfields = {{ id = '{kind}' }}"));
        read_id(&definition, text).map_err(|fault| fault.code)
    };
    assert_eq!(id("int", "007").as_deref(), Ok("7"));
    assert_eq!(id("text", "007").as_deref(), Ok("007"));
    let (upper, lower) = ("8969E5BD-0000-4000-8000-00000000000A", "8969e5bd-0000-4000-8000-00000000000a");
    assert_eq!(id("uuid", upper).as_deref(), Ok(lower));
    let too_long = "x".repeat(RECORD_ID_BYTES_MAX + 1);
    for (kind, text, code) in [
        ("int", "seven", "not-an-integer"),
        ("uuid", "x", "not-a-uuid"),
        ("text", "a\0", "nul-character"),
        ("text", "a\n", "key-control-character"),
        ("text", "", "key-empty"),
        ("text", &too_long, "key-too-long"),
    ] {
        assert_eq!(id(kind, text), Err(code), "{kind} {text:?}");
    }
}
