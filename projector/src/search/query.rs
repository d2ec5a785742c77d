//! The query language: words, `field:word`, `prefix*`, "phrases", `-not`, `OR`, parentheses.
//!
//! Adjacent words must all be found. A word with separators inside (`team:ml-ops`) is a phrase of its parts, and so are
//! letters of a script that is written without spaces. Text before a colon is a field only if it is the name of one. Parsing is linear and bounded. An error names its column.

use std::{fmt, sync::Arc};

use super::{
    shape::{Field, IndexShape, TEXT},
    words::words,
};

/// Longest query, in bytes, inclusive.
pub const BYTES_MAX: usize = 4096;
/// Terms of a query, at most.
pub const TERMS_MAX: usize = 128;
/// Parentheses and negations within each other, at most.
pub const DEPTH_MAX: usize = 16;

/// What documents are to match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// Adjacent terms in one value; with `prefix`, the last one is the beginning of a word.
    Words {
        /// Where.
        field: Field,
        /// One or more.
        terms: Vec<String>,
        /// Whether the last term is a prefix. A prefix after other terms need not be adjacent to them.
        prefix: bool,
    },
    /// One of these is a whole value. No query says so, but filters do.
    Value {
        /// Where.
        field: Field,
        /// The values.
        one_of: Arc<[String]>,
    },
    /// The time is within a span, in milliseconds since 1970. No query says so, but filters do.
    Time {
        /// At or after this.
        from: Option<i64>,
        /// Before this.
        to: Option<i64>,
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

impl Expression {
    /// One of some whole values.
    pub fn value<T: Into<String>>(field: Field, one_of: impl IntoIterator<Item = T>) -> Self {
        Self::Value { field, one_of: one_of.into_iter().map(Into::into).collect() }
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let of_texts = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        let of_parts = |parts: &[Self]| parts.iter().map(Self::bytes).sum::<usize>();
        size_of::<Self>()
            + match self {
                Self::Words { terms, .. } => of_texts(terms),
                Self::Value { one_of, .. } => of_texts(one_of),
                Self::All(parts) | Self::Any(parts) => of_parts(parts),
                Self::Not(inner) => inner.bytes(),
                Self::Time { .. } | Self::Nothing => 0,
            }
    }
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

/// Parses a query over the fields of a shape; `None` for one of white space alone, which every document matches.
pub fn parse(shape: &IndexShape, text: &str) -> Result<Option<Expression>, SyntaxError> {
    if text.len() > BYTES_MAX {
        let reason = format!("the query has {} bytes, over {BYTES_MAX}", text.len());
        return Err(SyntaxError { column: 1, reason });
    }
    let mut parser = Parser { shape, text: text.chars().collect(), at: 0, terms: 0 };
    let expression = parser.any(0)?;
    match parser.peek() {
        Some(_) => Err(parser.error("a closing parenthesis without its opening one")),
        None => Ok(expression),
    }
}

/// Whether a character ends a word or an operator before it.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"')
}

struct Parser<'a> {
    shape: &'a IndexShape,
    text: Vec<char>,
    at: usize,
    terms: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn error(&self, reason: impl Into<String>) -> SyntaxError {
        SyntaxError { column: self.at + 1, reason: reason.into() }
    }

    /// The field of a name, if its words are searched.
    fn field(&self, name: &str) -> Option<Field> {
        if name.eq_ignore_ascii_case(TEXT) {
            return Some(Field::Text);
        }
        self.shape.find(name, |field| field.words.is_some()).map(Field::Named)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Whether the next word is this operator.
    fn at_operator(&self, operator: &str) -> bool {
        let word: String = self.text[self.at..].iter().take_while(|c| !ends_word(**c)).collect();
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
        inner.ok_or_else(|| SyntaxError { column: open + 1, reason: "these parentheses are empty".into() })
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
        self.exactly(field, &phrase, false)
    }

    fn word(&mut self) -> Result<Expression, SyntaxError> {
        let begin = self.at;
        let length = self.text[begin..].iter().position(|c| ends_word(*c)).unwrap_or(self.text.len() - begin);
        let word: String = self.text[begin..begin + length].iter().collect();
        let (field, rest) = match word.split_once(':') {
            Some((name, rest)) => self.field(name).map_or((Field::Text, word.as_str()), |field| (field, rest)),
            None => (Field::Text, word.as_str()),
        };
        let named = rest.len() < word.len();
        self.at = begin + length - rest.chars().count();
        if rest.is_empty() && named {
            return match self.peek() {
                Some('"') => self.phrase(field),
                Some('(') => Err(self.error(format!("a group cannot follow {word}: name the field before each word"))),
                _ => Err(self.error(format!("nothing follows {word}"))),
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

    /// The words of a text, or others with the same stems.
    fn terms_of(&mut self, field: Field, text: &str, prefix: bool) -> Result<Expression, SyntaxError> {
        let exactly = self.exactly(field, text, prefix)?;
        let stems = self.shape.stems_of(field).zip(self.shape.stemming.as_ref()).filter(|_| !prefix);
        let stems = stems.map(|(field, english)| (field, english.stems(text)));
        Ok(match stems.filter(|(_, terms)| !terms.is_empty()) {
            Some((field, terms)) => Expression::Any(vec![exactly, Expression::Words { field, terms, prefix: false }]),
            None => exactly,
        })
    }

    fn exactly(&mut self, field: Field, text: &str, prefix: bool) -> Result<Expression, SyntaxError> {
        let (mut terms, mut is_alone) = (Vec::new(), false);
        for word in words(text) {
            is_alone = word.alone;
            terms.push(word.term);
        }
        let prefix = prefix && !is_alone;
        self.terms += terms.len();
        if self.terms > TERMS_MAX {
            return Err(self.error(format!("the query has more than {TERMS_MAX} words")));
        }
        Ok(if terms.is_empty() { Expression::Nothing } else { Expression::Words { field, terms, prefix } })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            shape::{FieldShape, example::library},
            words::english::English,
        },
        *,
    };

    fn shown(expression: &Expression) -> String {
        let joined = |parts: &[Expression], with: &str| parts.iter().map(shown).collect::<Vec<_>>().join(with);
        match expression {
            Expression::Words { field, terms, prefix } => {
                format!("{}={}{}", library().name(*field), terms.join("+"), if *prefix { "*" } else { "" })
            }
            Expression::All(parts) => format!("({})", joined(parts, " ")),
            Expression::Any(parts) => format!("({})", joined(parts, " | ")),
            Expression::Not(inner) => format!("-{}", shown(inner)),
            Expression::Nothing => "nothing".to_owned(),
            Expression::Value { .. } | Expression::Time { .. } => panic!("no query says so"),
        }
    }

    #[test]
    fn queries_mean_what_they_say() {
        for (query, meaning) in [
            ("Train", "text=train"),
            ("train -failed", "(text=train -text=failed)"),
            ("tag:team:ml-ops", "tag=team+ml+ops"),
            ("user:ann", "text=user+ann"),
            ("team:ml", "text=team+ml"),
            ("TAG:x", "tag=x"),
            ("title:Tr*", "title=tr*"),
            ("ml-o*", "text=ml+o*"),
            ("\"a b\" c", "(text=a+b text=c)"),
            ("author:\"Ann Lee\"", "author=ann+lee"),
            ("a OR b c", "(text=a | (text=b text=c))"),
            ("(a OR b) AND -(c d)", "((text=a | text=b) -(text=c text=d))"),
            ("a OR(b)", "(text=a | text=b)"),
            ("(a)OR(b c)AND\"d e\"", "(text=a | ((text=b text=c) text=d+e))"),
            ("a AND(b)", "(text=a text=b)"),
            ("a OR\"b\"", "(text=a | text=b)"),
            ("ORb \"OR\"(AND-x)", "(text=orb text=or text=and+x)"),
            ("--a", "--text=a"),
            ("-:./", "-nothing"),
            (":::", "nothing"),
            ("or and", "(text=or text=and)"),
            ("a - b", "(text=a nothing text=b)"),
            ("title:Cafe\u{301}s", "title=cafés"),
            ("cafe\u{301}*", "text=café*"),
            ("東京", "text=東+京"),
            ("東京* v*", "(text=東+京 text=v*)"),
        ] {
            assert_eq!(
                parse(&library(), query).map(|it| it.as_ref().map(shown)),
                Ok(Some(meaning.to_owned())),
                "{query}"
            );
        }
        assert_eq!(parse(&library(), "  "), Ok(None));
    }

    #[test]
    fn words_also_mean_their_stems_where_fields_have_some() {
        let mut shape = library();
        shape.stemming = Some(English { overrides: Vec::new(), overrides_see_case: false });
        shape.fields[1] = FieldShape::text("title").words().stems();
        for (query, meaning) in [
            ("Boats", "(text=boats | stems=boat)"),
            ("title:harbours -author:boats", "((title=harbours | title=harbour) -author=boats)"),
            ("dog's", "(text=dog+s | stems=dog)"),
            ("\"the boats\" boat*", "(text=the+boats text=boat*)"),
            ("-:./", "-nothing"),
        ] {
            assert_eq!(parse(&shape, query).map(|it| it.as_ref().map(shown)), Ok(Some(meaning.to_owned())), "{query}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_column() {
        for (query, column) in [
            ("a (b", 3),
            ("a) b", 2),
            ("ab \"c", 4),
            ("tag: x", 5),
            ("tag:(x)", 5),
            ("a OR", 5),
            ("OR(a)", 1),
            ("a AND()", 6),
            ("OR a", 1),
            ("a AND", 6),
            ("AND a", 1),
            ("()", 1),
            ("*a", 1),
            ("title:a*b", 8),
            ("é *", 3),
            ("\"a\"*", 4),
        ] {
            assert_eq!(parse(&library(), query).map_err(|error| error.column), Err(column), "{query}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        assert!(parse(&library(), &"a".repeat(100_000)).is_err());
        assert!(parse(&library(), &"(".repeat(1000)).is_err());
        assert!(parse(&library(), &"-".repeat(1000)).is_err());
        assert!(parse(&library(), &"a ".repeat(TERMS_MAX + 1)).is_err());
    }
}
