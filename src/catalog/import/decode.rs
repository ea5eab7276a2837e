//! From the bytes of a file to text: line ends and letters.

use super::format::{Encoding, decode_windows_1252};
use csv::{ByteRecord, StringRecord};
use std::io::{self, Read};

/// Turns bytes into text. Where nothing says the encoding, the first record that is not plain ASCII settles it.
#[derive(Debug)]
pub(super) struct Decoder {
    given: Option<Encoding>,
    pub found: Option<Encoding>,
}

impl Decoder {
    pub(super) fn new(given: Option<Encoding>) -> Self {
        Self { given, found: None }
    }

    /// Moves the record over; returns the cells that are not what the encoding wants, read as well as can be.
    pub(super) fn decode(&mut self, record: &mut ByteRecord, text: &mut StringRecord) -> Vec<usize> {
        let settled = self.given.or(self.found);
        let ascii = record.as_slice().is_ascii();
        if ascii || settled != Some(Encoding::Windows1252) {
            match StringRecord::from_byte_record(std::mem::take(record)) {
                Ok(decoded) => {
                    if !ascii && settled.is_none() {
                        self.found = Some(Encoding::Utf8);
                    }
                    // The old text's memory serves the next record.
                    *record = std::mem::replace(text, decoded).into_byte_record();
                    return Vec::new();
                }
                Err(error) => *record = error.into_byte_record(),
            }
        }
        if settled.is_none() {
            self.found = Some(Encoding::Windows1252);
        }
        let windows = self.given.or(self.found) == Some(Encoding::Windows1252);
        text.clear();
        let mut bad = Vec::new();
        for (index, cell) in record.iter().enumerate() {
            if windows {
                text.push_field(&decode_windows_1252(cell));
            } else {
                let cell = String::from_utf8_lossy(cell);
                if matches!(cell, std::borrow::Cow::Owned(_)) {
                    bad.push(index);
                }
                text.push_field(&cell);
            }
        }
        bad
    }
}

/// Makes every line end a line feed and ends the last line with one, so that line numbers can be told.
pub(super) struct LineEnds<R> {
    inner: R,
    skip_line_feed: bool,
    ended: bool,
    last: u8,
}

impl<R> LineEnds<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, skip_line_feed: false, ended: false, last: b'\n' }
    }
}

impl<R: Read> Read for LineEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let read = match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                self.ended = true;
                if self.last == b'\n' {
                    break;
                }
                buffer[0] = b'\n';
                return Ok(1);
            }
            let mut kept = 0;
            if self.skip_line_feed || memchr::memchr(b'\r', &buffer[..read]).is_some() {
                for index in 0..read {
                    let byte = buffer[index];
                    let after_return = std::mem::replace(&mut self.skip_line_feed, byte == b'\r');
                    if !(after_return && byte == b'\n') {
                        buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                        kept += 1;
                    }
                }
            } else {
                kept = read;
            }
            if kept > 0 {
                self.last = buffer[kept - 1];
                return Ok(kept);
            }
        }
        Ok(0)
    }
}
