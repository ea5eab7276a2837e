//! Scenario (e): the whole catalogue, plain and compressed: time, bytes, and what a pull adds to the server's memory.

use crate::client::{Answer, Connection, get};
use crate::options::{Plan, USUAL_SIZE};
use crate::reads::{Servers, difference};
use crate::report::{Goal, Report, Row, Section};
use crate::server::Server;
use crate::spread::Spread;
use crate::stage::Market;
use anyhow::{Context as _, ensure};
use std::time::{Duration, Instant};

/// Clinics that pull in turn.
const PULLERS: usize = 16;
const AT_ONCE: usize = 32;
/// The product, the static body, and the textbook handler come first.
const OURS: usize = 3;
/// Beyond this 32 pulls of a handler that holds whole answers would not fit into the memory of the machine.
const MOST_AT_ONCE_OF_BASELINES: usize = USUAL_SIZE;
/// Whole answers are compared as JSON up to this size, beyond it by their number of products.
const MOST_COMPARED: usize = USUAL_SIZE;
const MEGABYTE: f64 = 1e6;
const STATIC_BODY: &str = "static body";

/// One contender's pulls in one coding.
struct Pulls<'a> {
    name: &'static str,
    server: &'a Server,
    requests: Vec<Vec<u8>>,
    /// Resident before anybody pulled anything.
    idle: u64,
    times: Vec<f64>,
    growths: Vec<f64>,
    bytes: u64,
    at_once: Option<(Duration, f64)>,
}

/// Expects servers that have just started: memory that was used once stays with a process.
pub async fn run(plan: &Plan, market: &Market, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let products = market.catalogue.products;
    let idle = warm_up(servers).await?;
    compare(servers, products <= MOST_COMPARED).await.context("(e) comparing")?;
    for (gzip, title) in [(false, "whole catalogue, plain"), (true, "whole catalogue, gzip")] {
        let mut all = contenders(servers, gzip, &idle).await?;
        for turn in 0..=plan.pull_rounds {
            for pulls in &mut all {
                pulls.one(turn).await.with_context(|| format!("(e) {}", pulls.name))?;
            }
        }
        let at_once = if products > MOST_AT_ONCE_OF_BASELINES { 1 } else { OURS };
        for pulls in all.iter_mut().take(at_once) {
            pulls.together().await.with_context(|| format!("(e) {}", pulls.name))?;
        }
        let mut section = section(title, products, &all);
        section.note = if at_once == 1 {
            format!("{AT_ONCE} at once: the product alone; the others would need more memory than there is.")
        } else {
            format!("{AT_ONCE} at once: not the other stacks, which take minutes and gigabytes for it.")
        };
        report.add(section);
        if products == USUAL_SIZE {
            judge(report, &all, if gzip { 20.0 } else { 12.0 });
        }
    }
    Ok(())
}

/// What a clinic sees is worked out at its first request: that is not what a pull costs. What is resident then, of each
/// contender.
async fn warm_up(servers: &Servers) -> anyhow::Result<Vec<u64>> {
    for server in servers.readers() {
        let mut connection = Connection::open(server.address).await?;
        for token in servers.tokens.iter().take(PULLERS) {
            connection.json(&get("/products?limit=1", token, false)).await?;
        }
    }
    Ok(contending(servers).map(|(_, server)| server.process().memory().now).collect())
}

/// Everybody, the product first.
fn contending(servers: &Servers) -> impl Iterator<Item = (&'static str, &Server)> {
    let ours = [("product", &servers.product), (STATIC_BODY, &servers.static_body), ("textbook", &servers.textbook)];
    ours.into_iter().chain(servers.stacks.iter().map(|(name, server)| (*name, server)))
}

async fn compare(servers: &Servers, as_json: bool) -> anyhow::Result<()> {
    let request = get("/products", &servers.tokens[0], true);
    let mut right = None;
    for server in servers.readers() {
        let (answer, body) = Connection::open(server.address).await?.fetch(&request).await?;
        ensure!(answer.status == 200 && answer.is_compressed, "{answer:?}");
        let count = memchr::memmem::find_iter(&body, b"\"price_per_unit\":").count();
        let value = if as_json { serde_json::from_slice(&body)? } else { count.into() };
        match &right {
            None => right = Some(value),
            Some(right) => {
                let difference = difference(&value, right, String::new());
                ensure!(difference.is_none(), "not the product's answer: {}", difference.unwrap_or_default());
            }
        }
    }
    Ok(())
}

async fn contenders<'a>(servers: &'a Servers, gzip: bool, idle: &[u64]) -> anyhow::Result<Vec<Pulls<'a>>> {
    let mut all = Vec::new();
    let requests = |target: &str| servers.tokens.iter().take(PULLERS).map(|token| get(target, token, gzip)).collect();
    let answer =
        Connection::open(servers.product.address).await?.ask(&get("/products", &servers.tokens[0], gzip)).await?;
    let static_target = format!("/{}", answer.bytes);
    for ((name, server), idle) in contending(servers).zip(idle) {
        let requests = requests(if name == STATIC_BODY { &static_target } else { "/products" });
        all.push(Pulls {
            name,
            server,
            requests,
            idle: *idle,
            times: Vec::new(),
            growths: Vec::new(),
            bytes: 0,
            at_once: None,
        });
    }
    Ok(all)
}

impl Pulls<'_> {
    /// The first pull warms up: its memory counts, its time does not.
    async fn one(&mut self, turn: usize) -> anyhow::Result<()> {
        self.server.process().forget_peak();
        let mut connection = Connection::open(self.server.address).await?;
        let began = Instant::now();
        let answer = connection.ask(&self.requests[turn % self.requests.len()]).await?;
        let took = began.elapsed();
        ensure!(answer.status == 200, "{answer:?}");
        if turn > 0 {
            self.times.push(took.as_secs_f64() * 1e3);
        }
        self.growths.push(self.growth());
        self.bytes = answer.bytes;
        Ok(())
    }

    async fn together(&mut self) -> anyhow::Result<()> {
        self.server.process().forget_peak();
        let began = Instant::now();
        let asked = self.requests.iter().cycle().take(AT_ONCE).map(async |request| {
            let answer: Answer = Connection::open(self.server.address).await?.ask(request).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        });
        futures_util::future::try_join_all(asked).await?;
        self.at_once = Some((began.elapsed(), self.growth()));
        Ok(())
    }

    /// The peak above what was resident before all, in megabytes.
    fn growth(&self) -> f64 {
        self.server.process().memory().peak.saturating_sub(self.idle) as f64 / MEGABYTE
    }

    fn time(&self) -> Spread {
        Spread::of(self.times.iter().copied())
    }
}

fn ratio(one: &Pulls<'_>, other: &Pulls<'_>) -> Spread {
    Spread::of(one.times.iter().zip(&other.times).map(|(one, other)| other / one))
}

fn section(title: &str, products: usize, all: &[Pulls<'_>]) -> Section {
    let one = |value: f64| Some(Spread::of([value]));
    let row = |pulls: &Pulls<'_>| Row {
        who: pulls.name.to_owned(),
        values: vec![
            Some(pulls.time()),
            one(pulls.bytes as f64 / MEGABYTE),
            Some(Spread::of(pulls.growths.iter().copied())),
            pulls.at_once.and_then(|(took, _)| one(took.as_secs_f64() * 1e3)),
            pulls.at_once.and_then(|(_, growth)| one(growth)),
            Some(ratio(&all[0], pulls)),
        ],
    };
    Section {
        scenario: "e",
        title: title.to_owned(),
        products,
        columns: vec!["ms", "MB sent", "MB memory", "32 at once: ms", "32 at once: MB memory", "product is x times"],
        rows: all.iter().map(row).collect(),
        note: String::new(),
    }
}

fn judge(report: &mut Report, all: &[Pulls<'_>], times: f64) {
    let [product, _, textbook, ..] = all else { return };
    let coding = if times > 12.0 { "compressed" } else { "plain" };
    report.target(
        "e",
        format!("{coding} pull, times faster than the textbook handler"),
        ratio(product, textbook),
        Goal::AtLeast(times),
    );
    let most = product.growths.iter().copied().fold(0.0, f64::max);
    report.target(
        "e",
        format!("{coding}: memory that a pull adds, MB, the most of any"),
        Spread::of([most]),
        Goal::AtMost(8.0),
    );
    if let Some((_, growth)) = product.at_once {
        report.target(
            "e",
            format!("{coding}: memory that {AT_ONCE} at once add, MB"),
            Spread::of([growth]),
            Goal::AtMost(64.0),
        );
    }
}
