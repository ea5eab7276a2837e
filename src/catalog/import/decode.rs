//! Decodes the bytes of a file: line ends and character encoding.

use super::format::{Encoding, decode_windows_1252};
use csv::{ByteRecord, StringRecord};
use std::io::{self, Chain, Read};

/// Decodes records. Without a given encoding, the first record that is not ASCII settles it.
#[derive(Debug)]
pub(super) struct Decoder {
    given: Option<Encoding>,
    /// The encoding that the content settled.
    pub detected: Option<Encoding>,
}

impl Decoder {
    pub(super) fn new(given: Option<Encoding>) -> Self {
        Self { given, detected: None }
    }

    /// Decodes a record into `text`. Returns the indices of cells with invalid bytes, which are replaced.
    pub(super) fn decode(&mut self, record: &ByteRecord, text: &mut StringRecord) -> Vec<usize> {
        if self.given.or(self.detected).is_none() && !record.as_slice().is_ascii() {
            let is_utf8 = record.iter().all(|cell| std::str::from_utf8(cell).is_ok());
            self.detected = Some(if is_utf8 { Encoding::Utf8 } else { Encoding::Windows1252 });
        }
        let is_windows = self.given.or(self.detected) == Some(Encoding::Windows1252);
        let mut invalid = Vec::new();
        text.clear();
        for (index, cell) in record.iter().enumerate() {
            match std::str::from_utf8(cell) {
                Ok(cell) if !is_windows || cell.is_ascii() => text.push_field(cell),
                _ if is_windows => text.push_field(&decode_windows_1252(cell)),
                _ => {
                    invalid.push(index);
                    text.push_field(&String::from_utf8_lossy(cell));
                }
            }
        }
        invalid
    }
}

/// Converts all line ends to line feeds and terminates the last line, so that line numbers can be counted.
pub(super) struct LineEnds<R> {
    inner: Chain<R, &'static [u8]>,
    is_after_return: bool,
}

impl<R: Read> LineEnds<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner: inner.chain(&b"\n"[..]), is_after_return: false }
    }
}

impl<R: Read> Read for LineEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut length = 0;
        for index in 0..read {
            let byte = buffer[index];
            let is_second_half = std::mem::replace(&mut self.is_after_return, byte == b'\r') && byte == b'\n';
            if !is_second_half {
                buffer[length] = if byte == b'\r' { b'\n' } else { byte };
                length += 1;
            }
        }
        // A lone second half of a line end is not the end of the file.
        if length == 0 && read > 0 { self.read(buffer) } else { Ok(length) }
    }
}
