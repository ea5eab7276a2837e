//! Scenario (e): the whole catalogue in one answer, plain and compressed: time, bytes, and the memory that a pull adds.

use crate::client::{Answer, Connection, get};
use crate::environment::Dataset;
use crate::options::{Plan, USUAL_SIZE};
use crate::reads::{Servers, difference};
use crate::report::{Goal, Report, Row, Section};
use crate::server::Server;
use crate::statistics::Spread;
use anyhow::{Context as _, ensure};
use std::time::{Duration, Instant};

/// Clinics that take turns.
const PULLERS: usize = 16;
const CONCURRENT: usize = 32;
/// The product, the static body, and the textbook handler: all contenders but the other stacks.
const WITHOUT_STACKS: usize = 3;
/// Above this size, 32 concurrent pulls of a handler that holds whole answers would exceed the machine's memory.
const MAX_PRODUCTS_FOR_CONCURRENT_BASELINES: usize = USUAL_SIZE;
/// Above this size, answers are compared by their number of products.
const MAX_PRODUCTS_COMPARED_AS_JSON: usize = USUAL_SIZE;
const MEGABYTE: f64 = 1e6;
const STATIC_BODY: &str = "static body";

/// One contender's pulls in one coding.
struct Pulls<'a> {
    name: &'static str,
    server: &'a Server,
    requests: Vec<Vec<u8>>,
    /// Resident bytes before the first pull of any contender.
    idle: u64,
    /// Milliseconds.
    times: Vec<f64>,
    /// Megabytes that each pull added at its peak.
    growths: Vec<f64>,
    bytes: u64,
    /// Duration of the concurrent pulls, and megabytes that they added.
    concurrent: Option<(Duration, f64)>,
}

/// The servers must have started just before: a process keeps memory that it used once.
pub async fn run(plan: &Plan, dataset: &Dataset, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let products = dataset.catalogue.products;
    let idle = warm_up(servers).await?;
    compare(servers, products <= MAX_PRODUCTS_COMPARED_AS_JSON).await.context("(e) comparing")?;
    for (gzip, title) in [(false, "whole catalogue, plain"), (true, "whole catalogue, gzip")] {
        let mut all = contenders(servers, gzip, &idle).await?;
        for round in 0..=plan.pull_rounds {
            for pulls in &mut all {
                pulls.pull_once(round).await.with_context(|| format!("(e) {}", pulls.name))?;
            }
        }
        let concurrent = if products > MAX_PRODUCTS_FOR_CONCURRENT_BASELINES { 1 } else { WITHOUT_STACKS };
        for pulls in all.iter_mut().take(concurrent) {
            pulls.pull_concurrently().await.with_context(|| format!("(e) {}", pulls.name))?;
        }
        let mut section = section(title, products, &all);
        section.note = if concurrent == 1 {
            format!("{CONCURRENT} at once: the product only; the others would need more memory than the machine has.")
        } else {
            format!("{CONCURRENT} at once: without the other stacks, which would take minutes and gigabytes.")
        };
        report.add(section);
        if products == USUAL_SIZE {
            judge(report, &all, if gzip { 20.0 } else { 12.0 });
        }
    }
    Ok(())
}

/// Sends each clinic's first request, which costs more than later ones because the server derives what the clinic sees.
/// Returns the resident bytes of each contender afterwards.
async fn warm_up(servers: &Servers) -> anyhow::Result<Vec<u64>> {
    for server in servers.readers() {
        let mut connection = Connection::open(server.address).await?;
        for token in servers.tokens.iter().take(PULLERS) {
            connection.json(&get("/products?limit=1", token, false)).await?;
        }
    }
    Ok(named_servers(servers).map(|(_, server)| server.process().memory().now).collect())
}

/// Returns all servers with their names, the product first.
fn named_servers(servers: &Servers) -> impl Iterator<Item = (&'static str, &Server)> {
    let own = [("product", &servers.product), (STATIC_BODY, &servers.static_body), ("textbook", &servers.textbook)];
    own.into_iter().chain(servers.stacks.iter().map(|(name, server)| (*name, server)))
}

async fn compare(servers: &Servers, as_json: bool) -> anyhow::Result<()> {
    let request = get("/products", &servers.tokens[0], true);
    let mut expected = None;
    for server in servers.readers() {
        let (answer, body) = Connection::open(server.address).await?.fetch(&request).await?;
        ensure!(answer.status == 200 && answer.is_compressed, "{answer:?}");
        let count = memchr::memmem::find_iter(&body, b"\"price_per_unit\":").count();
        let value = if as_json { serde_json::from_slice(&body)? } else { count.into() };
        match &expected {
            None => expected = Some(value),
            Some(expected) => {
                let difference = difference(&value, expected, String::new());
                ensure!(
                    difference.is_none(),
                    "the answer differs from the product's: {}",
                    difference.unwrap_or_default()
                );
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
    for ((name, server), idle) in named_servers(servers).zip(idle) {
        let requests = requests(if name == STATIC_BODY { &static_target } else { "/products" });
        all.push(Pulls {
            name,
            server,
            requests,
            idle: *idle,
            times: Vec::new(),
            growths: Vec::new(),
            bytes: 0,
            concurrent: None,
        });
    }
    Ok(all)
}

impl Pulls<'_> {
    /// Round 0 warms up: its memory counts, its time does not.
    async fn pull_once(&mut self, round: usize) -> anyhow::Result<()> {
        self.server.process().reset_peak();
        let mut connection = Connection::open(self.server.address).await?;
        let began = Instant::now();
        let answer = connection.ask(&self.requests[round % self.requests.len()]).await?;
        let took = began.elapsed();
        ensure!(answer.status == 200, "{answer:?}");
        if round > 0 {
            self.times.push(took.as_secs_f64() * 1e3);
        }
        self.growths.push(self.growth());
        self.bytes = answer.bytes;
        Ok(())
    }

    async fn pull_concurrently(&mut self) -> anyhow::Result<()> {
        self.server.process().reset_peak();
        let began = Instant::now();
        let asked = self.requests.iter().cycle().take(CONCURRENT).map(async |request| {
            let answer: Answer = Connection::open(self.server.address).await?.ask(request).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        });
        futures_util::future::try_join_all(asked).await?;
        self.concurrent = Some((began.elapsed(), self.growth()));
        Ok(())
    }

    /// Returns the peak above `idle` in megabytes.
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
            pulls.concurrent.and_then(|(took, _)| one(took.as_secs_f64() * 1e3)),
            pulls.concurrent.and_then(|(_, growth)| one(growth)),
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
    let max = product.growths.iter().copied().fold(0.0, f64::max);
    report.target(
        "e",
        format!("{coding}: memory that a pull adds, MB, largest of all pulls"),
        Spread::of([max]),
        Goal::AtMost(8.0),
    );
    if let Some((_, growth)) = product.concurrent {
        report.target(
            "e",
            format!("{coding}: memory that {CONCURRENT} concurrent pulls add, MB"),
            Spread::of([growth]),
            Goal::AtMost(64.0),
        );
    }
}
