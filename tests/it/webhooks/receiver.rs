//! A receiver of webhooks whose answers a test changes while it runs.

use serde_json::Value;
use spsi_partner::webhooks::signature::{ID, SIGNATURE, SigningSecret, TIMESTAMP};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// An answer of the receiver.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// With a header line.
    With(u16, String),
    /// With a body that never ends.
    Endless,
    /// No answer for this time, then 200.
    Hang(Duration),
}

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: BTreeMap<String, String>,
    pub text: String,
    pub body: Value,
}

impl Received {
    pub fn id(&self) -> &str {
        &self.headers[ID]
    }

    pub fn kind(&self) -> &str {
        self.body["type"].as_str().expect("a type")
    }

    /// The supplier's number of the order that the event is about.
    pub fn order(&self) -> &str {
        self.body["data"]["supplier_order_number"].as_str().expect("an order")
    }

    pub fn verifies(&self, secret: &str) -> bool {
        let secret: SigningSecret = secret.parse().expect("a secret");
        let timestamp = self.headers[TIMESTAMP].parse().expect("seconds");
        let signature = secret.sign(self.id(), timestamp, self.text.as_bytes());
        self.headers[SIGNATURE].split(' ').any(|one| one == signature)
    }
}

type Decide = Box<dyn FnMut(&Received) -> Answer + Send>;

struct State {
    decide: Decide,
    received: Vec<Received>,
    /// Bytes of endless bodies that were accepted by the other side.
    sent: usize,
}

/// A receiver at a port of its own.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let state = State { decide: Box::new(|_| Answer::Status(200)), received: Vec::new(), sent: 0 };
        let receiver = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let receiver = serving.clone();
                std::thread::spawn(move || receiver.serve(stream));
            }
        });
        receiver
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("an unpoisoned lock")
    }

    /// Decides about every answer from now on.
    pub fn answer(&self, decide: impl FnMut(&Received) -> Answer + Send + 'static) {
        self.state().decide = Box::new(decide);
    }

    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    pub fn sent(&self) -> usize {
        self.state().sent
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let (mut line, mut headers) = (String::new(), BTreeMap::new());
        reader.read_line(&mut line).ok()?;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let mut bytes = vec![0; headers.get("content-length")?.parse().ok()?];
        reader.read_exact(&mut bytes).ok()?;
        let text = String::from_utf8(bytes).expect("UTF-8");
        let body = serde_json::from_str(&text).expect("JSON");
        let received = Received { headers, text, body };
        let answer = {
            let mut state = self.state();
            let answer = (state.decide)(&received);
            state.received.push(received);
            answer
        };
        let plain = |status: u16, header: &str| {
            format!("HTTP/1.1 {status} X\r\n{header}content-length: 2\r\nconnection: close\r\n\r\nok")
        };
        let text = match answer {
            Answer::Status(status) => plain(status, ""),
            Answer::With(status, header) => plain(status, &format!("{header}\r\n")),
            Answer::Hang(time) => {
                std::thread::sleep(time);
                plain(200, "")
            }
            Answer::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").ok()?;
                loop {
                    stream.write_all(&[b'x'; 4096]).ok()?;
                    self.state().sent += 4096;
                }
            }
        };
        stream.write_all(text.as_bytes()).ok()
    }
}
