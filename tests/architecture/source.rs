//! Rust source as tokens: names, string literals and signs, each with its line, and whether only tests compile it.
//! Comments and character literals are left out. It knows as much of Rust as the rules need, and expands no macro.

use std::collections::HashSet;

use crate::{files_of, read};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Literal,
    Sign,
}

#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Whether it is test code: under `#[cfg(test)]` or `#[test]`, in `tests/` or a folder of benches.
    pub(crate) in_tests: bool,
}

impl Token {
    pub(crate) fn is_name(&self, name: &str) -> bool {
        self.kind == Kind::Name && self.text == name
    }

    pub(crate) fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }
}

pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) tokens: Vec<Token>,
}

/// All Rust files.
pub(crate) fn sources() -> Vec<Source> {
    let of_file = |name: String| Source { tokens: tokens(&read(&name)), name };
    let mut sources: Vec<Source> = files_of(".rs").into_iter().map(of_file).collect();
    let of_tests: HashSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let is_apart = source.name.starts_with("tests/") || source.name.contains("/benches/");
        if is_apart || of_tests.contains(&source.name) {
            source.tokens.iter_mut().for_each(|token| token.in_tests = true);
        }
    }
    sources
}

/// The files of the modules that a file declares for tests only, as `#[cfg(test)] mod name;`.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.name.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    let declared = |three: &[Token]| {
        let is_module = three[0].in_tests && three[0].is_name("mod") && three[2].is_sign(";");
        is_module.then(|| format!("{folder}/{}.rs", three[1].text))
    };
    source.tokens.windows(3).filter_map(declared).collect()
}

/// The tokens of a text, with test code marked.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, line: 1, tokens: Vec::new() };
    while reader.at < reader.chars.len() {
        reader.step();
    }
    mark_test_code(&mut reader.tokens);
    reader.tokens
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader {
    /// The character that stands so far ahead; NUL behind the end.
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self) -> char {
        let taken = self.peek(0);
        self.line += usize::from(taken == '\n');
        self.at += 1;
        taken
    }

    fn push(&mut self, kind: Kind, text: String, line: usize) {
        self.tokens.push(Token { kind, text, line, in_tests: false });
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while !matches!(self.peek(0), '\n' | '\0') {
                    self.take();
                }
            }
            ('/', '*') => self.skip_block_comment(),
            ('"', _) => self.text(),
            ('\'', '\\') => self.skip_escaped_char(),
            ('\'', _) if self.peek(2) == '\'' => self.at += 3,
            (':', ':') => {
                self.at += 2;
                self.push(Kind::Sign, "::".to_owned(), self.line);
            }
            (first, _) if first.is_alphanumeric() || first == '_' => self.name(),
            (first, _) => {
                let line = self.line;
                self.take();
                if !first.is_whitespace() {
                    self.push(Kind::Sign, first.to_string(), line);
                }
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_escaped_char(&mut self) {
        self.at += 3;
        while !matches!(self.take(), '\'' | '\0') {}
    }

    /// A name or number, or a raw string, whose prefix looks like a name.
    fn name(&mut self) {
        let line = self.line;
        let mut name = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            name.push(self.take());
        }
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        match name.as_str() {
            "b" | "c" if self.peek(0) == '"' => self.text(),
            "r" | "br" | "cr" if self.peek(hashes) == '"' => self.raw_text(hashes),
            "r" if hashes == 1 => self.at += 1,
            _ => self.push(Kind::Name, name, line),
        }
    }

    /// A string with escapes, of which only those matter that change where it ends or how it begins.
    fn text(&mut self) {
        let (line, mut text) = (self.line, String::new());
        self.take();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            match (self.take(), self.peek(0)) {
                ('\\', '\n') => {
                    while self.peek(0).is_whitespace() {
                        self.take();
                    }
                }
                ('\\', 'n') => {
                    self.take();
                    text.push('\n');
                }
                ('\\', _) => text.push(self.take()),
                (other, _) => text.push(other),
            }
        }
        self.take();
        self.push(Kind::Literal, text, line);
    }

    fn raw_text(&mut self, hashes: usize) {
        let (line, mut text) = (self.line, String::new());
        self.at += hashes + 1;
        let is_end = |it: &Self| it.peek(0) == '"' && (1..=hashes).all(|ahead| it.peek(ahead) == '#');
        while self.at < self.chars.len() && !is_end(self) {
            text.push(self.take());
        }
        self.at += hashes + 1;
        self.push(Kind::Literal, text, line);
    }
}

/// Marks the items below `#[cfg(test)]`, `#[test]` and the like.
fn mark_test_code(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        if !(tokens[at].is_sign("#") && tokens.get(at + 1).is_some_and(|next| next.is_sign("["))) {
            at += 1;
            continue;
        }
        let behind = at + 1 + length_of_group(&tokens[at + 1..]);
        if is_test_attribute(&tokens[at + 2..behind]) {
            let end = behind + length_of_item(&tokens[behind..]);
            tokens[at..end].iter_mut().for_each(|token| token.in_tests = true);
            at = end;
        } else {
            at = behind;
        }
    }
}

fn is_test_attribute(attribute: &[Token]) -> bool {
    let has = |name| attribute.iter().any(|token| token.is_name(name));
    let is_condition = attribute.first().is_some_and(|first| first.is_name("cfg"));
    let is_test =
        attribute.iter().rev().find(|token| token.kind == Kind::Name).is_some_and(|last| last.is_name("test"));
    if is_condition { has("test") && !has("not") } else { is_test }
}

/// How many tokens stand up to the bracket that closes the first one.
fn length_of_group(tokens: &[Token]) -> usize {
    length_until(tokens, |depth, _| depth == 0)
}

/// How many tokens an item has: up to its semicolon or the end of its body.
fn length_of_item(tokens: &[Token]) -> usize {
    length_until(tokens, |depth, token| depth == 0 && (token.is_sign(";") || token.is_sign("}")))
}

fn length_until(tokens: &[Token], is_end: impl Fn(usize, &Token) -> bool) -> usize {
    let mut depth: usize = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" if token.kind == Kind::Sign => depth += 1,
            ")" | "]" | "}" if token.kind == Kind::Sign => depth = depth.saturating_sub(1),
            _ => {}
        }
        if is_end(depth, token) {
            return at + 1;
        }
    }
    tokens.len()
}

#[test]
fn source_is_read_as_names_literals_and_signs() {
    let text = r##"
        // a "comment" /* of one line
        fn f<'a>(x: &'a str) -> char { let _ = (r#"a "raw" one"#, "b \" \
            c", b'x', '"', '\'', r#type); /* a /* nested */ one */ x::y('}') }
        #[cfg(test)]
        mod tests { fn inner() { "{" } }
        fn after() {}
    "##;
    let tokens = tokens(text);
    let of = |kind| tokens.iter().filter(move |token| token.kind == kind).map(|token| token.text.as_str());
    assert_eq!(of(Kind::Literal).collect::<Vec<_>>(), ["a \"raw\" one", "b \" c", "{"]);
    assert!(of(Kind::Name).any(|name| name == "type") && !of(Kind::Name).any(|name| name == "nested"));
    let place = |name| tokens.iter().find(|token| token.is_name(name)).map(|token| (token.line, token.in_tests));
    assert_eq!((place("y"), place("inner"), place("after")), (Some((4, false)), Some((6, true)), Some((7, false))));
}
