//! Where records and values end: a state machine over bytes that may stop anywhere.
//!
//! A quote may only begin a value, and only a separator or the end of the line may follow its closing quote. What
//! breaks this rule makes the record a fault, which ends with its line. A record that is too long is read to its end,
//! so that no line within a long value is taken for a record.

use super::Format;
use crate::record::LINE_BYTES_MAX;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Whole,
    /// With bytes where none may be.
    StrayQuote,
    /// With the file, inside quotes or after a backslash.
    Unclosed,
    /// Beyond the bound.
    TooLong,
}

/// A value of the record that is read: where it ends, and whether it was quoted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) end: usize,
    pub(super) is_quoted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a value.
    ValueStart,
    Unquoted,
    Quoted,
    /// After a quote within quotes: it closes them, or another one follows.
    Quote,
    /// After a carriage return that follows a closing quote.
    QuoteReturn,
    /// After a backslash of the format with tabs.
    Escape,
    /// Until the end of the line of a record with a fault.
    Skip,
}

/// The record that is read.
#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) format: Format,
    state: State,
    /// How many bytes of the mark at the beginning of the file were seen; `None` after it.
    mark: Option<usize>,
    /// The bytes of its values, without separators and quotes; escapes are as they are in the file.
    pub(super) bytes: Vec<u8>,
    /// Its values.
    pub(super) values: Vec<Value>,
    /// The line on which it begins.
    pub(super) line: u64,
    /// The line of the next byte.
    pub(super) next_line: u64,
    /// How many bytes of the file it has.
    size: usize,
}

impl Scanner {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            state: State::ValueStart,
            mark: Some(0),
            bytes: Vec::new(),
            values: Vec::new(),
            line: 1,
            next_line: 1,
            size: 0,
        }
    }

    /// Reads up to the end of a record; `None` if the bytes end before it.
    pub(super) fn scan(&mut self, rest: &mut &[u8]) -> Option<Ended> {
        while !rest.is_empty() {
            if self.mark.is_some() {
                self.pass_mark(rest);
                continue;
            }
            self.take_run(rest);
            let Some((byte, after)) = rest.split_first() else { break };
            *rest = after;
            self.size += 1;
            self.next_line += u64::from(*byte == b'\n');
            if let Some(ended) = self.step(*byte) {
                return Some(if self.is_too_long() { Ended::TooLong } else { ended });
            }
        }
        None
    }

    /// Ends the file; `None` if it ended with the last record.
    pub(super) fn finish(&mut self) -> Option<Ended> {
        if let Some(seen) = self.mark.take() {
            // A file that is the beginning of a mark.
            self.take_bytes(&MARK[..seen]);
        }
        if self.size == 0 {
            return None;
        }
        let ended = match self.state {
            State::Quoted | State::Escape => Ended::Unclosed,
            State::Skip => Ended::StrayQuote,
            State::ValueStart | State::Unquoted => self.end_unquoted(),
            State::Quote | State::QuoteReturn => self.end_quoted(),
        };
        Some(if self.is_too_long() { Ended::TooLong } else { ended })
    }

    /// Makes room for the next record.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
        self.state = State::ValueStart;
        self.line = self.next_line;
        self.size = 0;
    }

    /// Whether the record is an empty line.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.is_empty() && matches!(self.values.as_slice(), [value] if !value.is_quoted)
    }

    /// Whether the record is the line that ends PostgreSQL's text format.
    pub(super) fn is_end_line(&self) -> bool {
        self.format == Format::Tabs && self.bytes == b"\\." && self.values.len() == 1
    }

    fn is_too_long(&self) -> bool {
        self.size > LINE_BYTES_MAX
    }

    /// Passes over the mark at the beginning of the file that says it is UTF-8.
    fn pass_mark(&mut self, rest: &mut &[u8]) {
        let seen = self.mark.unwrap_or(MARK.len());
        match (rest.split_first(), MARK.get(seen)) {
            (Some((byte, after)), Some(expected)) if byte == expected => {
                *rest = after;
                self.mark = Some(seen + 1).filter(|seen| *seen < MARK.len());
            }
            _ => {
                self.mark = None;
                self.take_bytes(&MARK[..seen]);
            }
        }
    }

    /// Takes bytes that belong to an unquoted value.
    fn take_bytes(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.state = State::Unquoted;
            self.size += bytes.len();
            self.keep(bytes);
        }
    }

    /// Takes the bytes up to the next one that may change the state.
    fn take_run(&mut self, rest: &mut &[u8]) {
        let is_tabs = self.format == Format::Tabs;
        let length = match self.state {
            State::Unquoted if is_tabs => run(rest, |byte| matches!(byte, b'\t' | b'\n' | b'\\')),
            State::Unquoted => run(rest, |byte| matches!(byte, b',' | b'\n' | b'"')),
            State::Quoted => run(rest, |byte| matches!(byte, b'"' | b'\n')),
            State::Skip => run(rest, |byte| byte == b'\n'),
            State::ValueStart | State::Quote | State::QuoteReturn | State::Escape => 0,
        };
        let (taken, after) = rest.split_at(length);
        *rest = after;
        self.size = self.size.saturating_add(length);
        if self.state != State::Skip {
            self.keep(taken);
        }
    }

    /// Keeps bytes of a value, unless the record is too long already.
    fn keep(&mut self, bytes: &[u8]) {
        if self.is_too_long() {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn step(&mut self, byte: u8) -> Option<Ended> {
        match self.format {
            Format::Csv => self.step_csv(byte),
            Format::Tabs => self.step_tabs(byte),
        }
    }

    fn step_csv(&mut self, byte: u8) -> Option<Ended> {
        match (self.state, byte) {
            (State::ValueStart, b'"') => self.state = State::Quoted,
            (State::ValueStart | State::Unquoted, b',') => self.end_value(false),
            (State::ValueStart | State::Unquoted, b'\n') => return Some(self.end_unquoted()),
            (State::Quoted, b'"') => self.state = State::Quote,
            (State::Quote, b'"') => {
                self.keep(b"\"");
                self.state = State::Quoted;
            }
            (State::Quote, b',') => self.end_value(true),
            (State::Quote, b'\r') => self.state = State::QuoteReturn,
            (State::Quote | State::QuoteReturn, b'\n') => return Some(self.end_quoted()),
            (State::Skip, b'\n') => return Some(Ended::StrayQuote),
            (State::Unquoted, b'"') | (State::Quote | State::QuoteReturn | State::Skip, _) => self.state = State::Skip,
            (State::ValueStart, _) => {
                self.state = State::Unquoted;
                self.keep(&[byte]);
            }
            (State::Unquoted | State::Quoted | State::Escape, _) => self.keep(&[byte]),
        }
        None
    }

    fn step_tabs(&mut self, byte: u8) -> Option<Ended> {
        match (self.state, byte) {
            (State::Escape, _) => {
                self.state = State::Unquoted;
                self.keep(&[byte]);
            }
            (_, b'\t') => self.end_value(false),
            (_, b'\n') => return Some(self.end_unquoted()),
            (_, _) => {
                self.state = if byte == b'\\' { State::Escape } else { State::Unquoted };
                self.keep(&[byte]);
            }
        }
        None
    }

    fn end_value(&mut self, is_quoted: bool) {
        self.state = State::ValueStart;
        if !self.is_too_long() {
            self.values.push(Value { end: self.bytes.len(), is_quoted });
        }
    }

    /// Ends a record whose last value has no quotes; a carriage return before the line feed belongs to neither.
    fn end_unquoted(&mut self) -> Ended {
        let start = self.values.last().map_or(0, |value| value.end);
        if let Some((b'\r', before)) = self.bytes.get(start..).and_then(<[u8]>::split_last) {
            let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
            if self.format == Format::Csv || backslashes % 2 == 0 {
                self.bytes.pop();
            }
        }
        self.end_value(false);
        Ended::Whole
    }

    fn end_quoted(&mut self) -> Ended {
        self.end_value(true);
        Ended::Whole
    }
}

/// How many bytes come before the first that stops a run.
fn run(bytes: &[u8], is_stop: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| is_stop(*byte)).unwrap_or(bytes.len())
}
