//! Plans: the statements and columns that commit an ordinary batch, known before anything is read.
//!
//! A plan is all or nothing. Each statement runs over many rows. If it changes fewer rows than required, the plan is
//! declined and changes nothing. PostgreSQL commits a plan in one round trip, SQLite in one transaction; both decline in
//! the same cases. The schema declares which statements plans may use, and in which order: PostgreSQL generates functions
//! from them.

use sha2::{Digest, Sha256};

use super::{Column, Statement, TablesError};

/// A statement that plans may use.
#[derive(Debug, Clone, Copy)]
pub struct PlanStatement {
    /// The statement: an insert, an update or a delete over many rows. Its text for PostgreSQL casts each parameter to an
    /// array (`$1::TEXT[]`).
    pub statement: &'static Statement,
    /// How many rows it must change.
    pub rows: Rows,
}

impl PlanStatement {
    /// A statement that must change each of its rows.
    pub const fn all(statement: &'static Statement) -> Self {
        Self { statement, rows: Rows::All }
    }

    /// A statement that may change any number of rows.
    pub const fn any(statement: &'static Statement) -> Self {
        Self { statement, rows: Rows::Any }
    }
}

/// How many rows a statement of a plan must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// As many as its parameters have; else the plan is declined. On PostgreSQL, its `ON CONFLICT DO NOTHING` is left
    /// out: checking for a conflict before each row costs as much as its index entries, and a conflict declines the plan
    /// either way.
    All,
    /// As many as its parameters have; else another writer was faster, and the plan ends in [`TablesError::Conflict`].
    Guard,
    /// Any number.
    Any,
}

/// The statements that the plans of a schema may use, in the order in which they run.
#[derive(Debug)]
pub struct PlanShape {
    pub(super) statements: Vec<ShapedStatement>,
    digest: String,
}

/// A statement of a shape with its parameters.
#[derive(Debug)]
pub(super) struct ShapedStatement {
    pub(super) statement: &'static Statement,
    pub(super) rows: Rows,
    /// PostgreSQL's types of its parameters, such as `TEXT[]`.
    pub(super) types: Vec<&'static str>,
}

/// One statement of a plan with its parameters, column by column.
#[derive(Debug, Clone)]
pub struct Step {
    /// The statement.
    pub statement: &'static Statement,
    /// Its columns; without rows it is not run.
    pub columns: Vec<Column>,
}

/// A plan.
#[derive(Debug)]
pub struct Plan<'s> {
    pub(super) shape: &'s PlanShape,
    /// The columns of each of the shape's statements; empty for statements that are not run.
    pub(super) columns: Vec<Vec<Column>>,
    /// The notification for all listening processes, if any.
    pub(super) notification: Option<String>,
}

/// The outcome of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanOutcome {
    /// It is committed.
    Committed,
    /// A statement changed fewer rows than required; nothing was committed.
    Declined,
}

impl PlanShape {
    /// The shape of plans that may use these statements, each at most once. An error if one of them does not fit.
    pub fn new(statements: impl IntoIterator<Item = PlanStatement>) -> Result<Self, TablesError> {
        let shaped = |PlanStatement { statement, rows }| {
            Ok(ShapedStatement { statement, rows, types: parameter_types(statement)? })
        };
        let statements: Vec<ShapedStatement> =
            statements.into_iter().map(shaped).collect::<Result<_, TablesError>>()?;
        let mut hash = Sha256::new();
        for ShapedStatement { statement, rows, .. } in &statements {
            hash.update(format!("{} {rows:?}\n", statement.name));
            hash.update(statement.postgres);
            hash.update(statement.sqlite);
        }
        let digest = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { statements, digest })
    }

    /// A hash of the statements; part of the schema's fingerprint.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The plan of some steps, which may come in any order.
    pub fn plan(&self, steps: Vec<Step>, notification: Option<String>) -> Result<Plan<'_>, TablesError> {
        let mut columns = vec![Vec::new(); self.statements.len()];
        for step in steps {
            let place = self.statements.iter().position(|it| it.statement.name == step.statement.name);
            let fitting = place.filter(|place| self.statements[*place].types.len() == step.columns.len());
            let place = fitting.ok_or_else(|| refused(step.statement, "a step does not fit the plan's shape"))?;
            columns[place] = step.columns;
        }
        Ok(Plan { shape: self, columns, notification })
    }
}

impl Plan<'_> {
    /// The statements that have rows, in order.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&ShapedStatement, &[Column])> {
        let all = self.shape.statements.iter().zip(&self.columns);
        let run = all.filter(|(_, columns)| columns.first().is_some_and(|column| !column.is_empty()));
        run.map(|(statement, columns)| (statement, columns.as_slice()))
    }
}

/// The parameters of a statement's text, each as the byte range of its name, its number, from 1, and what follows it.
pub(super) fn parameters(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, usize, &str)> {
    text.match_indices('$').filter_map(move |(begin, _)| {
        let rest = &text[begin + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits].parse().ok()?;
        Some((begin..begin + 1 + digits, number, &rest[digits..]))
    })
}

fn parameter_types(statement: &'static Statement) -> Result<Vec<&'static str>, TablesError> {
    let mut types: Vec<Option<&'static str>> = Vec::new();
    for (_, number, rest) in parameters(statement.postgres) {
        if types.len() < number {
            types.resize(number, None);
        }
        let cast = rest.strip_prefix("::").and_then(|rest| Some(&rest[..rest.find("[]")? + 2]));
        let array = cast.filter(|cast| !cast.contains([',', '(', ')', '$', '\n']));
        if let (Some(place), Some(array)) = (number.checked_sub(1), array) {
            types[place] = Some(array);
        }
    }
    let types: Option<Vec<_>> = types.into_iter().collect();
    let types = types.filter(|types| !types.is_empty());
    types.ok_or_else(|| refused(statement, "a plan's statement must cast each parameter to an array"))
}

fn refused(statement: &Statement, reason: &str) -> TablesError {
    TablesError::Refused { statement: statement.name.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn statement(postgres: &'static str) -> Statement {
        Statement { name: "s", postgres, sqlite: "", columns: None }
    }

    #[test]
    fn parameters_have_the_types_that_the_text_casts_them_to() {
        static GOOD: Statement = statement("SELECT 1 FROM UNNEST($1::TEXT[], $2::DOUBLE PRECISION[]) WHERE $1 = '$.a'");
        static BARE: Statement = statement("SELECT $1, $2::TEXT[]");
        static NONE: Statement = statement("SELECT 1");
        let types = parameter_types(&GOOD).unwrap_or_default();
        assert_eq!(types, ["TEXT[]", "DOUBLE PRECISION[]"]);
        for refused in [&BARE, &NONE] {
            assert!(parameter_types(refused).is_err(), "{}", refused.postgres);
        }
    }

    #[test]
    fn a_step_that_its_shape_does_not_know_is_refused() {
        static KNOWN: Statement = statement("SELECT 1 FROM UNNEST($1::TEXT[])");
        static OTHER: Statement = Statement { name: "other", ..statement("SELECT 1 FROM UNNEST($1::TEXT[])") };
        let shape = PlanShape::new([PlanStatement::all(&KNOWN)]).unwrap_or_else(|error| panic!("{error}"));
        let step = |statement, columns| vec![Step { statement, columns }];
        assert!(shape.plan(step(&KNOWN, vec![Column::texts(["a"])]), None).is_ok());
        assert!(shape.plan(step(&KNOWN, vec![]), None).is_err());
        assert!(shape.plan(step(&OTHER, vec![Column::texts(["a"])]), None).is_err());
    }
}
