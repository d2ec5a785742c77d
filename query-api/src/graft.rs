//! What the rows of a list have in common: the flow, the run's number and name, often the step and the run's tags. The list is
//! read without those columns, and they are put in here.

use std::sync::Arc;

use daybook_ingest::metaflow::RunFacts;
use daybook_projector::{
    run_tags::Tags,
    tables::{Cell, Cursor, Row, TablesError},
};

use crate::{app::App, error::ApiError, view::View};

/// The columns to be put into each row of a list.
pub(crate) struct Graft {
    /// The first columns: flow, run number, run name, step if all rows are of one.
    first: Row,
    /// Where the run's tags stand, if its rows show them, and what they are; the system tags follow them.
    tags: Option<(usize, Arc<Tags>)>,
}

impl Graft {
    /// The columns of a flow's run, and of a step if all rows are of one.
    pub(crate) fn new(flow: &str, run: &RunFacts, step: Option<&str>) -> Self {
        let mut first = vec![flow.into(), run.run_number.0.into(), Cell::Text(run.run_id.clone())];
        first.extend(step.map(Cell::from));
        Self { first: Row(first), tags: None }
    }
}

impl App {
    /// The same with the run's tags; nothing for a list that is empty as its run is not there.
    pub(crate) async fn graft_with_tags(
        &self,
        view: &View,
        (flow, run, step): (&str, Option<&RunFacts>, Option<&str>),
        tags_at: usize,
    ) -> Result<Option<Graft>, ApiError> {
        let Some(run) = run else { return Ok(None) };
        let tags = Some((tags_at, self.run_tags(view, flow, run.run_number.0).await?));
        Ok(Some(Graft { tags, ..Graft::new(flow, run, step) }))
    }
}

/// A row with the columns that all have in common.
pub(crate) struct Grafted<'a> {
    pub(crate) row: &'a dyn Cursor,
    pub(crate) graft: &'a Graft,
}

impl Grafted<'_> {
    /// Where a column of the whole row stands in the row that was read, unless it is one of the first.
    fn place(&self, column: usize) -> Option<usize> {
        let tags = if self.graft.tags.as_ref().is_some_and(|(at, _)| column > *at) { 2 } else { 0 };
        column.checked_sub(self.graft.first.0.len() + tags)
    }
}

impl Cursor for Grafted<'_> {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        match (&self.graft.tags, self.place(column)) {
            (_, None) => self.graft.first.optional_text(column),
            (Some((at, tags)), _) if column == *at => Ok(Some(&tags.tags)),
            (Some((at, tags)), _) if column == at + 1 => Ok(Some(&tags.system_tags)),
            (_, Some(place)) => self.row.optional_text(place),
        }
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        match self.place(column) {
            None => self.graft.first.optional_int(column),
            Some(place) => self.row.optional_int(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_rows_have_in_common_stands_where_a_whole_row_has_it() {
        let row = Row(vec![7.into(), Cell::Int(Some(9)), "last".into()]);
        let tags = Arc::new(Tags { tags: "[]".to_owned(), system_tags: "[1]".to_owned() });
        let first = Row(vec!["f".into(), 1.into(), "named".into(), "s".into()]);
        let graft = Graft { first, tags: Some((5, tags)) };
        let whole = Grafted { row: &row, graft: &graft };
        let texts = [0, 2, 3, 5, 6, 8].map(|column| whole.text(column).unwrap_or_default().to_owned());
        assert_eq!(texts, ["f", "named", "s", "[]", "[1]", "last"]);
        assert_eq!([1, 4, 7].map(|column| whole.int(column).unwrap_or_default()), [1, 7, 9]);
        let graft = Graft { tags: None, ..graft };
        assert_eq!(Grafted { row: &row, graft: &graft }.text(6).ok(), Some("last"));
    }
}
