//! Plans in one round trip: functions generated from the texts of a plan shape's statements.
//!
//! A function takes the columns of all its statements as arrays and runs the statements that have rows. A function of
//! PostgreSQL has at most a hundred arguments, so a shape may need several. Each takes the result of the previous one,
//! which fixes their order. Failures: SQLSTATE DB001 if another writer was faster, DB002 if a statement changed fewer
//! rows than required, 23505 (unique_violation) if a row exists already. After a failure nothing is changed.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::values::{PgQuery, bind_column};
use crate::tables::{
    TablesError, Timestamp,
    plan::{Plan, PlanShape, Rows, ShapedStatement, parameters},
};

const FUNCTION: &str = include_str!("plan/function.sql");
const STEP: &str = include_str!("plan/step.sql");
const CHECK: &str = include_str!("plan/check.sql");
const NOTIFY: &str = include_str!("plan/notify.sql");
/// Arguments of a function, at most, besides the previous function's result: `FUNC_MAX_ARGS` of PostgreSQL is 100.
const ARGUMENTS_MAX: usize = 99;
/// The end of a statement that skips existing rows.
const DO_NOTHING: &str = "ON CONFLICT DO NOTHING";
/// The argument of a notification: an array of at most one payload.
const NOTIFICATION: &str = "TEXT[]";
/// SQLSTATEs that mean a declined plan: that of the generated functions, and `unique_violation`.
pub(super) const DECLINED: [&str; 2] = ["DB002", "23505"];

/// The statements of one function, by their index in the shape, and whether it also notifies.
struct Function<'s> {
    statements: Vec<&'s ShapedStatement>,
    notifies: bool,
}

impl Function<'_> {
    fn arguments(&self) -> impl Iterator<Item = &'static str> {
        let arrays = self.statements.iter().flat_map(|it| it.types.iter().copied());
        arrays.chain(self.notifies.then_some(NOTIFICATION))
    }

    fn body(&self) -> String {
        // The first argument is the previous function's result.
        let (mut first, mut body) = (2, String::new());
        for shaped in &self.statements {
            body.push_str(&step(shaped, first));
            first += shaped.types.len();
        }
        if self.notifies {
            body.push_str(&NOTIFY.replace("{payloads}", &format!("${first}")));
        }
        body
    }
}

/// The functions of a shape: as few as hold all statements.
fn functions(shape: &PlanShape) -> Result<Vec<Function<'_>>, TablesError> {
    let mut functions: Vec<Function<'_>> = vec![Function { statements: Vec::new(), notifies: false }];
    let mut arguments = 0;
    for shaped in &shape.statements {
        let added = shaped.types.len();
        if added > ARGUMENTS_MAX {
            let reason = format!("a plan's statement has {added} columns, more than {ARGUMENTS_MAX}");
            return Err(TablesError::Refused { statement: shaped.statement.name.to_owned(), reason });
        }
        if arguments + added > ARGUMENTS_MAX {
            functions.push(Function { statements: Vec::new(), notifies: false });
            arguments = 0;
        }
        arguments += added;
        if let Some(last) = functions.last_mut() {
            last.statements.push(shaped);
        }
    }
    match functions.last_mut() {
        Some(last) if arguments < ARGUMENTS_MAX => last.notifies = true,
        _ => functions.push(Function { statements: Vec::new(), notifies: true }),
    }
    Ok(functions)
}

/// The text of one statement within a function; its parameters begin with the argument `first`.
fn step(shaped: &ShapedStatement, first: usize) -> String {
    let mut text = String::new();
    let mut copied = 0;
    for (range, number, _) in parameters(shaped.statement.postgres) {
        text.push_str(&shaped.statement.postgres[copied..range.start]);
        text.push_str(&format!("${}", first + number - 1));
        copied = range.end;
    }
    text.push_str(&shaped.statement.postgres[copied..]);
    let text = match shaped.rows {
        Rows::Any => text,
        Rows::All | Rows::Guard => text.replace(DO_NOTHING, ""),
    };
    let check = |sqlstate| CHECK.replace("{name}", shaped.statement.name).replace("{sqlstate}", sqlstate);
    let check = match shaped.rows {
        Rows::All => check(DECLINED[0]),
        Rows::Guard => check(super::failures::FASTER),
        Rows::Any => String::new(),
    };
    STEP.replace("{check}", &check).replace("{rows}", &format!("${first}")).replace("{statement}", text.trim_end())
}

fn name(shape: &PlanShape, index: usize) -> String {
    format!("apply_plan_{}_{}", shape.digest(), index + 1)
}

/// The DDL of a shape's functions.
pub(super) fn script(shape: &PlanShape) -> Result<String, TablesError> {
    let script = |(index, function): (usize, &Function<'_>)| {
        let arguments: String = function.arguments().map(|argument| format!(", {argument}")).collect();
        FUNCTION
            .replace("{name}", &name(shape, index))
            .replace("{arguments}", &arguments)
            .replace("{body}", &function.body())
    };
    Ok(functions(shape)?.iter().enumerate().map(script).collect())
}

/// The statement that runs a shape's plans.
pub(super) fn call(shape: &PlanShape) -> Result<Arc<str>, TablesError> {
    let (mut call, mut next) = ("0".to_owned(), 1);
    for (index, function) in functions(shape)?.iter().enumerate() {
        let count = function.arguments().count();
        let arguments: String = (next..next + count).map(|argument| format!(", ${argument}")).collect();
        next += count;
        call = format!("{}({call}{arguments})", name(shape, index));
    }
    Ok(format!("SELECT {call}").into())
}

/// A plan as the parameters of its shape's call.
pub(super) fn bind<'q>(call: &Arc<str>, plan: &'q Plan<'_>) -> PgQuery<'q> {
    let query = sqlx::query(AssertSqlSafe(Arc::clone(call)).into_sql_str());
    let statements = plan.shape.statements.iter().zip(&plan.columns);
    let query = statements.fold(query, |query, (shaped, columns)| {
        if columns.is_empty() {
            return shaped.types.iter().fold(query, |query, array| bind_null(query, array));
        }
        columns.iter().fold(query, bind_column)
    });
    query.bind(plan.notification.as_ref().map(|payload| vec![payload.as_str()]))
}

/// Binds null as an array of some type. PostgreSQL needs the type only to find the function.
fn bind_null<'q>(query: PgQuery<'q>, array: &str) -> PgQuery<'q> {
    match array {
        "TEXT[]" => query.bind(None::<Vec<String>>),
        "BOOLEAN[]" => query.bind(None::<Vec<bool>>),
        "DOUBLE PRECISION[]" => query.bind(None::<Vec<f64>>),
        "BYTEA[]" => query.bind(None::<Vec<Vec<u8>>>),
        "TIMESTAMPTZ[]" => query.bind(None::<Vec<Timestamp>>),
        _ => query.bind(None::<Vec<i64>>),
    }
}
