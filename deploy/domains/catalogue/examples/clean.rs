//! Cleans the records of an NDJSON file and derives their documents on one thread, and prints how fast that was. For
//! `tests/load/clean.py`.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};

use daybook_catalogue::{
    clean::Cleaner,
    definition::presets::Preset,
    derive::{Options, image_document},
    record::json_line,
};
use serde_json::json;

/// Records that are decoded before they are cleaned.
const BATCH: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("the path of a file is missing")?;
    let bytes = fs::read(path)?;
    let cleaner = Cleaner::of(&Preset::OpenverseImage.clean()?)?;
    let (mut counts, flags, mut records) = (cleaner.counts(), BTreeMap::new(), 0_u32);
    let (mut decoding, mut cleaning) = (Duration::ZERO, Duration::ZERO);
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    for lines in lines.chunks(BATCH) {
        let began = Instant::now();
        let decoded = lines.iter().map(|line| json_line::parse(line)).collect::<Result<Vec<_>, _>>()?;
        decoding += began.elapsed();
        let began = Instant::now();
        let mut documents = Vec::with_capacity(decoded.len());
        for mut fields in decoded {
            cleaner.clean("", &mut fields, &mut counts);
            documents.push(image_document(fields, &flags, Options::default()));
            records += 1;
        }
        cleaning += began.elapsed();
        black_box(documents);
    }
    let rate = |time: Duration| f64::from(records) / time.as_secs_f64();
    let of_rule = |id: &str| counts.get(id).ok_or("a rule of the preset is missing");
    let urls: u64 = of_rule("url")?.fields.values().sum();
    let dropped = of_rule("tags")?.dropped.unwrap_or_default();
    let counts = json!({
        "urls": urls,
        "malformed": dropped.malformed,
        "accuracy": dropped.accuracy,
        "provider": dropped.provider,
        "deny_exact": dropped.deny_exact,
        "deny_part": dropped.deny_part,
    });
    let result = json!({
        "with_decoding": rate(decoding + cleaning),
        "cleaning": rate(cleaning),
        "counts": counts,
    });
    Ok(writeln!(io::stdout(), "{result}")?)
}
