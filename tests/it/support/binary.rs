//! Runs the real `spsi` binary, to its end or as a server. The child's environment holds only the variables of the test.

use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than any command of a test takes on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A program with its arguments, environment and input, before it runs.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

/// The result of a command.
#[derive(Debug)]
pub struct CommandOutput {
    /// `None`: a signal ended the process.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running server, `spsi serve` for instance. It is killed when dropped.
#[derive(Debug)]
pub struct RunningServer {
    child: Child,
    url: String,
    stderr: Arc<Mutex<String>>,
}

/// Returns the command `spsi` with these arguments.
pub fn spsi<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Program {
    program(env!("CARGO_BIN_EXE_spsi"), arguments)
}

/// Returns a command that runs another program.
pub fn program<A: AsRef<OsStr>>(path: &str, arguments: impl IntoIterator<Item = A>) -> Program {
    let mut command = Command::new(path);
    command.args(arguments).env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE", "SPSI_DB_POOLING"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    Program { command, input: Vec::new() }
}

impl Program {
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

    /// Runs the command to its end. Panics after [`TIMEOUT`].
    pub fn run(mut self) -> CommandOutput {
        let mut child = self.spawn();
        let stdout = child.stdout.take().map(read_all).expect("piped");
        let stderr = child.stderr.take().map(read_all).expect("piped");
        let status = wait(&mut child);
        let text = |reader: JoinHandle<String>| reader.join().expect("the reader ends");
        CommandOutput { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Starts a server and waits for the line `listening on http://ADDRESS` on standard error. Servers of tests need
    /// `--bind 127.0.0.1:0`.
    pub fn serve(mut self) -> RunningServer {
        let mut child = self.spawn();
        // Standard output is drained, because a full pipe would block the server.
        drop(child.stdout.take().map(read_all));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (found, url) = mpsc::channel();
        let (lines, log) = (BufReader::new(child.stderr.take().expect("piped")), Arc::clone(&stderr));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(url) = listening_on(&line) {
                    let _ = found.send(url);
                }
                log.lock().expect("an unpoisoned lock").push_str(&format!("{line}\n"));
            }
        });
        let mut server = RunningServer { child, url: String::new(), stderr };
        match url.recv_timeout(TIMEOUT) {
            Ok(url) => server.url = url,
            Err(RecvTimeoutError::Disconnected) => panic!("spsi ended: {}", server.stderr()),
            Err(RecvTimeoutError::Timeout) => panic!("spsi does not listen: {}", server.stderr()),
        }
        server
    }

    fn spawn(&mut self) -> Child {
        let piped = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("spsi starts");
        let (mut stdin, input) = (child.stdin.take().expect("piped"), std::mem::take(&mut self.input));
        // Ignores errors: the child may end without reading its input.
        std::thread::spawn(move || stdin.write_all(&input));
        child
    }
}

impl RunningServer {
    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns everything that the server has logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("an unpoisoned lock").clone()
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }

    /// Sends SIGTERM, as an orchestrator does, and waits for the end of the process.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        wait(&mut self.child)
    }

    pub fn signal(&self, signal: Signal) {
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(process, signal).expect("it runs");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // "signal: 9" here means that another process killed the server, for instance the kernel's OOM killer.
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
        if started.elapsed() > TIMEOUT {
            let _ = child.kill();
            panic!("spsi did not end within {TIMEOUT:?}");
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

/// Returns the address of a log line `listening on http://ADDRESS`, in plain text or JSON.
pub fn listening_on(line: &str) -> Option<String> {
    let rest = line.split_once("listening on ")?.1;
    let end = rest.find(|character: char| character.is_whitespace() || character == '"').unwrap_or(rest.len());
    Some(rest[..end].to_owned()).filter(|url| url.starts_with("http://"))
}
