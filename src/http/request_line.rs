//! Percent-encodes raw UTF-8, quotes and angle brackets in request lines (SPSI.md 4.5). Some clients send them raw, and the
//! HTTP parser behind this stream refuses them.
//!
//! Only request lines change. The scanner reads `Content-Length` to find the next request line on a connection. After any
//! other framing of a body, and after a request that the parser will refuse, all further bytes pass unchanged.

use memchr::memchr;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a line that are kept. A `Content-Length` header is shorter.
const MAX_LINE: usize = 1024;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The part of a request that the next byte belongs to.
#[derive(Debug, PartialEq)]
enum Part {
    RequestLine,
    Headers,
    /// A body, with the number of bytes still to come.
    Body(u64),
    /// The end of the request is unknown: the bytes pass unchanged.
    Unknown,
}

/// Scans the bytes of one connection for request lines.
#[derive(Debug)]
struct Scanner {
    part: Part,
    /// The beginning of a line whose end has not arrived, cut at [`MAX_LINE`].
    line: Vec<u8>,
    content_length: Option<u64>,
    /// The headers do not say how long the body is, or contradict each other.
    has_unknown_length: bool,
}

impl Scanner {
    fn new() -> Self {
        Self { part: Part::RequestLine, line: Vec::new(), content_length: None, has_unknown_length: false }
    }

    /// Scans the next bytes. Returns their replacement if a request line among them needs escapes.
    fn scan(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut offset = 0;
        while offset < bytes.len() {
            let rest = &bytes[offset..];
            let is_request_line = self.part == Part::RequestLine;
            let is_head = is_request_line || self.part == Part::Headers;
            let (chunk, is_complete) = match self.part {
                Part::Unknown => (rest, false),
                Part::Body(left) => {
                    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - taken as u64;
                    self.part = if left == 0 { Part::RequestLine } else { Part::Body(left) };
                    (&rest[..taken], false)
                }
                Part::RequestLine | Part::Headers => match memchr(b'\n', rest) {
                    Some(end) => (&rest[..=end], true),
                    None => (rest, false),
                },
            };
            if is_request_line && needs_escape(chunk) {
                escape(chunk, changed.get_or_insert_with(|| bytes[..offset].to_vec()));
            } else if let Some(changed) = &mut changed {
                changed.extend_from_slice(chunk);
            }
            offset += chunk.len();
            if is_complete && self.line.is_empty() {
                self.end_line(&chunk[..chunk.len() - 1]);
            } else if is_head {
                self.append_to_line(chunk);
            }
        }
        changed
    }

    /// Appends a chunk of a line that arrives in several reads.
    fn append_to_line(&mut self, chunk: &[u8]) {
        let (chunk, is_complete) = chunk.strip_suffix(b"\n").map_or((chunk, false), |chunk| (chunk, true));
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if is_complete {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line);
        }
    }

    /// Takes a complete line of a head, without its line feed.
    fn end_line(&mut self, line: &[u8]) {
        let is_empty = line.is_empty() || line == b"\r";
        match self.part {
            // Parsers skip empty lines before a request too.
            Part::RequestLine if is_empty => {}
            Part::RequestLine => {
                (self.part, self.content_length, self.has_unknown_length) = (Part::Headers, None, false);
            }
            Part::Headers if !is_empty => self.read_header(line),
            _ if self.has_unknown_length => self.part = Part::Unknown,
            _ => self.part = self.content_length.filter(|length| *length > 0).map_or(Part::RequestLine, Part::Body),
        }
    }

    fn read_header(&mut self, line: &[u8]) {
        if !line.first().is_some_and(|first| b"cCtTuU \t".contains(first)) {
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(value).ok().filter(|_| digits).and_then(|value| value.parse().ok());
            self.has_unknown_length |= length.is_none() || self.content_length.is_some();
            self.content_length = length;
        } else if [&b"transfer-encoding"[..], b"upgrade"]
            .iter()
            .any(|known| name.trim_ascii().eq_ignore_ascii_case(known))
        {
            self.has_unknown_length = true;
        }
    }
}

/// Returns true if the parser would refuse a byte of this request line. Has no early exit, so that the compiler can check
/// many bytes with one instruction.
fn needs_escape(line: &[u8]) -> bool {
    line.iter().fold(false, |found, byte| found | must_escape(*byte))
}

fn must_escape(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'"' | b'<' | b'>')
}

fn escape(line: &[u8], out: &mut Vec<u8>) {
    for byte in line {
        if must_escape(*byte) {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(*byte);
        }
    }
}

/// A connection whose request lines are percent-encoded while they are read.
#[derive(Debug)]
pub struct EscapingStream<T> {
    pub(super) stream: T,
    scanner: Scanner,
    /// Changed bytes that the reader has not taken completely.
    changed: Vec<u8>,
    /// How many bytes of `changed` the reader has taken.
    taken: usize,
}

impl<T> EscapingStream<T> {
    pub fn new(stream: T) -> Self {
        Self { stream, scanner: Scanner::new(), changed: Vec::new(), taken: 0 }
    }

    fn copy_changed(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.changed[self.taken..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.changed.len() {
            (self.changed, self.taken) = (Vec::new(), 0);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for EscapingStream<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.changed.is_empty() {
            let mut space = [MaybeUninit::<u8>::uninit(); 16 * 1024];
            let limit = space.len().min(buffer.remaining());
            let mut arrived = ReadBuf::uninit(&mut space[..limit]);
            match Pin::new(&mut this.stream).poll_read(context, &mut arrived) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            match this.scanner.scan(arrived.filled()) {
                None => {
                    buffer.put_slice(arrived.filled());
                    return Poll::Ready(Ok(()));
                }
                Some(changed) => this.changed = changed,
            }
        }
        this.copy_changed(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for EscapingStream<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    fn scanned(bytes: &[u8], step: usize) -> String {
        let mut scanner = Scanner::new();
        let chunks = bytes.chunks(step).map(|chunk| scanner.scan(chunk).unwrap_or_else(|| chunk.to_vec()));
        String::from_utf8(chunks.collect::<Vec<_>>().concat()).expect("UTF-8")
    }

    #[test]
    fn every_request_line_is_escaped_and_nothing_else() {
        let sent = "POST /accesstoken HTTP/1.1\r\nContent-Length: 6\r\nx-é: \"ü\"\r\n\r\n{\"é\n}\
                    GET /products?name=[\"é\",\"<>\"] HTTP/1.1\r\nhost: ü\r\n\r\n\r\n\
                    GET /é HTTP/1.1\ncontent-length: 0\n\nGET /ü HTTP/1.1\r\n\r\n";
        let expected = "POST /accesstoken HTTP/1.1\r\nContent-Length: 6\r\nx-é: \"ü\"\r\n\r\n{\"é\n}\
                        GET /products?name=[%22%C3%A9%22,%22%3C%3E%22] HTTP/1.1\r\nhost: ü\r\n\r\n\r\n\
                        GET /%C3%A9 HTTP/1.1\ncontent-length: 0\n\nGET /%C3%BC HTTP/1.1\r\n\r\n";
        for step in [1, 2, 7, 50, 1_000] {
            assert_eq!(scanned(sent.as_bytes(), step), expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn after_a_body_of_unknown_length_all_bytes_pass_unchanged() {
        for header in [
            "transfer-encoding: chunked",
            "Transfer-Encoding : gzip, chunked",
            "content-length: 1\r\ncontent-length: 2",
            "content-length: +1",
            "content-length: 99999999999999999999999",
            "upgrade: x",
        ] {
            let sent = format!("POST /é HTTP/1.1\r\n{header}\r\n\r\nGET /é HTTP/1.1\r\n\r\n");
            assert_eq!(scanned(sent.as_bytes(), 9), sent.replacen('é', "%C3%A9", 1), "{header}");
        }
    }

    proptest! {
        #[test]
        fn ascii_passes_unchanged_in_chunks_of_any_size(text in "[ -!#-;=?-~\\r\\n]{0,300}", step in 1_usize..50) {
            prop_assert_eq!(scanned(text.as_bytes(), step), text);
        }
    }

    #[tokio::test]
    async fn a_small_buffer_receives_every_byte() {
        let line = format!("GET /{} HTTP/1.1\r\n\r\n", "é".repeat(10_000));
        let mut stream = EscapingStream::new(line.as_bytes());
        let (mut all, mut some) = (Vec::new(), [0; 7]);
        loop {
            match stream.read(&mut some).await.expect("a read") {
                0 => break,
                read => all.extend_from_slice(&some[..read]),
            }
        }
        assert_eq!(String::from_utf8(all).expect("ASCII"), line.replace('é', "%C3%A9"));
    }
}
