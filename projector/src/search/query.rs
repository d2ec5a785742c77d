//! The query language: words, `field:word`, `prefix*`, "phrases", `-not`, `OR`, parentheses.
//!
//! Words next to each other must all be found. A word that separators divide (`team:ml-ops`) is a phrase of its parts. What
//! stands before a colon counts as a field only if it is the name of one. Parsing is linear and bounded, and an error names
//! the column where it was noticed.

use std::fmt;

use super::words::words;

/// Longest query, in bytes, inclusive.
pub const BYTES_MAX: usize = 4096;
/// Terms of a query, at most.
pub const TERMS_MAX: usize = 128;
/// Parentheses and negations within each other, at most.
pub const DEPTH_MAX: usize = 16;

/// What can be searched by `field:word`; `Text` is all of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Names, tags, owners, artifacts' names and metadata.
    Text,
    /// `type`.
    Type,
    /// `flow`.
    Flow,
    /// `run`: number or name.
    Run,
    /// `step`.
    Step,
    /// `task`: number or name.
    Task,
    /// `artifact`.
    Artifact,
    /// `user`.
    User,
    /// `tag`.
    Tag,
    /// `status`.
    Status,
    /// `metadata`: fields and values.
    Metadata,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Text,
        Self::Type,
        Self::Flow,
        Self::Run,
        Self::Step,
        Self::Task,
        Self::Artifact,
        Self::User,
        Self::Tag,
        Self::Status,
        Self::Metadata,
    ];

    /// Its name, in queries and in the engines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Type => "type",
            Self::Flow => "flow",
            Self::Run => "run",
            Self::Step => "step",
            Self::Task => "task",
            Self::Artifact => "artifact",
            Self::User => "user",
            Self::Tag => "tag",
            Self::Status => "status",
            Self::Metadata => "metadata",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str().eq_ignore_ascii_case(text))
    }
}

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Terms that stand next to each other in one value; with `prefix`, the last one is the beginning of a word.
    Words {
        /// Where.
        field: Field,
        /// One or more.
        terms: Vec<String>,
        /// Whether the last term is a prefix. A prefix after other terms need not stand next to them.
        prefix: bool,
    },
    /// All of them.
    All(Vec<Expression>),
    /// At least one of them.
    Any(Vec<Expression>),
    /// Not this.
    Not(Box<Expression>),
    /// No document: a word without letters and digits.
    Nothing,
}

/// A text that is no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.reason)
    }
}

impl std::error::Error for SyntaxError {}

/// Parses a query; `None` for one of white space alone, which every document matches.
pub fn parse(text: &str) -> Result<Option<Expression>, SyntaxError> {
    if text.len() > BYTES_MAX {
        let reason = format!("the query has {} bytes, over {BYTES_MAX}", text.len());
        return Err(SyntaxError { column: 1, reason });
    }
    let mut parser = Parser { text: text.chars().collect(), at: 0, terms: 0 };
    let expression = parser.any(0)?;
    match parser.peek() {
        Some(_) => Err(parser.error("a closing parenthesis without its opening one")),
        None => Ok(expression),
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    terms: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn error(&self, reason: impl Into<String>) -> SyntaxError {
        SyntaxError { column: self.at + 1, reason: reason.into() }
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Whether the word `OR` or `AND` stands here.
    fn at_operator(&self, operator: &str) -> bool {
        let word: String = self.text[self.at..].iter().take_while(|c| !c.is_whitespace() && **c != ')').collect();
        word == operator
    }

    fn any(&mut self, depth: usize) -> Result<Option<Expression>, SyntaxError> {
        let mut parts = Vec::new();
        loop {
            let begin = self.at;
            match self.all(depth)? {
                Some(part) => parts.push(part),
                None if parts.is_empty() && !self.at_operator("OR") => return Ok(None),
                None => {
                    self.at = begin.max(self.at);
                    return Err(self.error("OR needs something on both sides"));
                }
            }
            if !self.at_operator("OR") {
                return Ok(Some(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) }));
            }
            self.at += 2;
        }
    }

    fn all(&mut self, depth: usize) -> Result<Option<Expression>, SyntaxError> {
        let mut parts = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None | Some(')') => break,
                Some(_) if self.at_operator("OR") => break,
                Some(_) if self.at_operator("AND") => {
                    if parts.is_empty() {
                        return Err(self.error("AND needs something on both sides"));
                    }
                    self.at += 3;
                    self.skip_space();
                    if self.peek().is_none_or(|c| c == ')') || self.at_operator("OR") || self.at_operator("AND") {
                        return Err(self.error("AND needs something on both sides"));
                    }
                }
                Some(_) => parts.push(self.one(depth)?),
            }
        }
        Ok(match parts.len() {
            0 => None,
            1 => Some(parts.remove(0)),
            _ => Some(Expression::All(parts)),
        })
    }

    fn one(&mut self, depth: usize) -> Result<Expression, SyntaxError> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} parentheses and negations within each other")));
        }
        match self.peek() {
            Some('-') if self.text.get(self.at + 1).is_some_and(|c| !c.is_whitespace()) => {
                self.at += 1;
                Ok(Expression::Not(Box::new(self.one(depth + 1)?)))
            }
            Some('(') => self.group(depth),
            Some('"') => self.phrase(Field::Text),
            _ => self.word(),
        }
    }

    fn group(&mut self, depth: usize) -> Result<Expression, SyntaxError> {
        let open = self.at;
        self.at += 1;
        let inner = self.any(depth + 1)?;
        if self.peek() != Some(')') {
            self.at = open;
            return Err(self.error("this parenthesis is not closed"));
        }
        self.at += 1;
        inner.ok_or_else(|| SyntaxError { column: open + 1, reason: "nothing stands within these parentheses".into() })
    }

    fn phrase(&mut self, field: Field) -> Result<Expression, SyntaxError> {
        let open = self.at;
        let length = self.text[open + 1..].iter().position(|c| *c == '"');
        let Some(length) = length else { return Err(self.error("this quotation mark is not closed")) };
        let phrase: String = self.text[open + 1..open + 1 + length].iter().collect();
        self.at = open + length + 2;
        if self.peek().is_some_and(|c| c == '*') {
            return Err(self.error("a phrase cannot be a prefix"));
        }
        self.terms_of(field, &phrase, false)
    }

    fn word(&mut self) -> Result<Expression, SyntaxError> {
        let begin = self.at;
        let end = |c: &char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
        let length = self.text[begin..].iter().position(end).unwrap_or(self.text.len() - begin);
        let word: String = self.text[begin..begin + length].iter().collect();
        let (field, rest) = match word.split_once(':') {
            Some((name, rest)) if Field::parse(name).is_some() => (Field::parse(name).unwrap_or(Field::Text), rest),
            _ => (Field::Text, word.as_str()),
        };
        let named = rest.len() < word.len();
        self.at = begin + length - rest.chars().count();
        if rest.is_empty() && named {
            return match self.peek() {
                Some('"') => self.phrase(field),
                _ => Err(self.error(format!("nothing stands after {word}"))),
            };
        }
        if let Some(at) = rest.chars().position(|c| c == '*')
            && at + 1 < rest.chars().count()
        {
            self.at += at;
            return Err(self.error("* can only end a word"));
        }
        let (rest, prefix) = rest.strip_suffix('*').map_or((rest, false), |rest| (rest, true));
        if prefix && words(rest).last().is_none_or(|word| word.to < rest.len()) {
            return Err(self.error("* needs letters or digits before it"));
        }
        let expression = self.terms_of(field, rest, prefix);
        self.at = begin + length;
        expression
    }

    fn terms_of(&mut self, field: Field, text: &str, prefix: bool) -> Result<Expression, SyntaxError> {
        let terms: Vec<String> = words(text).map(|word| word.term).collect();
        self.terms += terms.len();
        if self.terms > TERMS_MAX {
            return Err(self.error(format!("the query has more than {TERMS_MAX} words")));
        }
        Ok(if terms.is_empty() { Expression::Nothing } else { Expression::Words { field, terms, prefix } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expression: &Expression) -> String {
        let joined = |parts: &[Expression], with: &str| parts.iter().map(shown).collect::<Vec<_>>().join(with);
        match expression {
            Expression::Words { field, terms, prefix } => {
                format!("{}={}{}", field.as_str(), terms.join("+"), if *prefix { "*" } else { "" })
            }
            Expression::All(parts) => format!("({})", joined(parts, " ")),
            Expression::Any(parts) => format!("({})", joined(parts, " | ")),
            Expression::Not(inner) => format!("-{}", shown(inner)),
            Expression::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn queries_mean_what_they_say() {
        for (query, meaning) in [
            ("Train", "text=train"),
            ("train -failed", "(text=train -text=failed)"),
            ("tag:team:ml-ops", "tag=team+ml+ops"),
            ("team:ml", "text=team+ml"),
            ("TAG:x", "tag=x"),
            ("flow:Tr*", "flow=tr*"),
            ("ml-o*", "text=ml+o*"),
            ("\"a b\" c", "(text=a+b text=c)"),
            ("user:\"Ann Lee\"", "user=ann+lee"),
            ("a OR b c", "(text=a | (text=b text=c))"),
            ("(a OR b) AND -(c d)", "((text=a | text=b) -(text=c text=d))"),
            ("--a", "--text=a"),
            ("-:./", "-nothing"),
            (":::", "nothing"),
            ("or and", "(text=or text=and)"),
            ("a - b", "(text=a nothing text=b)"),
        ] {
            assert_eq!(parse(query).map(|it| it.as_ref().map(shown)), Ok(Some(meaning.to_owned())), "{query}");
        }
        assert_eq!(parse("  "), Ok(None));
    }

    #[test]
    fn a_mistake_is_named_with_its_column() {
        for (query, column) in [
            ("a (b", 3),
            ("a) b", 2),
            ("ab \"c", 4),
            ("tag: x", 5),
            ("a OR", 5),
            ("OR a", 1),
            ("a AND", 6),
            ("AND a", 1),
            ("()", 1),
            ("*a", 1),
            ("flow:a*b", 7),
            ("é *", 3),
            ("\"a\"*", 4),
        ] {
            assert_eq!(parse(query).map_err(|error| error.column), Err(column), "{query}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        assert!(parse(&"a".repeat(100_000)).is_err());
        assert!(parse(&"(".repeat(1000)).is_err());
        assert!(parse(&"-".repeat(1000)).is_err());
        assert!(parse(&"a ".repeat(TERMS_MAX + 1)).is_err());
    }
}
