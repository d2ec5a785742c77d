//! Values of each type, from JSON and from text.

use serde_json::{Value, json};

use super::{FieldType, ValueFault};

fn code(result: Result<Value, ValueFault>) -> Result<Value, &'static str> {
    result.map_err(|fault| fault.code)
}

/// Checks a value, and that its normal form is read as itself.
fn check_json(name: &str, given: Value, expected: Result<Value, &'static str>) {
    let kind = FieldType::parse(name).unwrap_or_else(|| panic!("{name} is no type"));
    assert_eq!(code(kind.from_json(&given)), expected, "{name} {given}");
    if let Ok(normal) = expected {
        assert_eq!(code(kind.from_json(&normal)), Ok(normal.clone()), "{name} {given}");
    }
}

fn check_text(name: &str, given: &str, expected: Result<Value, &'static str>) {
    let kind = FieldType::parse(name).unwrap_or_else(|| panic!("{name} is no type"));
    assert_eq!(code(kind.from_text(given)), expected, "{name} {given:?}");
    if let Ok(normal) = expected {
        assert_eq!(code(kind.from_json(&normal)), Ok(normal.clone()), "{name} {given:?}");
    }
}

#[test]
fn each_type_has_one_name() {
    for kind in FieldType::ALL {
        assert_eq!(FieldType::parse(kind.name()), Some(kind));
        assert_eq!(kind.from_json(&Value::Null), Ok(Value::Null));
    }
    assert_eq!(FieldType::parse("integer"), None);
}

#[test]
fn json_values_of_the_type_are_read_and_others_refused() {
    let id = "8969e5bd-1d6f-4c1b-9f0e-5a0a3b2c1d0e";
    for (name, given, expected) in [
        ("text", json!("a\u{e9}"), Ok(json!("a\u{e9}"))),
        ("text", json!(""), Ok(json!(""))),
        ("text", json!("a\0b"), Err("nul-character")),
        ("text", json!(1), Err("not-a-text")),
        ("bool", json!(true), Ok(json!(true))),
        ("bool", json!("true"), Err("not-a-boolean")),
        ("bool", json!(1), Err("not-a-boolean")),
        ("uuid", json!(id.to_uppercase()), Ok(json!(id))),
        ("uuid", json!(id.replace('-', "")), Err("not-a-uuid")),
        ("uuid", json!(format!("{{{id}}}")), Err("not-a-uuid")),
        ("uuid", json!("8969e5bd-1d6f-4c1b-9f0e5-a0a3b2c1d0e"), Err("not-a-uuid")),
        ("uuid", json!(5), Err("not-a-uuid")),
        ("json", json!({"a": [1, null, {"b": 1.5}]}), Ok(json!({"a": [1, null, {"b": 1.5}]}))),
        ("json", json!({"a": ["x\0"]}), Err("nul-character")),
        ("json", json!({"a\0": 1}), Err("nul-character")),
        ("text[]", json!(["a", ""]), Ok(json!(["a", ""]))),
        ("text[]", json!([]), Ok(json!([]))),
        ("text[]", json!(["a", null]), Err("null-element")),
        ("text[]", json!(["a", 1]), Err("not-a-text")),
        ("text[]", json!(["\0"]), Err("nul-character")),
        ("text[]", json!("a"), Err("not-an-array")),
        ("timestamp", json!(1_541_759_466), Err("not-a-timestamp")),
    ] {
        check_json(name, given, expected);
    }
}

#[test]
fn json_numbers_are_exact_or_refused() {
    for (name, given, expected) in [
        ("int", json!(7), Ok(json!(7))),
        ("int", json!(7.0), Ok(json!(7))),
        ("int", json!(-0.0), Ok(json!(0))),
        ("int", json!(2_147_483_647), Ok(json!(2_147_483_647))),
        ("int", json!(-2_147_483_648_i64), Ok(json!(-2_147_483_648_i64))),
        ("int", json!(2_147_483_648_i64), Err("out-of-range")),
        ("int", json!(2_147_483_648.0), Err("out-of-range")),
        ("int", json!(1.5), Err("not-an-integer")),
        ("int", json!("7"), Err("not-an-integer")),
        ("long", json!(i64::MAX), Ok(json!(i64::MAX))),
        ("long", json!(i64::MIN), Ok(json!(i64::MIN))),
        ("long", json!(u64::MAX), Err("out-of-range")),
        ("long", json!(9_007_199_254_740_992.0), Ok(json!(9_007_199_254_740_992_i64))),
        ("long", json!(9_007_199_254_740_994.0), Err("not-an-integer")),
        ("long", json!(1e20), Err("out-of-range")),
        ("double", json!(1), Ok(json!(1.0))),
        ("double", json!(-3), Ok(json!(-3.0))),
        ("double", json!(0.42), Ok(json!(0.42))),
        ("double", json!(u64::MAX), Ok(json!(18_446_744_073_709_551_615.0))),
        ("double", json!("0.42"), Err("not-a-number")),
    ] {
        check_json(name, given, expected);
    }
}

#[test]
fn timestamps_are_instants_in_utc() {
    for (given, expected) in [
        ("2018-11-09T10:31:06.910129Z", Ok("2018-11-09T10:31:06.910129Z")),
        ("2018-11-09 10:31:06.910129+00", Ok("2018-11-09T10:31:06.910129Z")),
        ("2018-11-09t10:31:06z", Ok("2018-11-09T10:31:06.000000Z")),
        ("2018-11-09 10:31:06+05:30", Ok("2018-11-09T05:01:06.000000Z")),
        ("2018-11-09 10:31:06-0530", Ok("2018-11-09T16:01:06.000000Z")),
        ("1890-01-01 00:00:00+00:53:28", Ok("1889-12-31T23:06:32.000000Z")),
        ("2018-12-31T23:59:60Z", Ok("2019-01-01T00:00:00.000000Z")),
        ("2018-11-09T10:31:06.9101294Z", Ok("2018-11-09T10:31:06.910129Z")),
        ("2018-11-09T10:31:06.9101296Z", Ok("2018-11-09T10:31:06.910130Z")),
        ("2018-11-09T10:31:06.9101285Z", Ok("2018-11-09T10:31:06.910128Z")),
        ("2018-12-31T23:59:59.9999999Z", Ok("2019-01-01T00:00:00.000000Z")),
        ("2020-02-29T00:00:00-00:00", Ok("2020-02-29T00:00:00.000000Z")),
        ("9999-12-31T23:59:59.999999Z", Ok("9999-12-31T23:59:59.999999Z")),
        ("0001-01-01T00:00:00Z", Ok("0001-01-01T00:00:00.000000Z")),
        ("9999-12-31T23:59:59-01:00", Err("out-of-range")),
        ("9999-12-31T23:59:59.9999999Z", Err("out-of-range")),
        ("0001-01-01T00:00:00+01:00", Err("out-of-range")),
        ("0000-12-31T00:00:00Z", Err("out-of-range")),
        ("2019-02-29T00:00:00Z", Err("out-of-range")),
        ("2018-13-01T00:00:00Z", Err("out-of-range")),
        ("2018-11-09T24:00:00Z", Err("out-of-range")),
        ("2018-11-09T10:31:06+24:00", Err("out-of-range")),
        ("2018-11-09T10:31:06", Err("not-a-timestamp")),
        ("2018-11-09T10:31Z", Err("not-a-timestamp")),
        ("2018-11-09", Err("not-a-timestamp")),
        ("2018-11-09T10:31:06.Z", Err("not-a-timestamp")),
        ("2018-11-09T10:31:06Z[UTC]", Err("not-a-timestamp")),
        ("2018-11-09T10:31:06+5", Err("not-a-timestamp")),
        ("+2018-11-09T10:31:06Z", Err("not-a-timestamp")),
        ("12018-11-09T10:31:06Z", Err("not-a-timestamp")),
        ("0044-03-15 00:00:00+00 BC", Err("not-a-timestamp")),
        ("infinity", Err("not-a-timestamp")),
        ("-infinity", Err("not-a-timestamp")),
        ("", Err("not-a-timestamp")),
        ("\u{e9}018-11-09T10:31:06Z", Err("not-a-timestamp")),
    ] {
        check_json("timestamp", json!(given), expected.map(|text| json!(text)));
        check_text("timestamp", &format!(" {given} "), expected.map(|text| json!(text)));
    }
}

#[test]
fn texts_of_postgres_are_read() {
    let id = "8969e5bd-1d6f-4c1b-9f0e-5a0a3b2c1d0e";
    for (name, given, expected) in [
        ("text", " a ", Ok(json!(" a "))),
        ("text", "a\0", Err("nul-character")),
        ("int", " 42 ", Ok(json!(42))),
        ("int", "+7", Ok(json!(7))),
        ("int", "1.0", Err("not-an-integer")),
        ("int", "", Err("not-an-integer")),
        ("int", "- 7", Err("not-an-integer")),
        ("int", "2147483648", Err("out-of-range")),
        ("long", "-9223372036854775808", Ok(json!(i64::MIN))),
        ("long", "9223372036854775808", Err("out-of-range")),
        ("double", " 1 ", Ok(json!(1.0))),
        ("double", ".5", Ok(json!(0.5))),
        ("double", "1e-3", Ok(json!(0.001))),
        ("double", "0e9", Ok(json!(0.0))),
        ("double", "1e400", Err("out-of-range")),
        ("double", "1e-400", Err("out-of-range")),
        ("double", "-0", Ok(json!(0.0))),
        ("double", "NaN", Err("out-of-range")),
        ("double", "-Infinity", Err("out-of-range")),
        ("double", "one", Err("not-a-number")),
        ("double", "", Err("not-a-number")),
        ("uuid", id, Ok(json!(id))),
        ("uuid", "{8969E5BD1D6F4C1B9F0E5A0A3B2C1D0E}", Ok(json!(id))),
        ("uuid", "{8969e5bd-1d6f-4c1b-9f0e-5a0a3b2c1d0e", Err("not-a-uuid")),
        ("uuid", "8969E5BD1D6F4C1B9F0E5A0A3B2C1D0E", Ok(json!(id))),
        ("uuid", "urn:uuid:8969e5bd-1d6f-4c1b-9f0e-5a0a3b2c1d0e", Err("not-a-uuid")),
        ("json", r#" {"a": 1, "b": [true]} "#, Ok(json!({"a": 1, "b": [true]}))),
        ("json", "null", Ok(Value::Null)),
        ("json", r#"{"a": 1, "a": 2}"#, Err("duplicate-key")),
        ("json", r#"[{"b": {"a": 1, "\u0061": 2}}]"#, Err("duplicate-key")),
        ("json", r#"{"a": "\u0000"}"#, Err("nul-character")),
        ("json", "{a: 1}", Err("not-json")),
        ("json", "1 2", Err("not-json")),
        ("json", "", Err("not-json")),
    ] {
        check_text(name, given, expected);
    }
    let zero = FieldType::Double.from_json(&json!(-0.0)).map(|zero| zero.to_string());
    assert_eq!(zero.as_deref(), Ok("0.0"));
    for text in ["t", "T", "true", "TRUE", " yes ", "y", "on", "ON", "1"] {
        check_text("bool", text, Ok(json!(true)));
    }
    for text in ["f", "F", "false", "False", "no", "n", "off", "of", "0"] {
        check_text("bool", text, Ok(json!(false)));
    }
    for text in ["", " ", "o", "2", "truee", "null", "00"] {
        check_text("bool", text, Err("not-a-boolean"));
    }
}

#[test]
fn arrays_of_postgres_are_read() {
    for (given, expected) in [
        ("{}", Ok(json!([]))),
        (" { } ", Ok(json!([]))),
        ("{a,b}", Ok(json!(["a", "b"]))),
        (r#"{a,"b c"}"#, Ok(json!(["a", "b c"]))),
        (r#"{ a b , "" }"#, Ok(json!(["a b", ""]))),
        (r#"{"NULL","null"}"#, Ok(json!(["NULL", "null"]))),
        (r#"{"a\"b","c\\d","{e,f}"}"#, Ok(json!([r#"a"b"#, r"c\d", "{e,f}"]))),
        (r"{a\,b,\ }", Ok(json!(["a,b", " "]))),
        (r"{\N\U\L\L}", Ok(json!(["NULL"]))),
        ("{\u{e9},\u{6771}}", Ok(json!(["\u{e9}", "\u{6771}"]))),
        ("{a,NULL}", Err("null-element")),
        ("{null}", Err("null-element")),
        ("{a,}", Err("not-an-array")),
        ("{,a}", Err("not-an-array")),
        ("{a", Err("not-an-array")),
        (r#"{"a}"#, Err("not-an-array")),
        (r#"{"a"b}"#, Err("not-an-array")),
        (r#"{a"b"}"#, Err("not-an-array")),
        ("{{a},{b}}", Err("not-an-array")),
        ("{a}b", Err("not-an-array")),
        ("[0:1]={a,b}", Err("not-an-array")),
        (r"{a\", Err("not-an-array")),
        ("a", Err("not-an-array")),
        ("", Err("not-an-array")),
    ] {
        check_text("text[]", given, expected);
    }
}

#[test]
fn a_fault_shows_only_the_beginning_of_a_value() {
    let Err(fault) = FieldType::Int.from_text(&"\u{e9}".repeat(500)) else { panic!("this is no integer") };
    assert!(fault.detail.chars().count() < 80, "{fault}");
}
