//! An HTTP client that sends exactly the bytes of a test: malformed queries and bodies, and slow senders.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any answer takes on a loaded machine.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A request builder.
#[derive(Clone, Debug)]
pub struct Request {
    address: String,
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer with its body after removal of the transfer coding.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Creates a request to `http://ADDRESS`. The target is sent byte for byte.
    pub fn new(method: &str, url: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            address: url.strip_prefix("http://").expect("an http address").to_owned(),
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sets the body. [`Self::head`] adds `Content-Length`.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Returns the bytes of the head, including the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut head = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        let has = |name: &str| self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        let mut line = |name: &str, value: &str| head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        line("host", &self.address);
        line("connection", "close");
        self.headers.iter().for_each(|(name, value)| line(name, value));
        let is_framed = has("transfer-encoding") || has("content-length");
        if !is_framed && (self.method == "POST" || !self.body.is_empty()) {
            line("content-length", &self.body.len().to_string());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a limit");
        stream
    }

    /// Sends head and body in one write and reads the answer.
    #[track_caller]
    pub fn send(&self) -> Response {
        let mut stream = self.connect();
        // A server that refuses early may close before it has read the body.
        let _ = stream.write_all(&[self.head(), self.body.clone()].concat());
        Response::read(&mut stream, &self.method)
    }
}

impl Response {
    /// Reads until the server closes the connection. Panics if the answer was truncated.
    #[track_caller]
    pub fn read(stream: &mut TcpStream, method: &str) -> Self {
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        let head = Self::head_of(&bytes)
            .unwrap_or_else(|| panic!("no answer ({ended:?}): {:?}", String::from_utf8_lossy(&bytes)));
        let (mut answer, rest) = head;
        // `Expect: 100-continue` makes the server send an interim answer first.
        if answer.status == 100 {
            let rest = rest.to_vec();
            let (last, body) = Self::head_of(&rest).expect("an answer after 100");
            answer = last;
            answer.body = body.to_vec();
        } else {
            answer.body = rest.to_vec();
        }
        if method == "HEAD" {
            assert!(answer.body.is_empty(), "{}", answer.text());
        } else if answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            answer.body = unchunked(&answer.body);
        } else if let Some(length) = answer.header("content-length") {
            assert_eq!(answer.body.len().to_string(), length, "the answer was truncated");
        }
        answer
    }

    fn head_of(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Some((Self { status, headers, body: Vec::new() }, &bytes[end + 4..]))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// Returns the body as JSON. Panics unless the answer has this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// Checks that the answer is ezyVet's error envelope with this status. Returns the `fields` of all messages.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Vec<String> {
        let body = self.expect(status);
        let messages = body["messages"].as_array().unwrap_or_else(|| panic!("no messages: {body}"));
        assert!(!messages.is_empty(), "{body}");
        let mut fields = Vec::new();
        for message in messages {
            assert_eq!(message["level"], "error", "{body}");
            assert!(message["type"].as_str().is_some_and(|code| !code.is_empty()), "{body}");
            assert!(message["text"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
            let named = message["fields"].as_array().unwrap_or_else(|| panic!("no fields: {body}"));
            fields.extend(named.iter().map(|field| field.as_str().expect("a text").to_owned()));
        }
        fields
    }
}

/// Decodes a chunked body. Panics if the last chunk is missing, which means that the answer was truncated.
#[track_caller]
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").expect("the answer was truncated");
        let size = str::from_utf8(&bytes[..end]).expect("a size").split(';').next().expect("a size");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
}
