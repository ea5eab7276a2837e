//! Load: so many connections that ask again as soon as they have an answer, in rounds that the contenders take in turn.

use crate::client::{Answer, Connection};
use crate::database::Question;
use crate::server::Process;
use crate::spread::Spread;
use anyhow::{Context as _, bail};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// A request with the answer that is right.
#[derive(Clone, Debug)]
pub struct Shot {
    pub request: Vec<u8>,
    pub answer: Answer,
}

/// One of those who are measured against each other.
pub struct Contender<'a> {
    pub name: &'static str,
    pub target: Target<'a>,
}

pub enum Target<'a> {
    Http { address: SocketAddr, process: &'a Process, shots: Rc<[Shot]> },
    Sql { pool: sqlx::PgPool, questions: Rc<[Question]> },
}

/// What one contender did in one round.
#[derive(Clone, Debug)]
pub struct Round {
    pub per_second: f64,
    /// Milliseconds.
    pub median: f64,
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

    /// Ratios of the rounds that lay next to each other.
    pub fn ratio(&self, other: &Self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(one, other)| of(one) / of(other)))
    }
}

/// The rounds of all contenders, interleaved: ABCABC. Something may be done before each round.
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
            Target::Http { address, shots, .. } => {
                let (address, shots) = (*address, Rc::clone(shots));
                closed_loop(connections, time, move || Asker::new(address, Rc::clone(&shots)), Asker::ask).await
            }
            Target::Sql { pool, questions } => {
                let (pool, questions) = (pool.clone(), Rc::clone(questions));
                let open = move || {
                    let (pool, questions) = (pool.clone(), Rc::clone(&questions));
                    async move { Ok((pool.acquire().await?, questions)) }
                };
                closed_loop(connections, time, open, async |(connection, questions), turn| {
                    questions[turn % questions.len()].ask(connection).await.map(drop)
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

/// In milliseconds, of ascending times.
pub fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// One connection of a round; it checks every answer.
struct Asker {
    connection: Connection,
    shots: Rc<[Shot]>,
}

impl Asker {
    async fn new(address: SocketAddr, shots: Rc<[Shot]>) -> anyhow::Result<Self> {
        Ok(Self { connection: Connection::open(address).await?, shots })
    }

    async fn ask(&mut self, turn: usize) -> anyhow::Result<()> {
        let shot = &self.shots[turn % self.shots.len()];
        let answer = self.connection.ask(&shot.request).await?;
        if answer != shot.answer {
            let request = String::from_utf8_lossy(&shot.request);
            let line = request.lines().next().unwrap_or_default();
            bail!("{line:.200}: {answer:?} instead of {:?}", shot.answer);
        }
        Ok(())
    }
}

/// Every asker asks again as soon as it has its answer, until the time is up. All latencies, and how long it took.
pub async fn closed_loop<A: 'static, Opening>(
    askers: usize,
    time: Duration,
    open: impl Fn() -> Opening,
    ask: impl AsyncFn(&mut A, usize) -> anyhow::Result<()> + Clone + 'static,
) -> anyhow::Result<(Vec<Duration>, Duration)>
where
    Opening: Future<Output = anyhow::Result<A>>,
{
    let mut open_askers = Vec::new();
    for _ in 0..askers {
        open_askers.push(open().await?);
    }
    let next = Rc::new(Cell::new(0));
    let began = Instant::now();
    let local = LocalSet::new();
    let tasks: Vec<_> = open_askers
        .into_iter()
        .map(|mut asker| {
            let (next, ask) = (Rc::clone(&next), ask.clone());
            local.spawn_local(async move {
                let mut latencies = Vec::with_capacity(1 << 16);
                while began.elapsed() < time {
                    let turn = next.replace(next.get() + 1);
                    let asked = Instant::now();
                    ask(&mut asker, turn).await?;
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
