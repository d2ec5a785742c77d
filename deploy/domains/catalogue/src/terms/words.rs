//! Words of a text: the segments between the word boundaries of Unicode (UAX #29) that hold a letter, a digit or an
//! emoji, as the standard tokenizer of search engines cuts them.

use unicode_segmentation::UnicodeSegmentation;

/// Returns the words of a text, each with the byte where it begins.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let ascii = text.is_ascii().then(|| text.unicode_word_indices());
    let other = ascii.is_none().then(|| text.split_word_bound_indices().filter(|(_, segment)| is_word(segment)));
    ascii.into_iter().flatten().chain(other.into_iter().flatten())
}

fn is_word(segment: &str) -> bool {
    segment.chars().any(|c| c.is_alphanumeric() || is_emoji(c))
}

/// Whether a character is a pictograph of the emoji blocks. Signs of older blocks, such as ©, are none.
const fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_the_boundaries_of_unicode() {
        for (text, expected) in [
            ("", vec![]),
            (" - !?© ", vec![]),
            ("Grand Union Canal", vec!["Grand", "Union", "Canal"]),
            ("by-nc, 12.5 km", vec!["by", "nc", "12.5", "km"]),
            ("dog's dog’s", vec!["dog's", "dog’s"]),
            ("'quoted'", vec!["quoted"]),
            ("IMG_4606.jpg", vec!["IMG_4606", "jpg"]),
            ("tide.example", vec!["tide.example"]),
            ("uploaded:by", vec!["uploaded:by"]),
            ("São José", vec!["São", "José"]),
            ("東京", vec!["東", "京"]),
            ("a ❤️ b🙂🙂", vec!["a", "❤️", "b", "🙂", "🙂"]),
        ] {
            let found: Vec<&str> = words(text).map(|(_, word)| word).collect();
            assert_eq!(found, expected, "{text}");
            assert!(words(text).all(|(from, word)| text[from..].starts_with(word)), "{text}");
        }
    }

    #[test]
    fn text_of_ascii_has_the_same_words_beside_other_text() {
        let mut state: u64 = 7;
        for _ in 0..2_000 {
            let text: String = (0..24)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    char::from(b"aB9_.,:;' -/"[(state >> 33) as usize % 12])
                })
                .collect();
            let alone: Vec<&str> = words(&text).map(|(_, word)| word).collect();
            let beside = format!("{text} –");
            let beside: Vec<&str> = words(&beside).map(|(_, word)| word).collect();
            assert_eq!(alone, beside, "{text}");
        }
    }
}
