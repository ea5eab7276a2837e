//! Raw UTF-8, quotes and angle brackets in a request line, as some clients write them, become escapes on their way in
//! (SPSI.md 4.5): the parser behind refuses them, and the catalogue's query reads either spelling the same.
//!
//! Only the request line changes. To know where the next one begins, heads are followed as far as `Content-Length`; after
//! anything else that frames a body, and after whatever the parser will refuse, a connection is left as it is.

use memchr::memchr;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More of a header line than this is never `Content-Length`.
const LONGEST_HEADER: usize = 1024;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What the next byte belongs to.
#[derive(Debug, PartialEq)]
enum Place {
    RequestLine,
    Headers,
    /// So many bytes more.
    Body(u64),
    /// Not to be followed any more.
    Anything,
}

/// Where the bytes of a connection are.
#[derive(Debug)]
struct Follower {
    place: Place,
    /// The line so far, cut at [`LONGEST_HEADER`]; of a request line, only whether there is any.
    line: Vec<u8>,
    length: Option<u64>,
    unclear: bool,
}

impl Follower {
    fn new() -> Self {
        Self { place: Place::RequestLine, line: Vec::new(), length: None, unclear: false }
    }

    /// Takes bytes as they arrive; gives what they become, if that is something else.
    fn follow(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let is_request_line = self.place == Place::RequestLine;
            let is_head = is_request_line || self.place == Place::Headers;
            let (part, ended) = match self.place {
                Place::Anything => (rest, false),
                Place::Body(left) => {
                    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - taken as u64;
                    self.place = if left == 0 { Place::RequestLine } else { Place::Body(left) };
                    (&rest[..taken], false)
                }
                Place::RequestLine | Place::Headers => match memchr(b'\n', rest) {
                    Some(end) => (&rest[..=end], true),
                    None => (rest, false),
                },
            };
            if is_request_line && needs_escape(part) {
                escape(part, changed.get_or_insert_with(|| bytes[..at].to_vec()));
            } else if let Some(changed) = &mut changed {
                changed.extend_from_slice(part);
            }
            at += part.len();
            if ended && self.line.is_empty() {
                self.line_ended(&part[..part.len() - 1]);
            } else if is_head {
                self.keep(part);
            }
        }
        changed
    }

    /// A part of a line that does not arrive at once.
    fn keep(&mut self, part: &[u8]) {
        let (part, ended) = part.strip_suffix(b"\n").map_or((part, false), |part| (part, true));
        let room = (LONGEST_HEADER + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        if ended {
            let line = std::mem::take(&mut self.line);
            self.line_ended(&line);
        }
    }

    /// A line of a head, without its end.
    fn line_ended(&mut self, line: &[u8]) {
        let is_empty = line.is_empty() || line == b"\r";
        match self.place {
            // Empty lines before a request are passed over by parsers too.
            Place::RequestLine if is_empty => {}
            Place::RequestLine => (self.place, self.length, self.unclear) = (Place::Headers, None, false),
            Place::Headers if !is_empty => self.header(line),
            _ if self.unclear => self.place = Place::Anything,
            _ => self.place = self.length.filter(|length| *length > 0).map_or(Place::RequestLine, Place::Body),
        }
    }

    fn header(&mut self, line: &[u8]) {
        if !line.first().is_some_and(|first| b"cCtTuU \t".contains(first)) {
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(value).ok().filter(|_| digits).and_then(|value| value.parse().ok());
            self.unclear |= length.is_none() || self.length.is_some();
            self.length = length;
        } else if [&b"transfer-encoding"[..], b"upgrade"].iter().any(|it| name.trim_ascii().eq_ignore_ascii_case(it)) {
            self.unclear = true;
        }
    }
}

/// Whether a request line holds what the parser refuses. Without an early end, so that many bytes are looked at at once.
fn needs_escape(line: &[u8]) -> bool {
    line.iter().fold(false, |found, byte| found | is_escaped(*byte))
}

fn is_escaped(byte: u8) -> bool {
    byte >= 0x80 || matches!(byte, b'"' | b'<' | b'>')
}

fn escape(line: &[u8], out: &mut Vec<u8>) {
    for byte in line {
        if is_escaped(*byte) {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(*byte);
        }
    }
}

/// A connection whose request lines are escaped as they are read.
#[derive(Debug)]
pub struct EscapingStream<T> {
    pub(super) stream: T,
    follower: Follower,
    /// Read, and not handed on yet.
    ready: Vec<u8>,
    handed_on: usize,
}

impl<T> EscapingStream<T> {
    pub fn new(stream: T) -> Self {
        Self { stream, follower: Follower::new(), ready: Vec::new(), handed_on: 0 }
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.ready[self.handed_on..];
        let taken = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..taken]);
        self.handed_on += taken;
        if self.handed_on == self.ready.len() {
            (self.ready, self.handed_on) = (Vec::new(), 0);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for EscapingStream<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ready.is_empty() {
            let mut space = [MaybeUninit::<u8>::uninit(); 16 * 1024];
            let most = space.len().min(buffer.remaining());
            let mut arrived = ReadBuf::uninit(&mut space[..most]);
            match Pin::new(&mut this.stream).poll_read(context, &mut arrived) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            match this.follower.follow(arrived.filled()) {
                None => {
                    buffer.put_slice(arrived.filled());
                    return Poll::Ready(Ok(()));
                }
                Some(changed) => this.ready = changed,
            }
        }
        this.hand_on(buffer);
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

    fn followed(bytes: &[u8], step: usize) -> String {
        let mut follower = Follower::new();
        let parts = bytes.chunks(step).map(|part| follower.follow(part).unwrap_or_else(|| part.to_vec()));
        String::from_utf8(parts.collect::<Vec<_>>().concat()).expect("UTF-8")
    }

    #[test]
    fn only_request_lines_change_and_every_one_of_them() {
        let sent = "POST /accesstoken HTTP/1.1\r\nContent-Length: 6\r\nx-é: \"ü\"\r\n\r\n{\"é\n}\
                    GET /products?name=[\"é\",\"<>\"] HTTP/1.1\r\nhost: ü\r\n\r\n\r\n\
                    GET /é HTTP/1.1\ncontent-length: 0\n\nGET /ü HTTP/1.1\r\n\r\n";
        let expected = "POST /accesstoken HTTP/1.1\r\nContent-Length: 6\r\nx-é: \"ü\"\r\n\r\n{\"é\n}\
                        GET /products?name=[%22%C3%A9%22,%22%3C%3E%22] HTTP/1.1\r\nhost: ü\r\n\r\n\r\n\
                        GET /%C3%A9 HTTP/1.1\ncontent-length: 0\n\nGET /%C3%BC HTTP/1.1\r\n\r\n";
        for step in [1, 2, 7, 50, 1_000] {
            assert_eq!(followed(sent.as_bytes(), step), expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn what_is_framed_otherwise_is_left_alone_from_there() {
        for header in [
            "transfer-encoding: chunked",
            "Transfer-Encoding : gzip, chunked",
            "content-length: 1\r\ncontent-length: 2",
            "content-length: +1",
            "content-length: 99999999999999999999999",
            "upgrade: x",
        ] {
            let sent = format!("POST /é HTTP/1.1\r\n{header}\r\n\r\nGET /é HTTP/1.1\r\n\r\n");
            assert_eq!(followed(sent.as_bytes(), 9), sent.replacen('é', "%C3%A9", 1), "{header}");
        }
    }

    proptest! {
        #[test]
        fn ascii_goes_through_as_it_is_however_it_is_cut(text in "[ -!#-;=?-~\\r\\n]{0,300}", step in 1_usize..50) {
            prop_assert_eq!(followed(text.as_bytes(), step), text);
        }
    }

    #[tokio::test]
    async fn a_small_buffer_gets_everything_in_time() {
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
