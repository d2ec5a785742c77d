//! The rows of a file, of which a part is parsed at a time.

use std::io::{self, Read as _};

use super::{Format, HeaderFault, Read, Reader};

/// Bytes that are read at a time.
const PART: u64 = 64 * 1024;

/// Why no more rows can be read.
#[derive(Debug, thiserror::Error)]
pub enum RowsFault {
    /// The file failed.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// The header.
    #[error(transparent)]
    Header(#[from] HeaderFault),
}

/// The rows of a file that begins with a header.
pub struct Rows<R> {
    bytes: R,
    /// None after the end of the file.
    reader: Option<Reader>,
    columns: Vec<String>,
    waiting: std::vec::IntoIter<Read>,
}

impl<R: io::Read> Rows<R> {
    /// Reads the header.
    pub fn new(bytes: R, format: Format) -> Result<Self, RowsFault> {
        let reader = Some(Reader::with_header(format));
        let mut rows = Self { bytes, reader, columns: Vec::new(), waiting: Vec::new().into_iter() };
        while rows.columns.is_empty() && rows.reader.is_some() {
            rows.read_on()?;
        }
        Ok(rows)
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next row; `None` after the last one.
    pub fn next_row(&mut self) -> Result<Option<Read>, RowsFault> {
        loop {
            if let Some(row) = self.waiting.next() {
                return Ok(Some(row));
            }
            if self.reader.is_none() {
                return Ok(None);
            }
            self.read_on()?;
        }
    }

    /// Parses the next part.
    fn read_on(&mut self) -> Result<(), RowsFault> {
        let (mut rows, mut part): (Vec<Read>, _) = (self.waiting.by_ref().collect(), Vec::new());
        (&mut self.bytes).take(PART).read_to_end(&mut part)?;
        if let Some(reader) = self.reader.as_mut().filter(|_| !part.is_empty()) {
            reader.push(&part, &mut rows)?;
            if self.columns.is_empty() {
                self.columns = reader.columns().map(<[String]>::to_vec).unwrap_or_default();
            }
        } else if let Some(reader) = self.reader.take() {
            reader.finish(&mut rows)?;
        }
        self.waiting = rows.into_iter();
        Ok(())
    }
}
