//! Decodes the bytes of a file: line ends and character encoding.

use super::format::{Encoding, decode_windows_1252};
use csv::{ByteRecord, StringRecord};
use std::io::{self, Read};

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
    pub(super) fn decode(&mut self, record: &mut ByteRecord, text: &mut StringRecord) -> Vec<usize> {
        let settled = self.given.or(self.detected);
        let ascii = record.as_slice().is_ascii();
        if ascii || settled != Some(Encoding::Windows1252) {
            match StringRecord::from_byte_record(std::mem::take(record)) {
                Ok(decoded) => {
                    if !ascii && settled.is_none() {
                        self.detected = Some(Encoding::Utf8);
                    }
                    // Reuses the memory of the old text for the next record.
                    *record = std::mem::replace(text, decoded).into_byte_record();
                    return Vec::new();
                }
                Err(error) => *record = error.into_byte_record(),
            }
        }
        if settled.is_none() {
            self.detected = Some(Encoding::Windows1252);
        }
        let is_windows = self.given.or(self.detected) == Some(Encoding::Windows1252);
        text.clear();
        let mut invalid = Vec::new();
        for (index, cell) in record.iter().enumerate() {
            if is_windows {
                text.push_field(&decode_windows_1252(cell));
            } else {
                let cell = String::from_utf8_lossy(cell);
                if matches!(cell, std::borrow::Cow::Owned(_)) {
                    invalid.push(index);
                }
                text.push_field(&cell);
            }
        }
        invalid
    }
}

/// Converts all line ends to line feeds and terminates the last line, so that line numbers can be counted.
pub(super) struct LineEnds<R> {
    inner: R,
    skip_line_feed: bool,
    has_ended: bool,
    last: u8,
}

impl<R> LineEnds<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, skip_line_feed: false, has_ended: false, last: b'\n' }
    }
}

impl<R: Read> Read for LineEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.has_ended && !buffer.is_empty() {
            let read = match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                self.has_ended = true;
                if self.last == b'\n' {
                    break;
                }
                buffer[0] = b'\n';
                return Ok(1);
            }
            let mut length = 0;
            if self.skip_line_feed || memchr::memchr(b'\r', &buffer[..read]).is_some() {
                for index in 0..read {
                    let byte = buffer[index];
                    let after_return = std::mem::replace(&mut self.skip_line_feed, byte == b'\r');
                    if !(after_return && byte == b'\n') {
                        buffer[length] = if byte == b'\r' { b'\n' } else { byte };
                        length += 1;
                    }
                }
            } else {
                length = read;
            }
            if length > 0 {
                self.last = buffer[length - 1];
                return Ok(length);
            }
        }
        Ok(0)
    }
}
