//! The shape of the index of flows, runs, steps, tasks and artifacts.

use daybook_projector::search::shape::{FieldId, FieldShape, Filter, IndexShape, Inheritance, Storage};

/// Types of documents. Also the first part of their ids.
pub(super) const FLOW: &str = "flow";
pub(super) const RUN: &str = "run";
pub(super) const STEP: &str = "step";
pub(super) const TASK: &str = "task";
pub(super) const ARTIFACT: &str = "artifact";

/// The attribute of a run with those of its tags that its steps, tasks and artifacts do not carry: the tags of users.
pub(super) const USER_TAGS: &str = "user_tags";

/// The shape.
pub(super) fn shape() -> IndexShape {
    let fields = vec![
        FieldShape::text("type")
            .own_words()
            .facet()
            .filter(Filter::AnyOf)
            .sort()
            .allowed(&[FLOW, RUN, STEP, TASK, ARTIFACT]),
        FieldShape::text("flow").words().facet().filter(Filter::AnyOf).sort(),
        FieldShape::integer("run").of(&["run", "run_name"]).words().sort(),
        FieldShape::text("step").words(),
        FieldShape::text("task").of(&["task", "task_name"]).words(),
        FieldShape::text("artifact").of(&["artifact", "artifacts"]).words(),
        FieldShape::text("user").words().facet().filter(Filter::AnyOf).sort(),
        FieldShape::text("tag").of(&["tags"]).words().facet().filter(Filter::AllOf),
        FieldShape::text("status").own_words().facet().filter(Filter::AnyOf).sort().allowed(&[
            "running",
            "completed",
            "failed",
        ]),
        FieldShape::text("metadata").words().phrases().hidden(),
        FieldShape::integer("created_at").sort(),
    ];
    let place = |name: &str| FieldId(fields.iter().position(|field| field.name == name).unwrap_or(usize::MAX));
    let path = [
        ("flows", FLOW),
        ("runs", RUN),
        ("steps", STEP),
        ("tasks", TASK),
        ("artifacts", ARTIFACT),
        ("attempt", "attempt"),
    ];
    IndexShape {
        version: 2,
        type_field: place("type"),
        time_field: place("created_at"),
        path: path.map(|(segment, attribute)| (segment.into(), attribute.into())).to_vec(),
        inheritance: Some(Inheritance {
            field: place("tag"),
            parent: RUN.into(),
            children: vec![STEP.into(), TASK.into(), ARTIFACT.into()],
            attribute: USER_TAGS.into(),
            shown: "tags".into(),
            common: vec![place("flow")],
        }),
        fields,
        stemming: None,
        rank: None,
        storage: Storage::default(),
        literal: None,
        has_hidden: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_a_good_one() {
        assert_eq!(shape().fault(), None);
    }
}
