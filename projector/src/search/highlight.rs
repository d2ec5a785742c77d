//! Highlights: the places of a query's words in a document.
//!
//! Made from the document and the query alone, so that they are the same whatever engine found it.

use super::{
    document::{Document, cut},
    query::Expression,
    shape::{Field, FieldId, IndexShape},
    words::words,
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

/// A term of the query that is to be marked.
struct Mark<'a> {
    field: Field,
    term: &'a str,
    prefix: bool,
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
            fragments.extend(fragment(&text, &of_field).map(|text| Fragment { field: id, text }));
        }
    }
    fragments
}

fn collect<'a>(expression: &'a Expression, marks: &mut Vec<Mark<'a>>) {
    match expression {
        Expression::Words { field, terms, prefix } => {
            let last = terms.len() - 1;
            let mark = |(index, term)| Mark { field: *field, term, prefix: *prefix && index == last };
            marks.extend(terms.iter().map(String::as_str).enumerate().map(mark));
        }
        Expression::All(parts) | Expression::Any(parts) => parts.iter().for_each(|part| collect(part, marks)),
        Expression::Value { .. } | Expression::Time { .. } | Expression::Not(_) | Expression::Nothing => {}
    }
}

fn fragment(text: &str, marks: &[&Mark<'_>]) -> Option<String> {
    let hit = |term: &str| marks.iter().any(|it| if it.prefix { term.starts_with(it.term) } else { term == it.term });
    let mut marked = words(text).filter(|word| hit(&word.term)).peekable();
    let first = marked.peek()?.from;
    let begin = text.floor_char_boundary(if text.len() <= FRAGMENT_BYTES_MAX { 0 } else { first.saturating_sub(40) });
    let shown = cut(&text[begin..], FRAGMENT_BYTES_MAX);
    let (mut out, mut at) = (String::new(), begin);
    for word in marked.take_while(|word| word.to <= begin + shown.len()) {
        escape(&text[at..word.from], &mut out);
        out.push_str("<em>");
        escape(&text[word.from..word.to], &mut out);
        out.push_str("</em>");
        at = word.to;
    }
    escape(&text[at..begin + shown.len()], &mut out);
    Some(out)
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
        super::{query::parse, shape::example::library},
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
    }

    #[test]
    fn a_long_value_is_cut_around_its_first_word() {
        let long = format!("{} needle {}", "é ".repeat(500), "x ".repeat(500));
        let found = shown(&[&long], "needle");
        assert!(found[0].contains("<em>needle</em>") && found[0].len() < 220, "{found:?}");
    }
}
