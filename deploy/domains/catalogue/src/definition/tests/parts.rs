//! The checks of each part of a definition: one mistake, and the faults that name it.

use super::{TINY, faults};

#[test]
fn options_of_fields_must_fit() {
    for (field, expected) in [
        ("f = { type = 'int', max_length = 5 }", Some(("fields.f.max_length", "conflict"))),
        ("f = { type = 'text', on_long = 'null' }", Some(("fields.f.on_long", "conflict"))),
        (
            "f = { type = 'text', required = true, max_length = 5, on_long = 'null' }",
            Some(("fields.f.on_long", "conflict")),
        ),
        ("f = { type = 'text', max_length = 0 }", Some(("fields.f.max_length", "out-of-range"))),
        ("f = { type = 'text', merge = 'merge-array' }", Some(("fields.f.merge", "conflict"))),
        ("f = { type = 'text[]', merge = 'merge-object' }", Some(("fields.f.merge", "conflict"))),
        ("f = { type = 'text[]', merge = 'merge-array' }", None),
        ("f = { type = 'json', merge = 'merge-object' }", None),
        ("f = { type = 'json', unique = 'report' }", Some(("fields.f.unique", "conflict"))),
        ("f = { type = 'int', default = 'x' }", Some(("fields.f.default", "invalid-default"))),
        ("f = { type = 'int', default = 1.0 }", None),
        ("f = { type = 'text', max_length = 1, default = 'ab' }", Some(("fields.f.default", "invalid-default"))),
        ("f = { type = 'double', default = nan }", Some(("fields.f.default", "out-of-range"))),
        ("f = { required = true }", Some(("fields.f.type", "missing"))),
        ("f = 5", Some(("fields.f", "wrong-type"))),
        ("xmin = 'int'", Some(("fields.xmin", "reserved-name"))),
    ] {
        let found = faults(&format!("{TINY}{field}"));
        let found: Vec<_> = found.iter().map(|(field, code)| (field.as_str(), *code)).collect();
        assert_eq!(found, Vec::from_iter(expected), "{field}");
    }
}

#[test]
fn the_key_must_be_a_field_that_can_be_one() {
    for (field, expected) in [
        ("id = 'uuid'", None),
        ("id = 'int'", None),
        ("id = 'json'", Some(("key", "wrong-type"))),
        ("idd = 'text'", Some(("key", "unknown-field"))),
        ("id = { type = 'int', owner = 'api' }", Some(("fields.id", "conflict"))),
        ("id = { type = 'int', volatile = true }", Some(("fields.id", "conflict"))),
        ("id = { type = 'int', default = 1 }", Some(("fields.id", "conflict"))),
        ("id = { type = 'text', max_length = 9, on_long = 'truncate' }", Some(("fields.id", "conflict"))),
        ("id = { type = 'text', max_length = 9 }", None),
    ] {
        let found = faults(&format!("collection = 'c'\nkey = 'id'\n[fields]\n{field}"));
        let found: Vec<_> = found.iter().map(|(field, code)| (field.as_str(), *code)).collect();
        assert_eq!(found, Vec::from_iter(expected), "{field}");
    }
}

#[test]
fn parts_are_checked() {
    for (text, expected) in [
        ("[clean]\nrules = [{ id = 'a', kind = 'urls' }]", vec![("clean.a.kind", "unknown-value")]),
        ("[clean]\nrules = [{ kind = 'tags', field = 'set' }]", vec![("clean.rules.0.id", "missing")]),
        ("[clean]\nrules = [{ id = 'A', kind = 'tags', field = 'set' }]", vec![("clean.A.id", "invalid-name")]),
        ("[clean]\nrules = [{ id = 'a', kind = 'tags' }]", vec![("clean.a.field", "unknown-field")]),
        (
            "[clean]\nrules = [{ id = 'a', kind = 'tags', field = 'id' }]",
            vec![("clean.a.field", "wrong-type"), ("clean.a.kind", "conflict")],
        ),
        (
            "[clean]\nrules = [{ id = 'a', kind = 'tags', field = 'set', min_accuracy = 1.5 }]",
            vec![("clean.a.min_accuracy", "out-of-range")],
        ),
        (
            "[clean]\nrules = [{ id = 'a', kind = 'tags', field = 'set', deny_part = 'x' }]",
            vec![("clean.a.deny_part", "not-a-term-list")],
        ),
        (
            "[clean]\nrules = [{ id = 'a', kind = 'tags', field = 'set' }, { id = 'a', kind = 'tags', field = 'set' }]",
            vec![("clean.a", "duplicate")],
        ),
        (
            "[clean]\nrules = [{ id = 'a', kind = 'capture', field = 't', pattern = '(x' }]\n[fields.t]\ntype = 'text'",
            vec![("clean.a.pattern", "invalid-pattern")],
        ),
        (
            "[clean]\nrules = [{ id = 'a', kind = 'capture', field = 't', pattern = 'x' }]\n[fields.t]\ntype = 'text'",
            vec![("clean.a.pattern", "invalid-pattern")],
        ),
        ("[clean]\nrules = [{ id = 'a', kind = 'strip-slash', fields = [] }]", vec![("clean.a.fields", "empty")]),
        ("[clean]\nexclude = [{ id = 'a', when = {} }]", vec![("clean.a.when", "empty")]),
        ("[clean]\nexclude = [{ id = 'a', when = { id = 5 } }]", vec![("clean.a.when.id", "not-a-text")]),
        (
            "[[tables]]\nname = 'a'\nfrom = 'set'\nkey = ['x']\n[[tables]]\nname = 'a'\nfrom = 'set'\nkey = ['y']",
            vec![("tables.a.name", "duplicate")],
        ),
        (
            "[[tables]]\nname = 'counts'\nfrom = 'id'\nkey = ['x', 'x']",
            vec![("tables.counts.key", "duplicate"), ("tables.counts.from", "wrong-type")],
        ),
        ("[index]\nmapping_file = 'x'", vec![("index.mapping_file", "not-inlined")]),
        ("[index]\nanalysis_fallback = 'standard'", vec![("index.analysis_fallback", "unknown-key")]),
        ("[index]\nshards = 0", vec![("index.shards", "out-of-range")]),
        ("[filtered]\nterms = 'a@1'", vec![("filtered.fields", "missing")]),
        ("[filtered]\nkind = 'view'", vec![("filtered.kind", "unknown-value")]),
        ("[[canary]]\nquery = ''\nexpect = {}", vec![("canary.0.query", "empty"), ("canary.0.expect", "empty")]),
        ("[refresh]\npromote = 'never'", vec![("refresh.promote", "unknown-value")]),
        ("[refresh]\nkeep = '0s'", vec![("refresh.keep", "out-of-range")]),
        (
            "[upstream.postgres]\npartitions = 'x'\ncursor = 'y'",
            vec![("upstream.postgres.cursor", "wrong-type"), ("upstream.postgres.partitions", "wrong-type")],
        ),
        ("[verify]\nsources_may_vanish = [1]", vec![("verify.sources_may_vanish", "wrong-type")]),
    ] {
        let found = faults(&format!("{TINY}{text}"));
        let found: Vec<_> = found.iter().map(|(field, code)| (field.as_str(), *code)).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_literal_mapping_is_of_fields_that_documents_have() {
    for (index, expected) in [
        ("mapping = { properties = { id = { type = 'keyword' }, set = { enabled = false } } }", vec![]),
        ("mapping = {}", vec![("index.mapping.properties", "missing")]),
        ("mapping = { dynamic = true, properties = {} }", vec![("index.mapping.dynamic", "unknown-key")]),
        ("mapping = { properties = { id = 'text' } }", vec![("index.mapping.properties.id", "wrong-type")]),
        ("mapping = { properties = { ids = {} } }", vec![("index.mapping.properties.ids", "unknown-field")]),
        (
            "mapping = { properties = { set = { properties = { x = { copy_to = ['record.id', 'text'] } } } } }",
            vec![("index.mapping.properties.set.properties.x.copy_to", "conflict")],
        ),
        ("mapping = { properties = { set = { copy_to = 'record.id' } } }", vec![]),
        ("settings = { analysis = {} }", vec![("index.settings", "conflict")]),
        ("mapping = { properties = {} }\nsettings = { shards = 3 }", vec![("index.settings.shards", "unknown-key")]),
        ("mapping = { properties = {} }\nsettings = { analysis = 3 }", vec![("index.settings.analysis", "wrong-type")]),
        (
            "mapping = { properties = {} }\nsettings = { analysis = { analyzer = { whitespace = { type = 'stop' } } } }",
            vec![("index.settings.analysis.analyzer.whitespace", "reserved-name")],
        ),
    ] {
        let found = faults(&format!("{TINY}[index]\n{index}"));
        let found: Vec<_> = found.iter().map(|(field, code)| (field.as_str(), *code)).collect();
        assert_eq!(found, expected, "{index}");
    }
    // The documents of a preset have fields of their own.
    let image = |property: &str| {
        faults(&format!(
            "preset = 'openverse-image'\n{TINY}[index]\nmapping = {{ properties = {{ {property} = {{}} }} }}"
        ))
    };
    assert_eq!(image("standardized_popularity"), []);
    let unknown = |name: &str| [(format!("index.mapping.properties.{name}"), "unknown-field")];
    assert_eq!((image("id").as_slice(), image("length").as_slice()), (&unknown("id")[..], &unknown("length")[..]));
}
