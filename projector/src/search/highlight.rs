//! Highlights: the places of a query's words in a document.
//!
//! Made from the document and the query alone, so that they are the same whatever engine found it.

use super::{
    document::{Document, cut},
    query::Expression,
    shape::{Field, FieldId, IndexShape},
    words::{Word, english::English, is_mark, words},
};

/// Fragments of one hit, at most.
const FRAGMENTS_MAX: usize = 5;
/// Bytes of a fragment, at most.
const FRAGMENT_BYTES_MAX: usize = 160;

/// A value with the query's words marked by `<em>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The field.
    pub field: FieldId,
    /// The value, or a part of it, escaped for HTML but for the marks.
    pub text: String,
}

/// Neighbouring terms of the query that are to be marked.
struct Mark<'a> {
    field: Field,
    terms: &'a [String],
    /// Whether there is one term, the beginning of a word.
    prefix: bool,
}

impl Mark<'_> {
    /// How many words from the first of `rest` on it marks.
    fn marks(&self, rest: &[Seen]) -> usize {
        let of_stems = matches!(self.field, Field::Stems(_));
        let (mut terms, mut marked) = (self.terms.iter(), 0);
        for (at, seen) in rest.iter().enumerate() {
            // A possessive ending is no word of its own.
            if of_stems && seen.stem.is_none() && at > 0 {
                continue;
            }
            let Some(term) = terms.next() else { return marked };
            let is_meant = match (self.prefix, of_stems) {
                (true, _) => seen.word.term.starts_with(term),
                (false, true) => seen.stem.as_ref() == Some(term),
                (false, false) => seen.word.term == *term,
            };
            if !is_meant {
                return 0;
            }
            marked = at + 1;
        }
        if terms.len() == 0 { marked } else { 0 }
    }
}

/// A word of a text, with its stem where words have stems.
struct Seen {
    word: Word,
    stem: Option<String>,
}

impl Seen {
    fn all(stemming: Option<&English>, text: &str) -> Vec<Self> {
        let stem = |word: &Word| stemming.and_then(|english| english.stem(text, word));
        words(text).map(|word| Self { stem: stem(&word), word }).collect()
    }
}

/// The values of a document that hold words of the query.
pub fn highlights(shape: &IndexShape, document: &Document, query: &Expression) -> Vec<Fragment> {
    let mut marks = Vec::new();
    collect(query, &mut marks);
    let mut fragments = Vec::new();
    for (id, field) in shape.all() {
        let Some(words) = field.words else { continue };
        let is_meant = |mark: &&Mark<'_>| match mark.field {
            Field::Text => words.everywhere,
            Field::Stems(None) => words.everywhere && words.stems,
            Field::Stems(Some(stemmed)) => stemmed == id,
            field => field == Field::Named(id),
        };
        let of_field: Vec<&Mark<'_>> = marks.iter().filter(is_meant).collect();
        if of_field.is_empty() {
            continue;
        }
        for text in shape.values(document, Field::Named(id)) {
            if fragments.len() == FRAGMENTS_MAX {
                return fragments;
            }
            fragments.extend(fragment(shape, &text, &of_field).map(|text| Fragment { field: id, text }));
        }
    }
    fragments
}

fn collect<'a>(expression: &'a Expression, marks: &mut Vec<Mark<'a>>) {
    match expression {
        Expression::Words { field, terms, prefix } => {
            // What is before a prefix may stand apart from it.
            let (before, beginning) = terms.split_at(if *prefix { terms.len() - 1 } else { terms.len() });
            for (terms, prefix) in [(before, false), (beginning, true)] {
                if !terms.is_empty() {
                    marks.push(Mark { field: *field, terms, prefix });
                }
            }
        }
        Expression::All(parts) | Expression::Any(parts) => parts.iter().for_each(|part| collect(part, marks)),
        Expression::Value { .. } | Expression::Time { .. } | Expression::Not(_) | Expression::Nothing => {}
    }
}

/// The places of what is marked in a text, in order; those without anything between them are one.
fn places(shape: &IndexShape, text: &str, marks: &[&Mark<'_>]) -> Vec<(usize, usize)> {
    let has_stems = marks.iter().any(|mark| matches!(mark.field, Field::Stems(_)));
    let words = Seen::all(shape.stemming.as_ref().filter(|_| has_stems), text);
    let (mut places, mut marked): (Vec<(usize, usize)>, usize) = (Vec::new(), 0);
    for (at, Seen { word, .. }) in words.iter().enumerate() {
        let longest = marks.iter().map(|mark| mark.marks(&words[at..])).max().unwrap_or(0);
        marked = marked.max(at + longest);
        match places.last_mut() {
            _ if at >= marked => {}
            Some((_, to)) if *to == word.from => *to = word.to,
            _ => places.push((word.from, word.to)),
        }
    }
    places
}

fn fragment(shape: &IndexShape, text: &str, marks: &[&Mark<'_>]) -> Option<String> {
    let places = places(shape, text, marks);
    let first = places.first()?.0;
    let begin = if text.len() <= FRAGMENT_BYTES_MAX { 0 } else { before_marks(text, first.saturating_sub(40)) };
    let shown = cut(&text[begin..], FRAGMENT_BYTES_MAX);
    let end = before_marks(text, begin + shown.len());
    let (mut out, mut at) = (String::new(), begin);
    for (from, to) in places.into_iter().take_while(|(from, _)| *from < end) {
        escape(&text[at..from], &mut out);
        out.push_str("<em>");
        at = to.min(end);
        escape(&text[from..at], &mut out);
        out.push_str("</em>");
    }
    escape(&text[at..end], &mut out);
    Some(out)
}

/// The nearest place at or before another that does not part a character from its marks.
fn before_marks(text: &str, at: usize) -> usize {
    let mut place = text.floor_char_boundary(at);
    while place > 0 && text[place..].chars().next().is_some_and(is_mark) {
        place = text.floor_char_boundary(place - 1);
    }
    place
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            query::parse,
            shape::{FieldShape, example::library},
        },
        *,
    };

    fn shown(tags: &[&str], query: &str) -> Vec<String> {
        let shape = library();
        let mut document = Document::new("book/1".to_owned(), 1);
        document.set("kind", "book");
        document.set("title", "Train");
        document.set("tags", serde_json::json!(tags));
        let query = parse(&shape, query).ok().flatten().unwrap_or(Expression::Nothing);
        let found = highlights(&shape, &document, &query);
        found.into_iter().map(|it| format!("{}: {}", shape.field(it.field).name, it.text)).collect()
    }

    #[test]
    fn words_of_the_query_are_marked_where_they_stand() {
        assert_eq!(shown(&["team:ML"], "ml"), ["tag: team:<em>ML</em>"]);
        assert_eq!(shown(&["trained"], "title:tr*"), ["title: <em>Train</em>"]);
        assert_eq!(shown(&["a<b"], "b -train"), ["tag: a&lt;<em>b</em>"]);
        assert!(shown(&["a"], "z").is_empty());
        // Of a phrase, only where its words stand together.
        assert_eq!(shown(&["ml-ops of ops", "ml"], "ml-ops"), ["tag: <em>ml</em>-<em>ops</em> of ops"]);
        assert_eq!(shown(&["ml of opus"], "ml-op*"), ["tag: <em>ml</em> of <em>opus</em>"]);
        assert_eq!(shown(&["a b c"], "\"a b\" \"b c\""), ["tag: <em>a</em> <em>b</em> <em>c</em>"]);
    }

    #[test]
    fn words_of_the_same_stem_are_marked() {
        let mut shape = library();
        shape.stemming = Some(English { overrides: Vec::new(), overrides_see_case: false });
        shape.fields[1] = FieldShape::text("title").words().stems();
        let mut document = Document::new("book/1".to_owned(), 1);
        document.set("title", "The boat's harbours");
        document.set("author", "Boat");
        for (query, found) in [
            ("boats harbour", vec!["The <em>boat</em>'s <em>harbours</em>"]),
            ("title:harbour", vec!["The boat's <em>harbours</em>"]),
            ("boats-harbour", vec!["The <em>boat</em>'<em>s</em> <em>harbours</em>"]),
            ("\"harbour\"", vec![]),
        ] {
            let query = parse(&shape, query).ok().flatten().unwrap_or(Expression::Nothing);
            let texts: Vec<_> = highlights(&shape, &document, &query).into_iter().map(|it| it.text).collect();
            assert_eq!(texts, found, "{query:?}");
        }
    }

    #[test]
    fn marks_are_shown_as_the_text_has_them() {
        let (nfc, nfd) = ("un café là", "un cafe\u{301} la\u{300}");
        for query in ["café", "cafe\u{301}", "caf*", "tag:Cafe\u{301}*"] {
            assert_eq!(
                shown(&[nfc, nfd], query),
                ["tag: un <em>café</em> là", "tag: un <em>cafe\u{301}</em> la\u{300}"]
            );
        }
        assert_eq!(shown(&["東京都と京都"], "東京"), ["tag: <em>東京</em>都と京都"]);
        // A fragment neither begins nor ends within a character.
        let long = format!("{} needle {}", "e\u{301}".repeat(100), "a\u{301}".repeat(100));
        let found = shown(&[&long], "needle");
        assert!(found[0].starts_with("tag: e\u{301}") && found[0].ends_with("a\u{301}"), "{found:?}");
    }

    #[test]
    fn a_long_value_is_cut_around_its_first_word() {
        let long = format!("{} needle {}", "é ".repeat(500), "x ".repeat(500));
        let found = shown(&[&long], "needle");
        assert!(found[0].contains("<em>needle</em>") && found[0].len() < 220, "{found:?}");
    }
}
