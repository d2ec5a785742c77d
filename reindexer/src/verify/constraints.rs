//! Compares the indexes and constraints of the tables of two generations.

use std::collections::BTreeSet;

use daybook_projector::{
    comparison::{self, Constraint},
    generation::Generation,
    tables::TablesError,
};

use super::report::ConstraintsReport;

/// Compares what the engine has for the tables.
pub(super) async fn compare(live: &Generation, candidate: &Generation) -> Result<ConstraintsReport, TablesError> {
    let of_live = comparison::constraints(live.tables.as_ref()).await?;
    let of_candidate = comparison::constraints(candidate.tables.as_ref()).await?;
    Ok(differences(&of_live, &of_candidate))
}

fn differences(of_live: &[Constraint], of_candidate: &[Constraint]) -> ConstraintsReport {
    let invalid = of_candidate.iter().filter(|constraint| !constraint.is_valid).map(text).collect();
    let [of_live, of_candidate] = [of_live, of_candidate].map(|all| all.iter().map(text).collect::<BTreeSet<_>>());
    ConstraintsReport {
        only_live: of_live.difference(&of_candidate).cloned().collect(),
        only_candidate: of_candidate.difference(&of_live).cloned().collect(),
        invalid,
    }
}

/// A constraint for people: where it is, and what it says.
fn text(constraint: &Constraint) -> String {
    let Constraint { table_name, name, definition, is_valid: _ } = constraint;
    format!("{table_name}: {name}: {definition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraint(name: &str, definition: &str, is_valid: bool) -> Constraint {
        let (table_name, name, definition) = ("runs".to_owned(), name.to_owned(), definition.to_owned());
        Constraint { table_name, name, definition, is_valid }
    }

    #[test]
    fn what_one_generation_alone_has_is_listed_and_so_is_an_invalid_index() {
        let key = constraint("runs_pkey", "PRIMARY KEY (id)", true);
        let live =
            [key.clone(), constraint("by_user", "INDEX (user)", true), constraint("by_time", "INDEX (at)", false)];
        let candidate =
            [constraint("by_user", "INDEX (user, id)", true), constraint("by_time", "INDEX (at)", false), key];
        let expected = ConstraintsReport {
            only_live: vec!["runs: by_user: INDEX (user)".to_owned()],
            only_candidate: vec!["runs: by_user: INDEX (user, id)".to_owned()],
            invalid: vec!["runs: by_time: INDEX (at)".to_owned()],
        };
        assert_eq!(differences(&live, &candidate), expected);
        assert_eq!(differences(&candidate[..1], &candidate[..1]), ConstraintsReport::default());
    }
}
