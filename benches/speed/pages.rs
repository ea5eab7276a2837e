//! Scenario (k): ezyVet pulls the catalogue in pages, compressed, 32 clinics at a time over kept connections, from page 0
//! until an empty page.
//!
//! Before anything is timed, every page of the product is read, and the products of its pages must add up to those of the
//! whole catalogue. While pulls are timed, status and length of every page must be those of the first reading.
//!
//! The client leaves the kernel's delayed ACKs on: a server without `TCP_NODELAY` waits up to 40 ms for one on every page
//! that it sends in several writes.

use crate::client::{Answer, Connection, get};
use crate::environment::Dataset;
use crate::load::{CheckedRequest, Round, Rounds};
use crate::options::{Plan, USUAL_SIZE};
use crate::reads::{Servers, difference};
use crate::report::{Goal, RATIO, Report, Section};
use crate::server::Server;
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::cell::Cell;
use std::time::Instant;

const PAGE_PRODUCTS: usize = 1_000;
const CONCURRENT_PULLS: usize = 32;
/// The textbook handler does the same work for every clinic, and reading its pages before the rounds takes long.
const TEXTBOOK_CLINICS: usize = 2;
const GOAL: f64 = 50.0;

/// The pages of one clinic in order; the last one is empty.
type Pull = Vec<CheckedRequest>;

/// A server that is pulled from, and the pulls of its clinics.
struct Contender<'a> {
    name: &'static str,
    server: &'a Server,
    pulls: Vec<Pull>,
    pulls_per_round: usize,
}

pub async fn run(plan: &Plan, dataset: &Dataset, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    let contenders = prepare(plan, servers).await?;
    let mut all: Vec<Rounds> =
        contenders.iter().map(|contender| Rounds { name: contender.name, rounds: Vec::new() }).collect();
    for contender in &contenders {
        contender.run(contender.pulls.len()).await.context("warming up")?;
    }
    for _ in 0..plan.page_rounds {
        for (contender, rounds) in contenders.iter().zip(&mut all) {
            rounds.rounds.push(contender.run(contender.pulls_per_round).await?);
        }
    }
    let products = dataset.catalogue.products;
    let title = format!("pull in pages of {PAGE_PRODUCTS}, gzip, {CONCURRENT_PULLS} clinics at a time");
    let mut section = Section::of_rounds("k", title, products, &all);
    section.columns = vec!["pulls/s", "median ms a page", "p99 ms a page", "server us/page", RATIO];
    section.note = format!(
        "A pull of the first clinic has {} pages. A round has {} pulls, of the textbook handler {}.",
        contenders[0].pulls[0].len(),
        plan.page_pulls,
        plan.page_pulls_textbook
    );
    report.add(section);
    if let ([product, _, textbook], true) = (all.as_slice(), products == USUAL_SIZE) {
        let ratio = product.ratio(textbook, |round| round.per_second);
        report.target("k", "rate of pulls in pages, times the textbook handler", ratio, Goal::AtLeast(GOAL));
    }
    Ok(())
}

/// Reads every page once. The textbook handler's pages of one clinic must equal the product's.
async fn prepare<'a>(plan: &Plan, servers: &'a Servers) -> anyhow::Result<Vec<Contender<'a>>> {
    let reading = servers.tokens.iter().take(CONCURRENT_PULLS).map(|token| read_pull(&servers.product, token));
    let product_pulls = futures_util::future::try_join_all(reading).await.context("product")?;
    let mut textbook_pulls = Vec::new();
    for token in servers.tokens.iter().take(TEXTBOOK_CLINICS) {
        textbook_pulls.push(read_pull(&servers.textbook, token).await.context("textbook")?);
    }
    compare(servers, &product_pulls[0], &textbook_pulls[0]).await?;
    let static_pull = |pull: &Pull| -> Pull {
        let page = |page: &CheckedRequest| CheckedRequest {
            request: get(&format!("/{}", page.answer.bytes), "", page.answer.is_compressed),
            answer: page.answer,
        };
        pull.iter().map(page).collect()
    };
    let static_pulls = product_pulls.iter().map(static_pull).collect();
    Ok(vec![
        Contender { name: "product", server: &servers.product, pulls: product_pulls, pulls_per_round: plan.page_pulls },
        Contender {
            name: "static body",
            server: &servers.static_body,
            pulls: static_pulls,
            pulls_per_round: plan.page_pulls,
        },
        Contender {
            name: "textbook",
            server: &servers.textbook,
            pulls: textbook_pulls,
            pulls_per_round: plan.page_pulls_textbook,
        },
    ])
}

/// Reads the pages of one clinic until an empty one. Fails unless each page but the last ones is full and the products of
/// all pages add up to those of the whole catalogue.
async fn read_pull(server: &Server, token: &str) -> anyhow::Result<Pull> {
    let mut connection = Connection::open(server.address).await?;
    let (_, whole) = connection.fetch(&get("/products", token, true)).await?;
    let visible = count_products(&whole);
    ensure!(visible > 0, "the clinic sees no products");
    let (mut pull, mut sum) = (Pull::new(), 0);
    loop {
        let request = get(&format!("/products?limit=[{PAGE_PRODUCTS}]&page=[{}]", pull.len()), token, true);
        let (answer, body) = connection.fetch(&request).await?;
        ensure!(answer.status == 200, "page {}: {answer:?}", pull.len());
        let count = count_products(&body);
        let expected = PAGE_PRODUCTS.min(visible - sum);
        ensure!(count == expected, "page {} has {count} products instead of {expected}", pull.len());
        sum += count;
        pull.push(CheckedRequest { request, answer });
        if count == 0 {
            return Ok(pull);
        }
    }
}

fn count_products(body: &[u8]) -> usize {
    memchr::memmem::find_iter(body, b"\"price_per_unit\":").count()
}

async fn compare(servers: &Servers, product: &Pull, textbook: &Pull) -> anyhow::Result<()> {
    ensure!(product.len() == textbook.len(), "{} pages, textbook {}", product.len(), textbook.len());
    let mut product_connection = Connection::open(servers.product.address).await?;
    let mut textbook_connection = Connection::open(servers.textbook.address).await?;
    for (page, (product, textbook)) in product.iter().zip(textbook).enumerate() {
        let (_, expected): (Answer, Value) = product_connection.json(&product.request).await?;
        let (_, answer) = textbook_connection.json(&textbook.request).await?;
        let difference = difference(&answer, &expected, String::new());
        ensure!(difference.is_none(), "textbook, page {page}: {}", difference.unwrap_or_default());
    }
    Ok(())
}

impl Contender<'_> {
    /// Runs this many pulls. Rates are in pulls, latencies and processor time are of a page.
    async fn run(&self, count: usize) -> anyhow::Result<Round> {
        let process = self.server.process();
        let before = process.processor_time();
        let next = Cell::new(0);
        let mut connections = Vec::new();
        for _ in 0..CONCURRENT_PULLS.min(count) {
            connections.push(Connection::open(self.server.address).await?);
        }
        let began = Instant::now();
        let pulling = connections.into_iter().map(async |mut connection| {
            let mut latencies = Vec::new();
            while next.get() < count {
                let pull = &self.pulls[next.replace(next.get() + 1) % self.pulls.len()];
                for page in pull {
                    let asked = Instant::now();
                    page.send(&mut connection).await?;
                    latencies.push(asked.elapsed());
                }
            }
            anyhow::Ok(latencies)
        });
        let latencies = futures_util::future::try_join_all(pulling).await.with_context(|| self.name)?.concat();
        let took = began.elapsed();
        let round = Round::new(latencies, took, Some(process.processor_time() - before));
        Ok(Round { per_second: count as f64 / took.as_secs_f64(), ..round })
    }
}
