//! Cleans the records of an NDJSON file and derives their documents on one thread, and prints how fast that was. For
//! `tests/load/clean.py`.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    hint::black_box,
    io::{self, Write},
    time::Instant,
};

use daybook_catalogue::{
    clean::Cleaner,
    definition::presets::Preset,
    derive::{Options, image_document},
    record::json_line,
};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("the path of a file is missing")?;
    let bytes = fs::read(path)?;
    let cleaner = Cleaner::of(&Preset::OpenverseImage.clean()?)?;
    let (mut counts, flags, mut records) = (cleaner.counts(), BTreeMap::new(), 0_u32);
    let began = Instant::now();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut fields = json_line::parse(line)?;
        cleaner.clean("", &mut fields, &mut counts);
        black_box(image_document(&fields, &flags, Options::default()));
        records += 1;
    }
    let rate = f64::from(records) / began.elapsed().as_secs_f64();
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
    Ok(writeln!(io::stdout(), "{}", json!({"records_per_second": rate, "counts": counts}))?)
}
