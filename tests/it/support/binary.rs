//! The real `spsi` binary: run to its end, or served and stopped. Its environment is what the test gives, and no more.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything a test does on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A command line in the making.
#[derive(Debug)]
pub struct Spsi {
    command: Command,
    input: Vec<u8>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// None: by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `spsi serve` (or another server) while it runs; killed when dropped.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    url: String,
    stderr: Arc<Mutex<String>>,
}

/// `spsi` with these arguments.
pub fn spsi<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Spsi {
    program(env!("CARGO_BIN_EXE_spsi"), arguments)
}

/// Any program.
pub fn program<A: AsRef<OsStr>>(path: &str, arguments: impl IntoIterator<Item = A>) -> Spsi {
    let mut command = Command::new(path);
    command.args(arguments).env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE", "SPSI_DB_POOLING"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Spsi { command, input: Vec::new() }
}

impl Spsi {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.input = text.as_bytes().to_vec();
        self
    }

    /// Runs to its end.
    pub fn run(mut self) -> Ended {
        let mut child = self.spawn();
        let stdout = child.stdout.take().map(read_all).expect("piped");
        let stderr = child.stderr.take().map(read_all).expect("piped");
        let status = wait(&mut child);
        let text = |reader: JoinHandle<String>| reader.join().expect("the reader ends");
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs until the line `listening on http://ADDRESS` on standard error. Give `--bind 127.0.0.1:0`.
    pub fn serve(mut self) -> Serving {
        let mut child = self.spawn();
        // Drained all the same: a full pipe would stop the server.
        drop(child.stdout.take().map(read_all));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (found, url) = mpsc::channel();
        let (lines, log) = (BufReader::new(child.stderr.take().expect("piped")), Arc::clone(&stderr));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(url) = listening_on(&line) {
                    let _ = found.send(url);
                }
                log.lock().expect("no panic there").push_str(&format!("{line}\n"));
            }
        });
        let mut serving = Serving { child, url: String::new(), stderr };
        match url.recv_timeout(LIMIT) {
            Ok(url) => serving.url = url,
            Err(RecvTimeoutError::Disconnected) => panic!("spsi ended: {}", serving.stderr()),
            Err(RecvTimeoutError::Timeout) => panic!("spsi does not listen: {}", serving.stderr()),
        }
        serving
    }

    fn spawn(&mut self) -> Child {
        let piped = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("spsi starts");
        let (mut stdin, input) = (child.stdin.take().expect("piped"), std::mem::take(&mut self.input));
        // It may end without reading.
        std::thread::spawn(move || stdin.write_all(&input));
        child
    }
}

impl Serving {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no panic there").clone()
    }

    /// Sends SIGTERM, as an orchestrator does, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        wait(&mut self.child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Some("signal: 9") here means that somebody else ended it.
            eprintln!("{} ended: {:?}; it logged:\n{}", self.url, self.child.try_wait(), self.stderr());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if started.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("spsi did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Works on a plain line and on one in JSON.
pub fn listening_on(line: &str) -> Option<String> {
    let rest = line.split_once("listening on ")?.1;
    let end = rest.find(|character: char| character.is_whitespace() || character == '"').unwrap_or(rest.len());
    Some(rest[..end].to_owned()).filter(|url| url.starts_with("http://"))
}
