//! Servers in child processes: started, measured through `/proc`, and killed when dropped.

use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(180);
/// The unit of processor time in `/proc/ID/stat` (`USER_HZ` is 100 on every supported platform).
const TICK: Duration = Duration::from_millis(10);

/// A server that writes `listening on http://ADDRESS` to standard error. It is killed when dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    process: Process,
}

/// A child process. It is killed when dropped.
#[derive(Debug)]
pub struct Process(Child);

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub now: u64,
    /// The largest value since the start, or since [`Process::reset_peak`].
    pub peak: u64,
}

impl Server {
    /// Waits until the server listens, for at most [`START_LIMIT`].
    pub fn start(name: &str, mut command: Command, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut process = Process(command.spawn().with_context(|| format!("cannot start {name}"))?);
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&log)?;
            if let Some(address) = text.lines().find_map(address) {
                return Ok(Self { address, process });
            }
            if let Some(status) = process.0.try_wait()? {
                bail!("{name} ended ({status}): {}", text.trim());
            }
            if began.elapsed() > START_LIMIT {
                bail!("{name} does not listen within {START_LIMIT:?}: {}", text.trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn address(line: &str) -> Option<SocketAddr> {
    let rest = line.split_once("listening on http://")?.1;
    rest.split(|c: char| c.is_whitespace() || c == '"').next()?.parse().ok()
}

impl Process {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Returns its own id and those of its children: some stacks work in several processes.
    fn ids(&self) -> Vec<u32> {
        let id = self.0.id();
        let children = read(id, &format!("task/{id}/children"));
        std::iter::once(id).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
    }

    /// Returns zero if the process has ended, or if the machine has no `/proc`.
    pub fn memory(&self) -> Memory {
        self.ids().into_iter().fold(Memory::default(), |sum, id| {
            let status = read(id, "status");
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                kibibytes.unwrap_or(0_u64) * 1024
            };
            Memory { now: sum.now + field("VmRSS:"), peak: sum.peak + field("VmHWM:") }
        })
    }

    /// Sets the peak to the present resident memory.
    pub fn reset_peak(&self) {
        for id in self.ids() {
            // If this is refused, the peak since the start remains. That peak is larger, so no figure looks better than it is.
            let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }

    /// Returns the processor time of all threads since the start.
    pub fn processor_time(&self) -> Duration {
        let ticks: u32 = self.ids().into_iter().map(ticks).sum();
        TICK * ticks
    }
}

fn read(id: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default()
}

fn ticks(id: u32) -> u32 {
    let stat = read(id, "stat");
    // The second field is the program's name in parentheses, which may contain spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    [11, 12].into_iter().filter_map(|index| fields.get(index)?.parse::<u32>().ok()).sum()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
