//! An HTTP/1.1 client that costs little: requests are prepared bytes, and bodies are counted without being stored.
//!
//! Sockets keep the kernel's delayed ACKs (no `TCP_QUICKACK`), as other clients' sockets do.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BUFFER_BYTES: usize = 256 * 1024;

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: usize,
}

/// The measurable part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Length of the body as it was sent: compressed, without chunk framing.
    pub bytes: u64,
    pub is_compressed: bool,
}

struct Head {
    answer: Answer,
    /// Offset of the body.
    end: usize,
    /// `None`: the body is chunked.
    length: Option<u64>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES].into(), filled: 0 })
    }

    /// Sends a request and reads its answer to the end.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.exchange(request, |_| ()).await
    }

    /// Sends a request. Returns its answer with the decompressed body.
    pub async fn fetch(&mut self, request: &[u8]) -> anyhow::Result<(Answer, Vec<u8>)> {
        let mut body = Vec::new();
        let answer = self.exchange(request, |bytes| body.extend_from_slice(bytes)).await?;
        if answer.is_compressed {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(body.as_slice()).read_to_end(&mut plain)?;
            body = plain;
        }
        Ok((answer, body))
    }

    /// Sends a request. Returns its answer with the body as JSON. Fails unless the status is 200.
    pub async fn json(&mut self, request: &[u8]) -> anyhow::Result<(Answer, Value)> {
        let (answer, body) = self.fetch(request).await?;
        if answer.status != 200 {
            bail!("{}: {}", answer.status, String::from_utf8_lossy(&body[..body.len().min(300)]));
        }
        Ok((answer, serde_json::from_slice(&body)?))
    }

    async fn exchange(&mut self, request: &[u8], mut take: impl FnMut(&[u8])) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = loop {
            self.fill().await?;
            if let Some(head) = Head::read(&self.buffer[..self.filled])? {
                break head;
            }
            if self.filled == BUFFER_BYTES {
                bail!("the head of an answer is too long");
            }
        };
        let mut answer = head.answer;
        let mut chunks = Chunks::default();
        let mut from = head.end;
        loop {
            let piece = &self.buffer[from..self.filled];
            let done = match head.length {
                Some(length) => {
                    answer.bytes += piece.len() as u64;
                    take(piece);
                    answer.bytes >= length
                }
                None => chunks.read(piece, |bytes| {
                    answer.bytes += bytes.len() as u64;
                    take(bytes);
                })?,
            };
            if done {
                return Ok(answer);
            }
            (from, self.filled) = (0, 0);
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let count = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if count == 0 {
            bail!("the server closed the connection in the middle of an answer");
        }
        self.filled += count;
        Ok(())
    }
}

impl Head {
    fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let status: u16 = status.context("an answer without a status")?;
        let (mut length, mut chunked, mut is_compressed) = (None, false, false);
        for line in bytes[..end].split(|byte| *byte == b'\n').skip(1) {
            let line = line.trim_ascii_end();
            if let Some(value) = value_of(line, b"content-length:") {
                length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            } else if value_of(line, b"transfer-encoding:").is_some() {
                chunked = true;
            } else if let Some(value) = value_of(line, b"content-encoding:") {
                is_compressed = value.eq_ignore_ascii_case(b"gzip");
            }
        }
        if length.is_none() && !chunked {
            bail!("an answer ({status}) without a length");
        }
        Ok(Some(Self { answer: Answer { status, bytes: 0, is_compressed }, end: end + 4, length }))
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let is_named = line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
    is_named.then(|| line[name.len()..].trim_ascii())
}

/// An incremental parser of `Transfer-Encoding: chunked`.
#[derive(Default)]
struct Chunks {
    state: ChunkState,
    /// Bytes of the present chunk that are still to come.
    left: u64,
}

#[derive(Default)]
enum ChunkState {
    #[default]
    Size,
    Data,
    /// The line break after a chunk's data.
    LineBreak,
    /// The line break after the last chunk.
    Trailer,
}

impl Chunks {
    /// Passes the data of chunks to `take`. Returns true at the end of the body.
    fn read(&mut self, mut piece: &[u8], mut take: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        while let Some(byte) = piece.first() {
            match self.state {
                ChunkState::Data => {
                    let count = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    take(&piece[..count]);
                    self.left -= count as u64;
                    piece = &piece[count..];
                    if self.left == 0 {
                        self.state = ChunkState::LineBreak;
                    }
                    continue;
                }
                ChunkState::Size => match byte {
                    b'\n' if self.left == 0 => self.state = ChunkState::Trailer,
                    b'\n' => self.state = ChunkState::Data,
                    b'\r' => {}
                    digit => {
                        let digit = char::from(*digit).to_digit(16).context("a chunk without a size")?;
                        self.left = self.left << 4 | u64::from(digit);
                    }
                },
                ChunkState::LineBreak if *byte == b'\n' => self.state = ChunkState::Size,
                ChunkState::Trailer if *byte == b'\n' => return Ok(true),
                ChunkState::LineBreak | ChunkState::Trailer => {}
            }
            piece = &piece[1..];
        }
        Ok(false)
    }
}

/// Returns the bytes of a GET request.
pub fn get(target: &str, token: &str, gzip: bool) -> Vec<u8> {
    let coding = if gzip { "accept-encoding: gzip\r\n" } else { "" };
    format!("GET {target} HTTP/1.1\r\nhost: speed\r\nauthorization: Bearer {token}\r\naccept: application/json\r\n{coding}\r\n").into_bytes()
}

/// Returns the bytes of a POST request with a JSON body.
pub fn post(target: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let token = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nhost: speed\r\n{token}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}
