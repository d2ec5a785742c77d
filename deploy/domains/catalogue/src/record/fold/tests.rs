//! The fold, event by event.

use serde_json::json;

use super::*;

const DEFINITION: &str = "
collection = 'image'
key = 'id'
[fields]
id = 'text'
title = 'text'
creator = { type = 'text', merge = 'newest-non-null' }
popularity = 'double'
meta = { type = 'json', merge = 'merge-object' }
tags = { type = 'json', merge = 'merge-array' }
names = { type = 'text[]', merge = 'merge-array' }
removed_from_source = { type = 'bool', default = false }
views = { type = 'int', owner = 'api', default = 0 }
";

fn definition() -> Definition {
    Definition::parse(DEFINITION).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn fields(value: Value) -> Fields {
    let Value::Object(fields) = value else { panic!("this is no object") };
    fields
}

fn upsert(value: Value) -> Change {
    Change::Upserted { fields: fields(value), merge: false }
}

fn merge(value: Value) -> Change {
    Change::Upserted { fields: fields(value), merge: true }
}

fn take_down() -> Change {
    Change::TakenDown { reason: "licence withdrawn".to_owned() }
}

fn flag(value: bool) -> Change {
    Change::Flagged { flag: "mature".to_owned(), value }
}

fn a() -> Change {
    upsert(json!({"id": "r", "title": "A"}))
}

fn b() -> Change {
    upsert(json!({"id": "r", "title": "B"}))
}

fn folded_state(changes: Vec<Change>) -> State {
    let definition = definition();
    let mut state = State::default();
    for change in changes {
        apply(&mut state, &definition, change);
    }
    state
}

/// What upstream said of a title, as readers see it.
fn title(state: &State) -> Option<String> {
    Some(state.shown(&definition())?.get("title")?.as_str()?.to_owned())
}

#[test]
fn events_of_one_record_fold_in_their_order() {
    let removed = || upsert(json!({"id": "r", "title": "A", "removed_from_source": true}));
    for (name, changes, shown, revision) in [
        ("taken down", vec![a(), take_down(), b()], None, 3),
        ("reinstated", vec![a(), take_down(), b(), Change::Reinstated], Some("B"), 4),
        ("flagged", vec![a(), flag(true), b()], Some("B"), 3),
        ("removed from source", vec![a(), removed()], Some("A"), 2),
        ("removed", vec![a(), Change::Removed], None, 2),
        ("removed and back", vec![a(), Change::Removed, a()], Some("A"), 3),
        ("removed while taken down", vec![a(), take_down(), Change::Removed, Change::Reinstated], None, 4),
        ("taken down before it came", vec![take_down(), a()], None, 2),
        ("the same again", vec![a(), a()], Some("A"), 1),
    ] {
        let state = folded_state(changes);
        assert_eq!((title(&state).as_deref(), state.revision), (shown, revision), "{name}");
    }
}

#[test]
fn a_flag_survives_upserts_and_removals() {
    for changes in [vec![a(), flag(true), b()], vec![a(), flag(true), Change::Removed, a()], vec![flag(true), a()]] {
        assert_eq!(folded_state(changes).flags.get("mature"), Some(&true));
    }
    assert_eq!(folded_state(vec![a(), flag(true), flag(false)]).flags.get("mature"), Some(&false));
}

#[test]
fn a_takedown_counts_and_keeps_the_content_underneath() {
    let state = folded_state(vec![a(), take_down(), b()]);
    assert_eq!(state.taken_down.as_deref(), Some("licence withdrawn"));
    assert_eq!(state.raw, Some(fields(json!({"id": "r", "title": "B"}))));
    assert_eq!(state.shown(&definition()), None);
}

#[test]
fn a_partial_upsert_keeps_other_fields() {
    let state = folded_state(vec![upsert(json!({"title": "x"})), merge(json!({"popularity": 0.4}))]);
    assert_eq!((state.raw, state.revision), (Some(fields(json!({"title": "x", "popularity": 0.4}))), 2));
    let state = folded_state(vec![upsert(json!({"title": "x"})), merge(json!({"title": null}))]);
    assert_eq!(state.raw, Some(fields(json!({"title": null}))));
}

#[test]
fn fields_merge_by_their_kind() {
    for (first, second, whole, partial) in [
        (
            json!({"title": "x", "popularity": 1.0}),
            json!({"title": "y"}),
            json!({"title": "y"}),
            json!({"title": "y", "popularity": 1.0}),
        ),
        (json!({"title": "x"}), json!({"title": null}), json!({"title": null}), json!({"title": null})),
        (json!({"creator": "x"}), json!({"creator": null}), json!({"creator": "x"}), json!({"creator": "x"})),
        (json!({"creator": "x"}), json!({}), json!({"creator": "x"}), json!({"creator": "x"})),
        (json!({"creator": null}), json!({"creator": "y"}), json!({"creator": "y"}), json!({"creator": "y"})),
        (json!({}), json!({"creator": null}), json!({"creator": null}), json!({"creator": null})),
        (
            json!({"meta": {"a": 1, "b": {"x": 1}, "c": null}}),
            json!({"meta": {"a": null, "b": {"y": 2}, "d": null}}),
            json!({"meta": {"a": 1, "b": {"y": 2}, "c": null, "d": null}}),
            json!({"meta": {"a": 1, "b": {"y": 2}, "c": null, "d": null}}),
        ),
        (json!({"meta": {"a": 1}}), json!({"meta": null}), json!({"meta": {"a": 1}}), json!({"meta": {"a": 1}})),
        (json!({"meta": {"a": 1}}), json!({"meta": [1]}), json!({"meta": [1]}), json!({"meta": [1]})),
        (json!({"meta": "x"}), json!({"meta": {"a": 1}}), json!({"meta": {"a": 1}}), json!({"meta": {"a": 1}})),
        (
            json!({"tags": [{"n": 1}, "b", {"n": 1}]}),
            json!({"tags": ["c", {"n": 1}, "c", 1, 1.0]}),
            json!({"tags": [{"n": 1}, "b", "c", 1, 1.0]}),
            json!({"tags": [{"n": 1}, "b", "c", 1, 1.0]}),
        ),
        (
            json!({"names": ["b", "a"]}),
            json!({"names": []}),
            json!({"names": ["b", "a"]}),
            json!({"names": ["b", "a"]}),
        ),
        (json!({"names": null}), json!({"names": ["a", "a"]}), json!({"names": ["a"]}), json!({"names": ["a"]})),
    ] {
        let state = folded_state(vec![upsert(first.clone()), upsert(second.clone())]);
        assert_eq!(state.raw, Some(fields(whole)), "{first} {second}");
        let state = folded_state(vec![upsert(first.clone()), merge(second.clone())]);
        assert_eq!(state.raw, Some(fields(partial)), "{first} {second} merged");
    }
}

#[test]
fn what_the_api_owns_survives_upserts() {
    let set = |value: Value| Change::ApiSet { fields: fields(value) };
    let state =
        folded_state(vec![a(), set(json!({"views": 5, "title": "no"})), upsert(json!({"title": "B", "views": 0}))]);
    assert_eq!((state.api.clone(), state.revision), (fields(json!({"views": 5})), 3));
    let expected = json!({"title": "B", "views": 5, "removed_from_source": false});
    assert_eq!(state.shown(&definition()), Some(fields(expected)));
    assert_eq!(folded_state(vec![a(), set(json!({"title": "no"}))]).revision, 1);
}

#[test]
fn a_change_that_changes_nothing_keeps_the_revision() {
    for (name, changes) in [
        ("removed without content", vec![Change::Removed]),
        ("reinstated without takedown", vec![Change::Reinstated]),
        ("a flag that is false", vec![flag(false)]),
        ("nothing set", vec![Change::ApiSet { fields: Fields::new() }]),
        ("an undeclared field set", vec![Change::ApiSet { fields: fields(json!({"x": 1})) }]),
    ] {
        assert_eq!(folded_state(changes), State::default(), "{name}");
    }
    for again in [a(), merge(json!({})), merge(json!({"title": "A"})), upsert(json!({"id": "r", "title": "A", "x": 1}))]
    {
        assert_eq!(folded_state(vec![a(), again.clone()]).revision, 1, "{again:?}");
    }
    assert_eq!(folded_state(vec![take_down(), take_down()]).revision, 1);
    assert_eq!(folded_state(vec![flag(true), flag(true)]).revision, 1);
    assert_eq!(folded_state(vec![a(), Change::Removed, Change::Removed]).revision, 2);
}

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn content(&mut self) -> Value {
        let mut content = json!({});
        for (name, value) in [
            ("title", [json!("x"), json!("y"), Value::Null][self.below(3) as usize].clone()),
            ("creator", [json!("x"), json!("y"), Value::Null][self.below(3) as usize].clone()),
            ("meta", json!({"a": self.below(2), "b": null})),
            ("tags", json!([self.below(3), self.below(3)])),
        ] {
            if self.below(3) > 0 {
                content[name] = value;
            }
        }
        content
    }

    fn change(&mut self) -> Change {
        match self.below(10) {
            0 => Change::Removed,
            1 => take_down(),
            2 | 3 => Change::Reinstated,
            4 => flag(self.below(2) == 0),
            5 => Change::ApiSet { fields: fields(json!({"views": self.below(2)})) },
            6 | 7 => merge(self.content()),
            _ => upsert(self.content()),
        }
    }
}

#[test]
fn any_order_of_changes_keeps_the_invariants() {
    let definition = definition();
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let mut state = State::default();
        // The same record without takedowns: what a reinstated record shows.
        let mut open = State::default();
        for step in 0..60 {
            let change = numbers.change();
            let before = state.clone();
            let is_changed = apply(&mut state, &definition, change.clone());
            if !matches!(change, Change::TakenDown { .. } | Change::Reinstated) {
                apply(&mut open, &definition, change.clone());
            }
            let place = format!("seed {seed}, step {step}: {change:?}");
            assert_eq!(state.revision, before.revision + i64::from(is_changed), "{place}");
            let content = State { revision: before.revision, ..state.clone() };
            assert_eq!(content != before, is_changed, "{place}");
            let mut reinstated = state.clone();
            apply(&mut reinstated, &definition, Change::Reinstated);
            assert_eq!(reinstated.shown(&definition), open.shown(&definition), "{place}");
            let is_shown = state.raw.is_some() && state.taken_down.is_none();
            assert_eq!(state.shown(&definition).is_some(), is_shown, "{place}");
            assert!(!(state.is_removed && state.raw.is_some()), "{place}");
        }
    }
}
