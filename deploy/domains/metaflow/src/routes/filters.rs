//! Filters of lists: `field:op=value`, parsed from the query and evaluated on rows.
//!
//! Several are ANDed; commas within a value are OR; `null` means that there is no value, whatever the operator. Filters
//! are evaluated here and not in SQL, so that they mean the same on every engine.

use axum::http::StatusCode;
use daybook_query_api::{error::ApiError, query::Query};

use super::errors;
use crate::projection::run_status::Status;

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Status,
}

/// The fields that a list can be filtered on.
pub(super) trait Field: Copy + 'static {
    /// All of them, with their names and kinds.
    const ALL: &'static [(Self, &'static str, Kind)];

    fn name(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::ALL.iter().find(|(field, ..)| *field == self).map_or("", |(_, name, _)| name)
    }

    fn kind(self) -> Kind
    where
        Self: PartialEq,
    {
        Self::ALL.iter().find(|(field, ..)| *field == self).map_or(Kind::Text, |(.., kind)| *kind)
    }
}

/// Fields of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunField {
    FlowId,
    RunNumber,
    RunId,
    UserName,
    TsEpoch,
    LastHeartbeatTs,
    Tags,
    SystemTags,
    User,
    Status,
}

impl Field for RunField {
    const ALL: &'static [(Self, &'static str, Kind)] = &[
        (Self::FlowId, "flow_id", Kind::Text),
        (Self::RunNumber, "run_number", Kind::Int),
        (Self::RunId, "run_id", Kind::Text),
        (Self::UserName, "user_name", Kind::Text),
        (Self::TsEpoch, "ts_epoch", Kind::Int),
        (Self::LastHeartbeatTs, "last_heartbeat_ts", Kind::Int),
        (Self::Tags, "tags", Kind::Text),
        (Self::SystemTags, "system_tags", Kind::Text),
        (Self::User, "user", Kind::Text),
        (Self::Status, "status", Kind::Status),
    ];
}

/// Fields of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskField {
    TaskId,
    TaskName,
    UserName,
    TsEpoch,
    LastHeartbeatTs,
}

impl Field for TaskField {
    const ALL: &'static [(Self, &'static str, Kind)] = &[
        (Self::TaskId, "task_id", Kind::Int),
        (Self::TaskName, "task_name", Kind::Text),
        (Self::UserName, "user_name", Kind::Text),
        (Self::TsEpoch, "ts_epoch", Kind::Int),
        (Self::LastHeartbeatTs, "last_heartbeat_ts", Kind::Int),
    ];
}

/// A field's value in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Contains,
    StartsWith,
    EndsWith,
    Like,
    Is,
}

impl Op {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "le" => Self::Le,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "co" => Self::Contains,
            "sw" => Self::StartsWith,
            "ew" => Self::EndsWith,
            "li" => Self::Like,
            "is" => Self::Is,
            _ => return None,
        })
    }

    fn is_textual(self) -> bool {
        matches!(self, Self::Contains | Self::StartsWith | Self::EndsWith | Self::Like)
    }
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Null,
    Int(i64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition<F> {
    field: F,
    op: Op,
    operands: Vec<Operand>,
}

/// How `_tags` matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagOp {
    All,
    Any,
    LikeAll,
    LikeAny,
}

/// A condition on tags.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TagCondition {
    op: TagOp,
    wanted: Vec<String>,
}

/// A parsed filter; without conditions it accepts every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter<F> {
    conditions: Vec<Condition<F>>,
    tags: Vec<TagCondition>,
    uses_status: bool,
}

impl<F> Default for Filter<F> {
    fn default() -> Self {
        Self { conditions: Vec::new(), tags: Vec::new(), uses_status: false }
    }
}

impl<F: Field + PartialEq> Filter<F> {
    /// Reads the filter from a query. Names that are not fields are ignored. `tags` says whether `_tags` is one.
    pub(super) fn parse(query: &Query, tags: bool) -> Result<Self, ApiError> {
        let mut filter = Self::default();
        for (name, value) in &query.0 {
            let (name, op) = name.split_once(':').unwrap_or((name, ""));
            if tags && name == "_tags" {
                let wanted = value.split(',').map(str::to_owned).collect();
                filter.tags.push(TagCondition { op: parse_tag_op(op)?, wanted });
            } else if let Some((field, ..)) = F::ALL.iter().find(|(_, known, _)| *known == name) {
                filter.uses_status |= field.kind() == Kind::Status;
                filter.conditions.push(parse_condition(*field, op, value)?);
            }
        }
        Ok(filter)
    }

    /// Whether it accepts every row.
    pub(super) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.tags.is_empty()
    }

    /// Whether it needs the run's status.
    pub(super) fn uses_status(&self) -> bool {
        self.uses_status
    }

    /// Whether it accepts a row. `tags` are the JSON texts of the lists that `_tags` looks into.
    pub(super) fn matches<'r>(&self, value_of: impl Fn(F) -> Value<'r>, tags: &[&str]) -> bool {
        self.conditions.iter().all(|condition| condition.matches(value_of(condition.field)))
            && self.tags.iter().all(|condition| condition.matches(tags))
    }
}

fn text_error(text: String) -> ApiError {
    errors::text(StatusCode::BAD_REQUEST, text)
}

fn parse_tag_op(op: &str) -> Result<TagOp, ApiError> {
    match op {
        "" | "all" => Ok(TagOp::All),
        "any" => Ok(TagOp::Any),
        "likeall" => Ok(TagOp::LikeAll),
        "likeany" => Ok(TagOp::LikeAny),
        _ => Err(text_error(format!("unsupported operator '{op}' for field '_tags'"))),
    }
}

fn parse_condition<F: Field + PartialEq>(field: F, op: &str, value: &str) -> Result<Condition<F>, ApiError> {
    let (name, kind) = (field.name(), field.kind());
    let unsupported = || text_error(format!("unsupported operator '{op}' for field '{name}'"));
    let op = if op.is_empty() { Op::Eq } else { Op::parse(op).ok_or_else(unsupported)? };
    let operand = |text: &str| match (text, kind) {
        ("null", _) => Ok(Operand::Null),
        (_, _) if op == Op::Is => {
            Err(text_error(format!("unsupported value '{text}' for operator 'is' of field '{name}'")))
        }
        (_, Kind::Int) if op.is_textual() => Err(unsupported()),
        (_, Kind::Int) => {
            let what = if name == "ts_epoch" { "integer epoch milliseconds" } else { "integer" };
            let wrong = |_| text_error(format!("invalid {name}: expected {what}, got '{text}'"));
            text.parse().map(Operand::Int).map_err(wrong)
        }
        (_, Kind::Status) if !matches!(op, Op::Eq | Op::Ne) => Err(unsupported()),
        (_, Kind::Status) if Status::parse(text).is_none() => {
            Err(text_error(format!("unsupported status filter: {text}")))
        }
        (_, Kind::Status | Kind::Text) => Ok(Operand::Text(text.to_owned())),
    };
    Ok(Condition { field, op, operands: value.split(',').map(operand).collect::<Result<_, _>>()? })
}

impl<F> Condition<F> {
    fn matches(&self, value: Value<'_>) -> bool {
        self.operands.iter().any(|operand| compare(self.op, value, operand))
    }
}

fn compare(op: Op, value: Value<'_>, operand: &Operand) -> bool {
    let ordering = match (value, operand) {
        (value, Operand::Null) => return value == Value::Null,
        (Value::Int(value), Operand::Int(operand)) => value.cmp(operand),
        (Value::Text(value), Operand::Text(operand)) if op.is_textual() => return textual(op, value, operand),
        (Value::Text(value), Operand::Text(operand)) => value.cmp(operand),
        _ => return false,
    };
    match op {
        Op::Eq => ordering.is_eq(),
        Op::Ne => ordering.is_ne(),
        Op::Lt => ordering.is_lt(),
        Op::Le => ordering.is_le(),
        Op::Gt => ordering.is_gt(),
        Op::Ge => ordering.is_ge(),
        Op::Contains | Op::StartsWith | Op::EndsWith | Op::Like | Op::Is => false,
    }
}

fn textual(op: Op, value: &str, operand: &str) -> bool {
    let (value, operand) = (value.to_lowercase(), operand.to_lowercase());
    match op {
        Op::Contains => value.contains(&operand),
        Op::StartsWith => value.starts_with(&operand),
        Op::EndsWith => value.ends_with(&operand),
        _ => like(&value.chars().collect::<Vec<_>>(), &operand.chars().collect::<Vec<_>>()),
    }
}

/// SQL's LIKE: `%` is any text, `_` any character, `\` escapes the next character. Takes time in proportion to the
/// product of the lengths, at most.
fn like(value: &[char], pattern: &[char]) -> bool {
    let (mut at, mut of) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match pattern.get(of) {
            Some('%') => {
                retry = Some((at, of));
                of += 1;
                continue;
            }
            Some('_') => at < value.len(),
            Some('\\') if of + 1 < pattern.len() => value.get(at) == pattern.get(of + 1),
            Some(c) => value.get(at) == Some(c),
            None => at == value.len(),
        };
        match (matched, pattern.get(of), &mut retry) {
            (true, None, _) => return true,
            (true, Some(c), _) => {
                of += if *c == '\\' && of + 1 < pattern.len() { 2 } else { 1 };
                at += 1;
            }
            (false, _, Some((from, percent))) if *from < value.len() => {
                *from += 1;
                (at, of) = (*from, *percent + 1);
            }
            (false, _, _) => return false,
        }
    }
}

impl TagCondition {
    fn matches(&self, lists: &[&str]) -> bool {
        let is_tag = |tag: &String| {
            let quoted = serde_json::Value::from(tag.as_str()).to_string();
            lists.iter().any(|list| {
                let tags: Result<Vec<String>, _> = serde_json::from_str(list);
                list.contains(&quoted) && tags.is_ok_and(|tags| tags.contains(tag))
            })
        };
        let is_part = |part: &String| lists.iter().any(|list| list.contains(part.as_str()));
        match self.op {
            TagOp::All => self.wanted.iter().all(is_tag),
            TagOp::Any => self.wanted.iter().any(is_tag),
            TagOp::LikeAll => self.wanted.iter().all(is_part),
            TagOp::LikeAny => self.wanted.iter().any(is_part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(query: &str, user: Option<&str>, ts: i64) -> bool {
        let query = Query::parse(query).unwrap_or_default();
        let filter = Filter::parse(&query, true).unwrap_or_default();
        let value_of = |field| match field {
            RunField::User => user.into(),
            RunField::TsEpoch => Value::Int(ts),
            _ => Value::Null,
        };
        filter.matches(value_of, &[r#"["a","b:c"]"#, r#"["runtime:dev"]"#])
    }

    #[test]
    fn operators_compare_as_documented() {
        for (query, expected) in [
            ("user=ann", true),
            ("user=Ann", false),
            ("user=bob,ann", true),
            ("user:ne=ann", false),
            ("user:co=NN", true),
            ("user:sw=an", true),
            ("user:ew=an", false),
            ("user:li=a%25", true),
            ("user:li=_n_", true),
            ("user:li=_", false),
            ("user:li=%25", true),
            ("user:is=null", false),
            ("user=null", false),
            ("ts_epoch:gt=4&ts_epoch:lt=6", true),
            ("ts_epoch:ge=6", false),
            ("ts_epoch:le=5", true),
            ("unknown=1", true),
            ("_tags=a", true),
            ("_tags=a,runtime:dev", true),
            ("_tags=a,x", false),
            ("_tags:any=a,x", true),
            ("_tags=b", false),
            ("_tags:likeall=time:d", true),
            ("_tags:likeany=zz,b:", true),
        ] {
            assert_eq!(accepts(query, Some("ann"), 5), expected, "{query}");
        }
        assert!(accepts("user:co=null", None, 5));
        assert!(!accepts("user:ne=ann", None, 5));
    }

    #[test]
    fn mistakes_are_reported_in_the_original_s_words() {
        let error = |query: &str| {
            let parsed = Filter::<RunField>::parse(&Query::parse(query)?, true);
            parsed.map_err(|e| e.to_string()).err().ok_or_else(errors::not_found)
        };
        for (query, text) in [
            ("user:zz=1", "unsupported operator 'zz' for field 'user'"),
            ("status=zz", "unsupported status filter: zz"),
            ("ts_epoch=x", "invalid ts_epoch: expected integer epoch milliseconds, got 'x'"),
        ] {
            assert_eq!(error(query).ok().as_deref(), Some(text));
        }
        for query in ["run_number:co=1", "user:is=x", "_tags:zz=a", "status:gt=failed"] {
            assert!(error(query).is_ok(), "{query} was accepted");
        }
    }

    #[test]
    fn like_takes_an_escaped_wildcard_as_it_is() {
        let matches =
            |value: &str, pattern: &str| like(&value.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>());
        assert!(matches("50%", "50\\%"));
        assert!(!matches("500", "50\\%"));
        assert!(matches("abcabc", "%abc"));
        assert!(matches("", "%"));
        assert!(!matches("", "_"));
        assert!(matches("a%b", "a%b"));
    }
}
