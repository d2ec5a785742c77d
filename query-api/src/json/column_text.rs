//! The text that a PostgreSQL column of type text holds of a JSON value, if a service hands the value to its Python
//! driver as it is: strings unchanged, numbers in digits without an exponent, lists as array texts.
//!
//! A list becomes an array if its items are of one type at every depth and its lists of one length; numbers of several
//! types become the widest one, and strings beside numbers or booleans are read as such. A list of nulls alone, at any
//! depth, is written without being checked.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::numeric;

/// The number that stands for NaN, which JSON does not have. It is too large for every type, so that only what knows it
/// reads it, and no client writes it so.
pub const NAN: &str = "1E+0000000999";
/// Most dimensions of an array.
const DIMENSIONS_MAX: usize = 6;
/// Powers of ten from which a Python float has an exponent, and so no `.0`.
const PLAIN_FLOAT_MAX: f64 = 1e16;

/// Why a column cannot hold a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unstorable {
    /// Half of a surrogate pair has no UTF-8.
    #[error("holds half of a surrogate pair")]
    Surrogate,
    /// An object is no scalar and no array.
    #[error("is or holds an object")]
    Object,
    /// The items of a list differ in type or length.
    #[error("is a list that is no array of one type")]
    Ragged,
    /// A value in a list of texts holds what PostgreSQL's JSON cannot.
    #[error("holds a NUL character, half of a surrogate pair, or a number that is too large")]
    Json,
}

/// The text of a JSON value; `None` for null.
pub(super) fn column_text(raw: &str) -> Result<Option<String>, Unstorable> {
    match raw.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') => string(raw).map(|text| Some(text.into_owned())).ok_or(Unstorable::Surrogate),
        Some(b't' | b'f') => Ok(Some(raw.to_owned())),
        Some(b'{') => Err(Unstorable::Object),
        Some(b'[') => list_text(raw).map(Some),
        _ => Ok(Some(number_text(raw))),
    }
}

/// The text of a JSON string; `None` if it is none, or holds half of a surrogate pair.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str::<String>(raw).ok().map(Cow::Owned) } else { Some(inner.into()) }
}

/// The digits of a number: integers as they are, others as the nearest double.
fn number_text(raw: &str) -> String {
    match raw {
        "-0" => "0".to_owned(),
        NAN => "NaN".to_owned(),
        _ if raw.contains(['.', 'e', 'E']) => double_text(raw.parse().unwrap_or(f64::NAN)),
        _ => raw.to_owned(),
    }
}

fn double_text(number: f64) -> String {
    let shortest = shortest(number);
    let text = numeric::read(&shortest).unwrap_or(shortest);
    match number {
        _ if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        0.0 => "0.0".to_owned(),
        _ if text.contains('.') || number.abs() >= PLAIN_FLOAT_MAX => text,
        _ => format!("{text}.0"),
    }
}

/// The fewest digits that read back as the number, with an exponent, as in `1.5e-7`. Of several such texts, the nearest
/// to the exact value, and of two that are equally near, the one with the even last digit.
fn shortest(number: f64) -> String {
    // This has the fewest digits, but of two that are equally near it takes the greater.
    let any = format!("{number:e}");
    let mantissa = any.split('e').next().unwrap_or(&any);
    let places = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    // This is the nearest, and the even one of two, but below a power of two it may read back as another number.
    let nearest = format!("{number:.places$e}");
    if nearest.parse::<f64>() == Ok(number) { nearest } else { any }
}

/// Types of items. Numbers are in the order of their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    /// Only nulls: fits every other type.
    Unknown,
    Text,
    Bool,
    Int,
    BigInt,
    Numeric,
    Double,
}

impl Type {
    /// The type of a number as the client wrote it; `text` is its column's text.
    fn of_number(raw: &str, text: &str) -> Self {
        match text {
            "NaN" | "Infinity" | "-Infinity" => Self::Double,
            _ if raw.contains(['.', 'e', 'E']) => Self::Numeric,
            _ if text.parse::<i32>().is_ok() => Self::Int,
            _ if text.parse::<i64>().is_ok() => Self::BigInt,
            _ => Self::Numeric,
        }
    }

    /// The type that both fit into, if there is one.
    fn common(self, other: Self) -> Option<Self> {
        let (least, greatest) = (self.min(other), self.max(other));
        (least == greatest || least == Self::Unknown || least >= Self::Int).then_some(greatest)
    }
}

/// An item that is no list.
#[derive(Debug, Clone)]
enum Item {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
}

/// A list whose items are of one type and whose lists are of one length.
struct Array {
    r#type: Type,
    /// Lengths, from the outermost list to the innermost.
    lengths: Vec<usize>,
    items: Vec<Item>,
}

fn list_text(raw: &str) -> Result<String, Unstorable> {
    let items = items_of(raw)?;
    if items.is_empty() {
        return Ok("{}".to_owned());
    }
    if let Some(text) = nulls_text(raw) {
        return Ok(text);
    }
    let array = array(&items, 1)?;
    let mut text = String::with_capacity(raw.len());
    write(&mut text, array.r#type, &array.lengths, &mut array.items.iter());
    Ok(text)
}

/// The text of a list that holds nulls alone, or lists of them; lengths and depths may differ, but none is empty.
fn nulls_text(raw: &str) -> Option<String> {
    let text: String = raw.split_ascii_whitespace().collect();
    let has_nulls_alone = text.replace("null", "").chars().all(|letter| matches!(letter, '[' | ']' | ','));
    let is_written = has_nulls_alone && !text.contains("[]");
    is_written.then(|| text.replace("null", "NULL").replace('[', "{").replace(']', "}"))
}

fn items_of(raw: &str) -> Result<Vec<&RawValue>, Unstorable> {
    serde_json::from_str(raw).map_err(|_| Unstorable::Ragged)
}

fn array(raws: &[&RawValue], depth: usize) -> Result<Array, Unstorable> {
    let is_list = |raw: &&&RawValue| raw.get().starts_with('[');
    let lists = raws.iter().filter(is_list).count();
    match lists {
        _ if depth > DIMENSIONS_MAX || raws.is_empty() => Err(Unstorable::Ragged),
        0 => flat(raws),
        _ if lists == raws.len() => nested(raws, depth),
        _ => Err(Unstorable::Ragged),
    }
}

fn nested(raws: &[&RawValue], depth: usize) -> Result<Array, Unstorable> {
    let mut whole: Option<Array> = None;
    for raw in raws {
        let part = array(&items_of(raw.get())?, depth + 1)?;
        whole = Some(match whole {
            None => part,
            Some(mut whole) => {
                whole.r#type = whole.r#type.common(part.r#type).ok_or(Unstorable::Ragged)?;
                if whole.lengths != part.lengths {
                    return Err(Unstorable::Ragged);
                }
                whole.items.extend(part.items);
                whole
            }
        });
    }
    let Array { r#type, mut lengths, items } = whole.ok_or(Unstorable::Ragged)?;
    lengths.insert(0, raws.len());
    Ok(Array { r#type, lengths, items })
}

fn flat(raws: &[&RawValue]) -> Result<Array, Unstorable> {
    let mut items = raws.iter().map(|raw| item(raw.get())).collect::<Result<Vec<_>, _>>()?;
    let mut r#type = Type::Unknown;
    for (raw, item) in raws.iter().zip(&items) {
        let of_item = match item {
            Item::Null | Item::Text(_) => continue,
            Item::Bool(_) => Type::Bool,
            Item::Number(text) => Type::of_number(raw.get(), text),
        };
        r#type = r#type.common(of_item).ok_or(Unstorable::Ragged)?;
    }
    let has_texts = items.iter().any(|item| matches!(item, Item::Text(_)));
    if has_texts && r#type == Type::Unknown {
        r#type = Type::Text;
    }
    if r#type > Type::Text {
        for item in &mut items {
            if let Item::Text(text) = item {
                *item = read_as(r#type, text).ok_or(Unstorable::Ragged)?;
            }
        }
    }
    Ok(Array { r#type, lengths: vec![raws.len()], items })
}

fn item(raw: &str) -> Result<Item, Unstorable> {
    let text = column_text(raw)?;
    Ok(match (raw.as_bytes().first(), text) {
        (_, None) => Item::Null,
        (Some(b't' | b'f'), _) => Item::Bool(raw == "true"),
        (Some(b'"'), Some(text)) => Item::Text(text),
        (_, Some(text)) => Item::Number(text),
    })
}

/// Whether PostgreSQL passes over a character before and after a number.
pub(super) fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// A string beside items of another type, read as one of them.
fn read_as(r#type: Type, text: &str) -> Option<Item> {
    let text = text.trim_matches(is_space);
    let number = match r#type {
        Type::Bool => return read_bool(&text.to_ascii_lowercase()).map(Item::Bool),
        Type::Int => text.parse::<i32>().ok()?.to_string(),
        Type::BigInt => text.parse::<i64>().ok()?.to_string(),
        Type::Double => read_double(text)?,
        _ => numeric::read(text)?,
    };
    Some(Item::Number(number))
}

/// A double. What is out of its range is none.
fn read_double(text: &str) -> Option<String> {
    if let Some(special) = numeric::special(text.strip_prefix(['+', '-']).unwrap_or(text)) {
        let is_negative = text.starts_with('-') && special != "NaN";
        return Some(if is_negative { format!("-{special}") } else { special.to_owned() });
    }
    let number = text.parse::<f64>().ok()?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let is_zero = !mantissa.contains(|letter| matches!(letter, '1'..='9'));
    (number.is_finite() && (number != 0.0 || is_zero)).then(|| text.to_owned())
}

fn read_bool(text: &str) -> Option<bool> {
    let begins = |words: [&str; 2]| !text.is_empty() && words.iter().any(|word| word.starts_with(text));
    match text {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if begins(["true", "yes"]) => Some(true),
        _ if begins(["false", "no"]) => Some(false),
        _ => None,
    }
}

fn write<'i>(out: &mut String, r#type: Type, lengths: &[usize], items: &mut impl Iterator<Item = &'i Item>) {
    let Some((length, inner)) = lengths.split_first() else { return };
    out.push('{');
    for index in 0..*length {
        if index > 0 {
            out.push(',');
        }
        if !inner.is_empty() {
            write(out, r#type, inner, items);
        } else if let Some(item) = items.next() {
            write_item(out, r#type, item);
        }
    }
    out.push('}');
}

fn write_item(out: &mut String, r#type: Type, item: &Item) {
    match item {
        Item::Null => out.push_str("NULL"),
        Item::Bool(value) => out.push(if *value { 't' } else { 'f' }),
        Item::Number(text) if r#type == Type::Double => out.push_str(&short_double(text)),
        Item::Number(text) => out.push_str(text),
        Item::Text(text) => write_text(out, text),
    }
}

/// Quotes a text where its bare form would be read as something else.
fn write_text(out: &mut String, text: &str) {
    let special = |letter: char| matches!(letter, '"' | '\\' | '{' | '}' | ',') || is_space(letter);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
}

/// A double as PostgreSQL prints it: the shortest digits, with an exponent from 1e15 and below 1e-4.
fn short_double(text: &str) -> String {
    let scientific = shortest(text.parse().unwrap_or(f64::NAN));
    match scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, 0)) => digits.to_owned(),
        Some((digits, exponent)) if !(-4..15).contains(&exponent) => {
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        Some(_) => numeric::read(&scientific).unwrap_or(scientific),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, &str)]) {
        for (raw, expected) in cases {
            assert_eq!(column_text(raw), Ok(Some((*expected).to_owned())), "{raw}");
        }
    }

    /// What the original stores, as it was seen there.
    #[test]
    fn numbers_keep_their_digits() {
        check(&[
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("1.50", "1.5"),
            ("1E5", "100000.0"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "10000000000000000"),
            ("1e20", "100000000000000000000"),
            ("1e-7", "0.0000001"),
            ("1e400", "Infinity"),
            ("-1e400", "-Infinity"),
            ("18446744073709551616", "18446744073709551616"),
            ("-12345678901234567890123", "-12345678901234567890123"),
            ("1234567890123456789.0", "1234567890123456800"),
            ("123456789.123456789", "123456789.12345679"),
            ("true", "true"),
        ]);
    }

    #[test]
    fn of_two_shortest_texts_the_nearest_counts_and_of_two_that_are_equally_near_the_even_one() {
        let least = format!("0.{}5", "0".repeat(323));
        check(&[
            ("1796055908594.0312", "1796055908594.0312"),
            ("-233891771783429.62", "-233891771783429.62"),
            ("100000000000000.62", "100000000000000.62"),
            ("[1e400,100000000000000.62,-0.0,1.5]", "{Infinity,100000000000000.62,0,1.5}"),
            ("5e-324", least.as_str()),
            ("9007199254740993.0", "9007199254740992.0"),
            ("9.5367431640625e-07", "0.00000095367431640625"),
        ]);
    }

    /// Multiples of 1/32 end after five places, so that their exact values are whole numbers of 1/100000.
    #[test]
    fn doubles_read_back_as_they_were_and_no_shortest_text_is_nearer() {
        let scaled = |text: &str| -> i128 {
            let (whole, fraction) = text.split_once('.').unwrap();
            format!("{whole}{fraction:0<5}").parse().unwrap()
        };
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state >> 11;
            let number = bits as f64 / 32.0;
            let (text, plain) = (double_text(number), format!("{number:?}"));
            assert_eq!(text.parse::<f64>(), Ok(number), "{text}");
            assert_eq!(text.len(), plain.len(), "{text} {plain}");
            let exact = i128::from(bits) * 3125;
            let (distance, of_plain) = ((scaled(&text) - exact).abs(), (scaled(&plain) - exact).abs());
            assert!(distance <= of_plain, "{text} {plain}");
            assert!(text == plain || distance < of_plain || text.ends_with(['0', '2', '4', '6', '8']), "{text}");
        }
        // Any doubles, also the least and the greatest.
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = f64::from_bits(state);
            if number.is_finite() {
                assert_eq!(double_text(number).parse::<f64>(), Ok(number));
                assert_eq!(short_double(&format!("{number:e}")).parse::<f64>(), Ok(number));
            }
        }
    }

    #[test]
    fn nan_is_a_number() {
        let check = |raw: &str, expected: Result<&str, Unstorable>| {
            let raw = raw.replace("NaN", NAN);
            assert_eq!(column_text(&raw), expected.map(|text| Some(text.to_owned())), "{raw}");
        };
        check("NaN", Ok("NaN"));
        check("[1,NaN]", Ok("{1,NaN}"));
        check("[[1],[NaN]]", Ok("{{1},{NaN}}"));
        check("[1e999,5]", Ok("{Infinity,5}"));
        check("[NaN,12345678901]", Ok("{NaN,12345678901}"));
        check(r#"["-inf",NaN]"#, Ok("{-Infinity,NaN}"));
        check(r#"[NaN,"a"]"#, Err(Unstorable::Ragged));
        check("[NaN,true]", Err(Unstorable::Ragged));
    }

    #[test]
    fn lists_are_array_texts() {
        check(&[
            ("[]", "{}"),
            (r#"["x=a b","y=1"]"#, r#"{"x=a b",y=1}"#),
            ("[true,false,null]", "{t,f,NULL}"),
            (r#"["a",null]"#, "{a,NULL}"),
            ("[null]", "{NULL}"),
            ("[null, [null]]", "{NULL,{NULL}}"),
            ("[[null],[null,[null]]]", "{{NULL},{NULL,{NULL}}}"),
            ("[[[[[[[null]]]]]]]", "{{{{{{{NULL}}}}}}}"),
            ("[[1,2],[3,4]]", "{{1,2},{3,4}}"),
            ("[[[1]],[[2]]]", "{{{1}},{{2}}}"),
            (r#"[["a b","c"],["d",null]]"#, r#"{{"a b",c},{d,NULL}}"#),
            (r#"["","NULL","nUll","nulls"]"#, r#"{"","NULL","nUll",nulls}"#),
            (r#"["a\"b","a\\b","a,b","{x}"," a","é","a'b"]"#, r#"{"a\"b","a\\b","a,b","{x}"," a",é,a'b}"#),
            (r#"["a\tb","a\nb","\u000b","\f","\u00a0"]"#, "{\"a\tb\",\"a\nb\",\"\u{b}\",\"\u{c}\",\u{a0}}"),
            ("[12345678901234567890123,-5]", "{12345678901234567890123,-5}"),
            ("[1,2.5,1e20,1e-7,-0.0]", "{1,2.5,100000000000000000000,0.0000001,0.0}"),
            ("[[1],[2.5]]", "{{1},{2.5}}"),
            ("[[1],[null]]", "{{1},{NULL}}"),
            ("[1,1e400]", "{1,Infinity}"),
            (
                "[0.1,1e400,123456789012345678901,1e15,1e14,-0.0,1e-5]",
                "{0.1,Infinity,1.2345678901234568e+20,1e+15,100000000000000,0,1e-05}",
            ),
        ]);
    }

    #[test]
    fn strings_beside_others_are_read_as_such() {
        check(&[
            (r#"["1",2]"#, "{1,2}"),
            (r#"[2.5,"1e3"]"#, "{2.5,1000}"),
            (r#"["yes",true,"0"," t\u000b"]"#, "{t,t,f,t}"),
            (r#"["1e3",1e16]"#, "{1000,10000000000000000}"),
            (r#"["-0.00",1.5," 1.50e-1\u000b"]"#, "{0.00,1.5,0.150}"),
            (r#"["nAn","-inf",1e2]"#, "{NaN,-Infinity,100.0}"),
            (r#"["+nan","-Infinity","-0","1.50",1e400]"#, "{NaN,-Infinity,-0,1.5,Infinity}"),
            (r#"[[1,2],["3",4]]"#, "{{1,2},{3,4}}"),
        ]);
    }

    #[test]
    fn what_is_no_array_of_one_type_is_refused() {
        for raw in [
            "[[1],[2,3]]",
            r#"[1,"a"]"#,
            r#"[1,""]"#,
            "[[]]",
            "[[],[]]",
            r#"["a",["b"]]"#,
            "[[1],2]",
            "[1,true]",
            r#"["a",true]"#,
            "[null,[1]]",
            "[null,[]]",
            "[[[null]],[]]",
            "[[[null],[null,null]],[[1],[2]]]",
            r#"["+nan",1.5]"#,
            r#"["1e-400",1e400]"#,
            r#"["1e309",1e400]"#,
            r#"[[1],["a"]]"#,
            "[[[[[[[1]]]]]]]",
            r#"[[2,3],["3","4"]]"#,
        ] {
            assert_eq!(column_text(raw), Err(Unstorable::Ragged), "{raw}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(column_text(&deep), Err(Unstorable::Ragged));
        for raw in ["{}", r#"[{"a":1}]"#] {
            assert_eq!(column_text(raw), Err(Unstorable::Object), "{raw}");
        }
        for raw in [r#""a\ud800""#, r#"["\udcff"]"#] {
            assert_eq!(column_text(raw), Err(Unstorable::Surrogate), "{raw}");
        }
        assert_eq!(column_text("null"), Ok(None));
    }
}
