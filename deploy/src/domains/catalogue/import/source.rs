//! A file that is imported: its bytes, decompressed if it begins as gzip or zstd does, and how much of it was read.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

/// How the files begin that are compressed.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// A file as it is read.
pub(super) struct Source {
    pub(super) bytes: Box<dyn BufRead>,
    /// Bytes of the file, as far as they are known.
    pub(super) size: u64,
    /// How many of them were read.
    pub(super) read: Arc<AtomicU64>,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        let (file, size): (Box<dyn Read>, u64) = match path {
            "-" => (Box::new(io::stdin()), 0),
            path => {
                let file = File::open(path)?;
                let size = file.metadata()?.len();
                (Box::new(file), size)
            }
        };
        let read = Arc::new(AtomicU64::new(0));
        let mut plain = BufReader::with_capacity(CHUNK, Counted { file, read: Arc::clone(&read) });
        let mut first = Vec::new();
        (&mut plain).take(ZSTD.len() as u64).read_to_end(&mut first)?;
        let (is_gzip, is_zstd) = (first.starts_with(GZIP), first.starts_with(ZSTD));
        let whole = Cursor::new(first).chain(plain);
        let bytes: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(CHUNK, MultiGzDecoder::new(whole)))
        } else if is_zstd {
            Box::new(BufReader::with_capacity(CHUNK, zstd::Decoder::with_buffer(whole)?))
        } else {
            Box::new(whole)
        };
        Ok(Self { bytes, size, read })
    }
}

/// Counts what is read.
struct Counted {
    file: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(bytes)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_file_is_read_plain_whether_it_is_compressed_or_not() {
        let (text, path) =
            ("one\ntwo\n".repeat(100_000), std::env::temp_dir().join(format!("source-{}", std::process::id())));
        let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap_or_else(|error| panic!("{error}"));
        // A file of gzip may be several, one after the other.
        let (first, second) = text.split_at(text.len() / 2);
        let parts = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
        for bytes in [text.clone().into_bytes(), parts, zstd] {
            fs::write(&path, &bytes).unwrap_or_else(|error| panic!("{error}"));
            let mut source = Source::open(&path.display().to_string()).unwrap_or_else(|error| panic!("{error}"));
            let mut read = String::new();
            source.bytes.read_to_string(&mut read).unwrap_or_else(|error| panic!("{error}"));
            assert!(read == text, "{} bytes were read", read.len());
            assert_eq!((source.size, source.read.load(Ordering::Relaxed)), (bytes.len() as u64, bytes.len() as u64));
        }
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{error}"));
    }
}
