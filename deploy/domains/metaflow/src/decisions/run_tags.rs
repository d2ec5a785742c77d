//! Changing the user tags of a run.

use daybook_schemas::rules::{TAG_BYTES_MAX, text};

use crate::{
    decisions::{Rejection, RunFacts, checked},
    events::{Event, RunTagsMutated, ids::FlowId},
};

/// Changes the user tags of a run: removals first, additions after.
#[derive(Debug, Clone)]
pub(crate) struct MutateRunTags {
    /// The flow.
    pub(crate) flow_id: FlowId,
    /// The run as the client names it.
    pub(crate) run: String,
    /// Tags to add; those that are system tags of the run are dropped.
    pub(crate) add: Vec<String>,
    /// Tags to remove.
    pub(crate) remove: Vec<String>,
}

/// Decides; `None` if the command would not change `tags`, the run's current ones.
pub(crate) fn decide(
    command: MutateRunTags,
    run: Option<&RunFacts>,
    tags: &[String],
) -> Result<Option<Event>, Rejection> {
    let MutateRunTags { flow_id, mut add, mut remove, run: named } = command;
    let run = run.ok_or_else(|| Rejection::UnknownRun(format!("{flow_id}/{named}")))?;
    let mut system: Vec<String> = Vec::new();
    for tag in remove.iter().filter(|tag| run.system_tags.contains(tag)) {
        if !system.contains(tag) {
            system.push(tag.clone());
        }
    }
    if !system.is_empty() {
        return Err(Rejection::SystemTags(system));
    }
    // No run has a tag that breaks a rule: there is nothing to remove.
    remove.retain(|tag| text("tags_to_remove", tag, TAG_BYTES_MAX).is_ok());
    add.retain(|tag| !run.system_tags.contains(tag));
    let change = RunTagsMutated { flow_id, run_number: run.run_number, add, remove };
    let after = change.apply_to(tags);
    let event = checked(Event::RunTagsMutated(change))?;
    let unchanged = after.len() == tags.len() && after.iter().all(|tag| tags.contains(tag));
    Ok((!unchanged).then_some(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ids::RunNumber;

    fn decide_on(add: &[&str], remove: &[&str], tags: &[&str]) -> Result<Option<Vec<String>>, Rejection> {
        let own = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let run = RunFacts { run_number: RunNumber(1), run_id: None, system_tags: own(&["user:u"]) };
        let command = MutateRunTags { flow_id: "F".into(), run: "1".to_owned(), add: own(add), remove: own(remove) };
        let event = decide(command, Some(&run), &own(tags))?;
        Ok(event.map(|event| match event {
            Event::RunTagsMutated(change) => change.apply_to(&own(tags)),
            _ => Vec::new(),
        }))
    }

    #[test]
    fn a_tag_in_both_lists_ends_up_present() {
        assert_eq!(decide_on(&["a"], &["a"], &["b"]), Ok(Some(vec!["b".to_owned(), "a".to_owned()])));
    }

    #[test]
    fn what_changes_nothing_records_nothing() {
        assert_eq!(decide_on(&["b"], &["absent"], &["b"]), Ok(None));
        assert_eq!(decide_on(&["user:u"], &[], &["b"]), Ok(None));
        assert_eq!(decide_on(&["b"], &["b"], &["b", "c"]), Ok(None));
    }

    #[test]
    fn system_tags_cannot_be_removed() {
        let refused = Err(Rejection::SystemTags(vec!["user:u".to_owned()]));
        assert_eq!(decide_on(&[], &["user:u", "x"], &["x"]), refused);
        assert_eq!(decide_on(&[], &["user:u", "x", "user:u"], &["x"]), refused, "each is named once");
    }

    #[test]
    fn a_tag_that_no_run_can_have_is_removed_without_effect_and_is_not_added() {
        let long = "x".repeat(TAG_BYTES_MAX + 1);
        for tag in ["a\0b", long.as_str()] {
            assert_eq!(decide_on(&[], &[tag], &["b"]), Ok(None));
            assert_eq!(decide_on(&[], &[tag, "b"], &["b"]), Ok(Some(Vec::new())));
            assert!(matches!(decide_on(&[tag], &[], &["b"]), Err(Rejection::Violation(_))));
        }
    }
}
