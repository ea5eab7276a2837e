//! Closed-loop load: each connection asks again as soon as it has its answer. The rounds of the contenders are interleaved.

use crate::client::{Answer, Connection};
use crate::database::DatabaseQuery;
use crate::server::Process;
use crate::statistics::Spread;
use anyhow::{Context as _, bail};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// A request with the answer that is expected.
#[derive(Clone, Debug)]
pub struct CheckedRequest {
    pub request: Vec<u8>,
    pub answer: Answer,
}

impl CheckedRequest {
    /// Fails unless status, length and coding of the answer are as expected.
    pub async fn send(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let answer = connection.ask(&self.request).await?;
        if answer != self.answer {
            let request = String::from_utf8_lossy(&self.request);
            let line = request.lines().next().unwrap_or_default();
            bail!("{line:.200}: {answer:?} instead of {:?}", self.answer);
        }
        Ok(())
    }
}

/// A server, or the database by itself, that is compared with others.
pub struct Contender<'a> {
    pub name: &'static str,
    pub target: Target<'a>,
}

pub enum Target<'a> {
    Http { address: SocketAddr, process: &'a Process, requests: Rc<[CheckedRequest]> },
    Sql { pool: sqlx::PgPool, queries: Rc<[DatabaseQuery]> },
}

/// The measurements of one contender in one round.
#[derive(Clone, Debug)]
pub struct Round {
    pub per_second: f64,
    /// Median latency in milliseconds.
    pub median: f64,
    /// 99th percentile of the latency in milliseconds.
    pub p99: f64,
    /// Processor time of the server for one answer, in microseconds.
    pub processor: Option<f64>,
}

/// A contender's rounds.
#[derive(Debug)]
pub struct Rounds {
    pub name: &'static str,
    pub rounds: Vec<Round>,
}

impl Rounds {
    pub fn spread(&self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    /// Compares rounds that ran next to each other.
    pub fn ratio(&self, other: &Self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(one, other)| of(one) / of(other)))
    }
}

/// Measures rounds of all contenders, interleaved (ABCABC), after a warm-up. Awaits `before_each` before each ABC.
pub async fn measure(
    contenders: &[Contender<'_>],
    connections: usize,
    rounds: usize,
    time: Duration,
    before_each: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Rounds>> {
    let mut all: Vec<Rounds> =
        contenders.iter().map(|contender| Rounds { name: contender.name, rounds: Vec::new() }).collect();
    for contender in contenders {
        contender.run(connections, time / 4).await?;
    }
    for _ in 0..rounds {
        before_each().await?;
        for (contender, rounds) in contenders.iter().zip(&mut all) {
            rounds.rounds.push(contender.run(connections, time).await?);
        }
    }
    Ok(all)
}

impl Contender<'_> {
    async fn run(&self, connections: usize, time: Duration) -> anyhow::Result<Round> {
        let process = match &self.target {
            Target::Http { process, .. } => Some(*process),
            Target::Sql { .. } => None,
        };
        let before = process.map(Process::processor_time);
        let (latencies, took) = match &self.target {
            Target::Http { address, requests, .. } => {
                let (address, requests) = (*address, Rc::clone(requests));
                closed_loop(
                    connections,
                    time,
                    || Connection::open(address),
                    async move |connection: &mut Connection, number| {
                        requests[number % requests.len()].send(connection).await
                    },
                )
                .await
            }
            Target::Sql { pool, queries } => {
                let (pool, queries) = (pool.clone(), Rc::clone(queries));
                let open = move || {
                    let (pool, queries) = (pool.clone(), Rc::clone(&queries));
                    async move { Ok((pool.acquire().await?, queries)) }
                };
                closed_loop(connections, time, open, async |(connection, queries), number| {
                    queries[number % queries.len()].ask(connection).await.map(drop)
                })
                .await
            }
        }
        .with_context(|| format!("contender {}", self.name))?;
        let spent = process.zip(before).map(|(process, before)| process.processor_time() - before);
        Ok(Round::new(latencies, took, spent))
    }
}

impl Round {
    pub fn new(mut latencies: Vec<Duration>, took: Duration, processor: Option<Duration>) -> Self {
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        Self {
            per_second: count / took.as_secs_f64(),
            median: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            processor: processor.map(|spent| spent.as_secs_f64() * 1e6 / count),
        }
    }
}

/// Returns a quantile of ascending latencies in milliseconds.
pub fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Runs clients that ask again as soon as they have their answer, until `time` has passed. `ask` receives the number of the
/// request, counted over all clients. Returns all latencies, and the time until the last answer.
pub async fn closed_loop<A: 'static, Opening>(
    clients: usize,
    time: Duration,
    open: impl Fn() -> Opening,
    ask: impl AsyncFn(&mut A, usize) -> anyhow::Result<()> + Clone + 'static,
) -> anyhow::Result<(Vec<Duration>, Duration)>
where
    Opening: Future<Output = anyhow::Result<A>>,
{
    let mut open_clients = Vec::new();
    for _ in 0..clients {
        open_clients.push(open().await?);
    }
    let next = Rc::new(Cell::new(0));
    let began = Instant::now();
    let local = LocalSet::new();
    let tasks: Vec<_> = open_clients
        .into_iter()
        .map(|mut client| {
            let (next, ask) = (Rc::clone(&next), ask.clone());
            local.spawn_local(async move {
                let mut latencies = Vec::with_capacity(1 << 16);
                while began.elapsed() < time {
                    let number = next.replace(next.get() + 1);
                    let asked = Instant::now();
                    ask(&mut client, number).await?;
                    latencies.push(asked.elapsed());
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut all = Vec::new();
    local
        .run_until(async {
            for task in tasks {
                all.append(&mut task.await??);
            }
            anyhow::Ok(())
        })
        .await?;
    Ok((all, began.elapsed()))
}
