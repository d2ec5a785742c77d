//! SQL stands in `.sql` files. A literal in Rust counts as SQL if it begins as a statement or holds a clause; the words
//! that begin and end a transaction do not count. Tests may hold SQL.

use crate::{
    expect_none,
    source::{Kind, Source, Token, sources},
};

struct Exception {
    file: &'static str,
    text: &'static str,
    #[expect(dead_code, reason = "for the reader of this list")]
    reason: &'static str,
}

const EXCEPTIONS: [Exception; 5] = [
    Exception {
        file: "projector/src/tables/postgres/plan.rs",
        text: "SELECT {call}",
        reason: "calls the functions that it makes of .sql files; names and parameters depend on the plan's shape",
    },
    Exception {
        file: "projector/src/tables/postgres/plan.rs",
        text: "ON CONFLICT DO NOTHING",
        reason: "is what it looks for at the end of a statement, to leave it out of the fast form",
    },
    Exception {
        file: "projector/src/tables/postgres/listening.rs",
        text: "SELECT 1",
        reason: "asks a listening connection that was silent for long whether it lives",
    },
    Exception {
        file: "ingest/src/sqlite/wal.rs",
        text: "PRAGMA wal_checkpoint(PASSIVE)",
        reason: "copies SQLite's own journal into its file; no table is named",
    },
    Exception {
        file: "ingest/src/sqlite/wal.rs",
        text: "PRAGMA wal_checkpoint(TRUNCATE)",
        reason: "the same, and empties it",
    },
];

/// Words that begin a statement in front of one of those words; without any, in front of whatever follows.
const STATEMENTS: [(&str, &[&str]); 14] = [
    ("SELECT", &[]),
    ("WITH", &[]),
    ("INSERT", &["INTO", "OR"]),
    ("REPLACE", &["INTO"]),
    ("MERGE", &["INTO"]),
    ("UPDATE", &[]),
    ("DELETE", &["FROM"]),
    ("CREATE", &[]),
    ("ALTER", &[]),
    ("DROP", &[]),
    ("TRUNCATE", &[]),
    ("LOCK", &["TABLE"]),
    ("EXPLAIN", &[]),
    ("PRAGMA", &[]),
];

/// Parts that a statement may be put together of, and beginnings in small letters that no sentence has.
const CLAUSES: [&str; 12] = [
    "WHERE ",
    "ORDER BY ",
    "GROUP BY ",
    "ON CONFLICT",
    " JOIN ",
    "INSERT INTO ",
    "DELETE FROM ",
    "RETURNING ",
    "UNNEST(",
    "insert into ",
    "create table ",
    "drop table ",
];

/// Whether a text is SQL. Statements are in capitals, which tells them from sentences.
fn is_sql(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some(first), Some(second)) = (words.next(), words.next()) else { return false };
    let begins = |(word, after): &(&str, &[&str])| first == *word && (after.is_empty() || after.contains(&second));
    let is_small = text.trim_start().starts_with("select ") && text.contains(" from ");
    is_small || STATEMENTS.iter().any(begins) || CLAUSES.iter().any(|clause| text.contains(clause))
}

fn is_statement(token: &Token) -> bool {
    token.kind == Kind::Literal && !token.in_tests && is_sql(&token.text)
}

fn is_exception(source: &Source, token: &Token) -> bool {
    EXCEPTIONS.iter().any(|it| it.file == source.name && it.text == token.text)
}

#[test]
fn no_sql_stands_in_rust() {
    let mut found = Vec::new();
    for source in sources() {
        for token in source.tokens.iter().filter(|token| is_statement(token) && !is_exception(&source, token)) {
            let begin: String = token.text.chars().take(60).collect();
            found.push(format!("{}:{}: SQL in Rust: {begin:?}", source.name, token.line));
        }
    }
    expect_none("SQL stands in .sql files", &found);
}

#[test]
fn every_exception_is_still_there() {
    let sources = sources();
    for it in &EXCEPTIONS {
        let mut of_file = sources.iter().filter(|source| source.name == it.file).flat_map(|source| &source.tokens);
        let is_used = of_file.any(|token| is_statement(token) && token.text == it.text);
        assert!(is_used, "{} does not hold {:?} any more: take it off the list", it.file, it.text);
    }
}

#[test]
fn statements_are_told_from_sentences() {
    let statements = [
        "SELECT 1",
        "select a from b",
        "\n  INSERT INTO t VALUES (1)",
        "create table t (a int)",
        "UPDATE t SET a = 1",
        "DROP SCHEMA s",
        "a = 1 ORDER BY a",
        "PRAGMA x",
    ];
    let sentences = [
        "Select a flow",
        "create schema",
        "create the directory",
        "drop",
        "SELECT",
        "update t",
        "delete a run",
        "with",
    ];
    assert_eq!(statements.into_iter().find(|text| !is_sql(text)), None);
    assert_eq!(sentences.into_iter().find(|text| is_sql(text)), None);
}
