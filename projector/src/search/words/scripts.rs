//! Scripts that are written without spaces between words.

/// Whether a letter is of such a script: Chinese and Japanese, and those of Thailand, Laos, Burma and Cambodia.
pub(super) const fn is_without_spaces(c: char) -> bool {
    match c as u32 {
        // Thai, Lao; Burmese; Khmer; Tai Le, New Tai Lue; Tai Tham; Burmese again; Tai Viet.
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x1950..=0x19df | 0x1a20..=0x1aaf => true,
        0xa9e0..=0xa9ff | 0xaa60..=0xaadf => true,
        // Ideographs, Hiragana, Katakana, Bopomofo; Yi; compatibility ideographs; Katakana of half width.
        0x2e80..=0x2fdf | 0x3005..=0x3007 | 0x3021..=0x312f | 0x31a0..=0x31bf | 0x31f0..=0x31ff => true,
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xa000..=0xa4cf | 0xf900..=0xfaff | 0xff66..=0xff9f => true,
        // Further ideographs and Kana.
        0x16fe0..=0x18dff | 0x1aff0..=0x1b16f | 0x20000..=0x3ffff => true,
        _ => false,
    }
}
