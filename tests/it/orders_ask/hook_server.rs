//! The supplier's system: answers the order hook as the test says, and keeps every request.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers with this status and body.
    Answer(u16, Value),
    /// Answers 200 with this body after a time.
    Late(Duration, Value),
    /// Reads the request and never answers.
    Hang,
}

/// A request with lower-case header names.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// A running server. Its thread ends with the test process.
pub struct HookServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    behaviour: Behaviour,
    received: Vec<Received>,
}

impl HookServer {
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/decide", listener.local_addr().expect("its address"));
        let state = Arc::new(Mutex::new(State { behaviour, received: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { url, state }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().expect("unpoisoned").behaviour = behaviour;
    }

    /// Answers every request with this decision.
    pub fn decide(&self, decision: &str) {
        self.behave(Behaviour::Answer(200, json!({"decision": decision, "reason": format!("because of {decision}")})));
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.lock().expect("unpoisoned").received.clone()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut headers = HashMap::new();
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    loop {
        line.clear();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() || length == 0 {
        return;
    }
    let behaviour = {
        let mut state = state.lock().expect("unpoisoned");
        state.received.push(Received { headers, body: String::from_utf8(body).expect("UTF-8") });
        state.behaviour.clone()
    };
    let (status, body) = match behaviour {
        Behaviour::Answer(status, body) => (status, body),
        Behaviour::Late(time, body) => {
            thread::sleep(time);
            (200, body)
        }
        Behaviour::Hang => {
            thread::sleep(Duration::from_secs(60));
            return;
        }
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}
