//! Lower case, written into a buffer that the caller reuses.
//!
//! The result equals `str::to_lowercase`. Text that is in lower case already is neither copied nor allocated if it is
//! ASCII.

/// Returns the text in lower case; the result is the text itself or the buffer.
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
    fn lower_case_equals_that_of_the_standard_library() {
        let mut buffer = String::from("from before");
        for text in ["", "boat", "Boat", "BY-NC", "Ärger", "ärger", "ΝΑΥΣ", "ΣΑΣ", "İstanbul", "ẞ", "東京", "🙂A"]
        {
            assert_eq!(lower_case(text, &mut buffer), text.to_lowercase(), "{text}");
        }
    }
}
