//! What rows of a run's objects have of their run: its name and its tags. They are the same in every row of a list, so
//! the list is read without them and they are put in here.

use std::sync::Arc;

use daybook_ingest::commands::RunFacts;
use daybook_projector::{
    run_tags::Tags,
    tables::{Cursor, TablesError},
};

use crate::{app::App, error::ApiError, view::View};

/// Where the run's name stands in every row.
const RUN_ID_AT: usize = 2;

/// The columns to be put into each row of a list.
pub(crate) struct Graft {
    run_id: Option<String>,
    tags: Arc<Tags>,
    /// Where the tags stand; the system tags follow them.
    tags_at: usize,
}

impl App {
    /// The columns of a run that is there; nothing for a list that is empty as its run is not.
    pub(crate) async fn graft(
        &self,
        view: &View,
        flow: &str,
        run: Option<&RunFacts>,
        tags_at: usize,
    ) -> Result<Option<Graft>, ApiError> {
        let Some(run) = run else { return Ok(None) };
        let tags = self.run_tags(view, flow, run.run_number.0).await?;
        Ok(Some(Graft { run_id: run.run_id.clone(), tags, tags_at }))
    }
}

/// A row with the columns of its run.
pub(crate) struct Grafted<'a> {
    pub(crate) row: &'a dyn Cursor,
    pub(crate) graft: &'a Graft,
}

impl Grafted<'_> {
    /// Where a column of the whole row stands in the row that was read.
    fn place(&self, column: usize) -> usize {
        let tags = if column > self.graft.tags_at { 2 } else { 0 };
        column - usize::from(column > RUN_ID_AT) - tags
    }
}

impl Cursor for Grafted<'_> {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        let Graft { run_id, tags, tags_at } = self.graft;
        match column {
            RUN_ID_AT => Ok(run_id.as_deref()),
            _ if column == *tags_at => Ok(Some(&tags.tags)),
            _ if column == tags_at + 1 => Ok(Some(&tags.system_tags)),
            _ => self.row.optional_text(self.place(column)),
        }
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        self.row.optional_int(self.place(column))
    }
}

#[cfg(test)]
mod tests {
    use daybook_projector::tables::{Cell, Row};

    use super::*;

    #[test]
    fn the_run_s_columns_stand_between_those_of_the_row() {
        let row = Row(vec!["f".into(), 1.into(), "s".into(), 7.into(), Cell::Int(Some(9)), "last".into()]);
        let tags = Arc::new(Tags { tags: "[]".to_owned(), system_tags: "[1]".to_owned() });
        let graft = Graft { run_id: Some("named".to_owned()), tags, tags_at: 5 };
        let whole = Grafted { row: &row, graft: &graft };
        let texts = [0, 2, 3, 5, 6, 8].map(|column| whole.text(column).unwrap_or_default().to_owned());
        assert_eq!(texts, ["f", "named", "s", "[]", "[1]", "last"]);
        assert_eq!([1, 4, 7].map(|column| whole.int(column).unwrap_or_default()), [1, 7, 9]);
    }
}
