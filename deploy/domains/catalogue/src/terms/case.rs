//! Texts without regard to case, written into a buffer that the caller reuses. Text that is in lower case already is
//! neither copied nor allocated if it is ASCII.

use daybook_projector::search::words;

/// Returns the text in canonical composition, without the difference of case and without characters that are not seen,
/// as searches compare words; the result is the text itself or the buffer.
pub(crate) fn folded<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    if text.is_ascii() {
        return lower_case(text, buffer);
    }
    *buffer = words::folded(text);
    buffer
}

/// Returns the same as `str::to_lowercase`; the result is the text itself or the buffer.
pub(crate) fn lower_case<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    if text.is_ascii() {
        if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return text;
        }
        buffer.clear();
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else if text.contains('Σ') {
        // Its lower case depends on where it stands in a word.
        *buffer = text.to_lowercase();
    } else {
        buffer.clear();
        buffer.extend(text.chars().flat_map(char::to_lowercase));
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_text_has_no_case_and_one_form() {
        let mut buffer = String::from("from before");
        for (text, expected) in [
            ("boat", "boat"),
            ("BY-NC 2.0", "by-nc 2.0"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("İSTANBUL", "istanbul"),
            ("Cafe\u{301} Noe\u{308}l", "café noël"),
            ("ca\u{ad}fé", "café"),
            ("東京", "東京"),
        ] {
            assert_eq!(folded(text, &mut buffer), expected);
        }
    }

    #[test]
    fn lower_case_equals_that_of_the_standard_library() {
        let mut buffer = String::from("from before");
        for text in ["", "boat", "Boat", "BY-NC", "Ärger", "ärger", "ΝΑΥΣ", "ΣΑΣ", "İstanbul", "ẞ", "東京", "🙂A"]
        {
            assert_eq!(lower_case(text, &mut buffer), text.to_lowercase(), "{text}");
        }
    }
}
