//! Statements that are made of a template and a declaration. A statement lives as long as the process: each text is made
//! once, so there are as many as there are declarations.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Comparable, Name};
use crate::tables::{RowColumns, Statement, TablesError};

/// A template: a statement with places for names and parameters.
pub(super) struct Template(Statement);

macro_rules! template {
    ($name:literal) => {
        template!($name, ".sql", ".sql")
    };
    ($name:literal, split) => {
        template!($name, ".postgres.sql", ".sqlite.sql")
    };
    ($name:literal, $postgres:literal, $sqlite:literal) => {
        Template(Statement {
            name: concat!("comparison/", $name),
            postgres: include_str!(concat!($name, $postgres)),
            sqlite: include_str!(concat!($name, $sqlite)),
            columns: None,
        })
    };
}

impl Template {
    pub(super) const COUNT: Self = template!("count");
    pub(super) const BOUND: Self = template!("bound");
    pub(super) const BOUND_WITHIN: Self = template!("bound_within");
    pub(super) const DIGEST: Self = template!("digest", split);
    pub(super) const DIGEST_REST: Self = template!("digest_rest", split);
    pub(super) const ROWS: Self = template!("rows", split);
    pub(super) const ROWS_REST: Self = template!("rows_rest", split);
    pub(super) const CONTENT: Self = template!("content", split);

    /// The same, with the columns of its rows.
    pub(super) fn with(self, columns: RowColumns) -> Self {
        Self(Statement { columns: Some(columns), ..self.0 })
    }

    /// The statement for a table.
    pub(super) fn fill(&self, comparable: &Comparable) -> Result<&'static Statement, TablesError> {
        static MADE: Mutex<Option<HashMap<(String, String), &'static Statement>>> = Mutex::new(None);
        let Comparable { table, order, key, columns, json, shown, of_fold: _ } = comparable;
        let mut names = order.iter().map(|(name, _)| name).chain(key).chain(columns).chain(shown).chain([table]);
        if let Some(name) = names.find(|name| !is_name(name)) {
            let reason = format!("{name:?} is not the name of a table or a column");
            return Err(TablesError::Refused { statement: self.0.name.to_owned(), reason });
        }
        // A row is found by its whole key, whose values are the only parameters then.
        let (from, order_count) = (if self.is_of_key() { key.len() } else { order.len() }, order.len());
        let (to, skip) = (from + order_count, if self.0.postgres.contains("{to}") { 2 } else { 1 } * order_count);
        let order: Vec<&Name> = order.iter().map(|(name, _)| name).collect();
        let places = [
            ("{table}", format!("\"{table}\"")),
            ("{order}", listed(order)),
            ("{key}", listed(key)),
            ("{columns}", listed(columns)),
            ("{hashed}", hashed(columns, json)),
            ("{shown}", listed(columns.iter().chain(shown))),
            ("{from}", numbered(0, from)),
            ("{to}", numbered(from, to)),
            ("{skip}", numbered(skip, skip + 1)),
        ];
        let fill = |text: &str| places.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value));
        let (postgres, sqlite) = (fill(self.0.postgres), fill(self.0.sqlite));
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.get_or_insert_default().entry((postgres.clone(), sqlite.clone()));
        Ok(made.or_insert_with(|| {
            let (postgres, sqlite): (&'static str, &'static str) = (postgres.leak(), sqlite.leak());
            Box::leak(Box::new(Statement { postgres, sqlite, ..self.0 }))
        }))
    }

    fn is_of_key(&self) -> bool {
        self.0.postgres.contains("({key}) = ")
    }
}

/// Whether a text is a plain name, which needs no escape in quotes.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Columns of the table, in quotes: some names are words of SQL.
fn listed<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().map(|name| format!("t.\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// The same for PostgreSQL, which hashes no JSON.
fn hashed(names: &[Name], json: &[Name]) -> String {
    let column = |name: &Name| match json.contains(name) {
        true => format!("t.\"{name}\"::TEXT"),
        false => format!("t.\"{name}\""),
    };
    names.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Parameters, counted from 0.
fn numbered(from: usize, to: usize) -> String {
    (from..to).map(|index| format!("${}", index + 1)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_names_and_numbers_its_parameters() {
        let table = Comparable::of("runs").by_integer("number").by_text("flow").columns(["user"]).json(["tags"]);
        let text = |template: Template| template.fill(&table).map(|made| made.postgres).unwrap_or_default();
        let within = text(Template::BOUND_WITHIN);
        assert!(within.contains("(t.\"number\", t.\"flow\") > ($1, $2)"), "{within}");
        assert!(within.contains("< ($3, $4)") && within.ends_with("OFFSET $5\n"), "{within}");
        assert!(text(Template::BOUND).ends_with("OFFSET $3\n"));
        let hashed = "ROW(t.\"number\", t.\"flow\", t.\"user\", t.\"tags\"::TEXT)";
        assert!(text(Template::DIGEST).contains(hashed));
        assert!(text(Template::CONTENT).contains("(t.\"number\", t.\"flow\") = ($1, $2)"));
        assert!(std::ptr::eq(text(Template::COUNT), text(Template::COUNT)), "a statement is made twice");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "a b", "a\"b", "A", "a;b"] {
            assert!(Template::COUNT.fill(&Comparable::of(name.to_owned())).is_err(), "{name:?} was accepted");
        }
    }
}
