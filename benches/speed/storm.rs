//! Scenario (f): the nightly storm. Every clinic pulls its half of the catalogue, compressed, 32 at a time. Meanwhile a
//! search is sent every 10 ms, even if earlier searches have no answer yet, and orders arrive.

use crate::client::{Connection, get};
use crate::data::{SECRET, number};
use crate::environment::{self, Dataset, Environment};
use crate::load::quantile;
use crate::options::{Plan, USUAL_SIZE};
use crate::orders::{self, Template};
use crate::queries;
use crate::reads::Servers;
use crate::report::{Goal, Report, Row, Section};
use crate::server::{Memory, Server};
use crate::statistics::Spread;
use anyhow::{Context as _, ensure};
use spsi_partner::secret::{Hashed, Plain};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CONCURRENT_PULLS: usize = 32;
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);
const SEARCH_CLIENTS: usize = 32;
const ORDER_INTERVAL: Duration = Duration::from_millis(250);
const ORDER_CLIENTS: usize = 8;
/// Ids from here on distinguish the storm's orders from those of other scenarios.
const FIRST_ORDER: u64 = 5_000_000_000;
const ORDERS_OF_A_ROUND: u64 = 1_000_000;

/// Inserts the storm's clinics into both databases: half of the categories each, a price list, and prices of their own for
/// 300 to 1,300 products. Uses SQL, because the scenario does not measure half a million rows of prices.
pub async fn prepare(plan: &Plan, environment: &Environment, dataset: &Dataset) -> anyhow::Result<Vec<String>> {
    let hash = Hashed::of(&Plain::new(SECRET))?;
    let ids: Vec<String> = (0..plan.storm_clinics).map(|index| format!("storm-clinic-{index:04}")).collect();
    for database in [&dataset.database, &dataset.copy] {
        let pool = environment.pool(database).await?;
        let mut transaction = pool.begin().await?;
        for (index, client_id) in ids.iter().enumerate() {
            let clinic: i64 = sqlx::query_scalar(
                "insert into clinic (name, client_id, secret_hash, price_list_id, only_categories, restricted_licence, created_at)
                 values ($1, $1, $2, (select id from price_list where name = $3), $4, true, now()) returning id",
            )
            .bind(client_id)
            .bind(hash.as_str())
            .bind(crate::data::list_name(index % 10 + 1))
            .bind(dataset.catalogue.half_of_the_categories(index))
            .fetch_one(&mut *transaction)
            .await?;
            sqlx::query(
                "insert into clinic_price (clinic_id, product_id, contract_price)
                 select $1, p.id, round(p.list_price * (70 + n % 26) / 100, 2)
                 from generate_series(1, $2) n join product p on p.id = 1 + ($3 + n * 7919) % $4
                 where p.list_price is not null on conflict do nothing",
            )
            .bind(clinic)
            .bind(300 + (number(30, index as u64) % 1_000) as i64)
            .bind((number(31, index as u64) % 1_000_000_007) as i64)
            .bind(dataset.catalogue.products as i64)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("update data_version set value = value + 1 where name = 'catalog'")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        sqlx::raw_sql("analyze clinic_price").execute(&pool).await?;
        pool.close().await;
    }
    Ok(ids)
}

/// The measurements of one storm over one server.
struct Storm {
    pulls: usize,
    took: Duration,
    /// Average of a pull.
    bytes: u64,
    searches: Vec<Duration>,
    orders: Vec<Duration>,
    memory: Memory,
    /// Resident bytes before the storm.
    idle: u64,
}

pub async fn run(
    plan: &Plan,
    dataset: &Dataset,
    servers: &Servers,
    ids: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    let tokens = environment::tokens(&servers.product, ids).await?;
    let pulls: Arc<[Vec<u8>]> = tokens.iter().map(|token| get("/products", token, true)).collect();
    let visible = compare(servers, &pulls).await?;
    let templates = orders::templates(servers).await?;
    let searches = queries::search(&dataset.catalogue).queries;
    let searches: Arc<[Vec<u8>]> = searches
        .iter()
        .map(|query| get(&format!("/products?{}", query.text), &servers.tokens[query.clinic], false))
        .collect();
    let fewer: Arc<[Vec<u8>]> = pulls.iter().take(plan.storm_textbook).cloned().collect();
    let (mut product, mut textbook) = (Vec::new(), Vec::new());
    for round in 0..plan.storm_rounds {
        product.push(run_storm(&servers.product, round, &pulls, &searches, &templates).await.context("product")?);
        textbook.push(run_storm(&servers.textbook, round, &fewer, &searches, &[]).await.context("textbook")?);
    }
    let ratio = |storms: &[Storm]| {
        Spread::of(storms.iter().zip(&product).map(|(one, product)| one.per_pull() / product.per_pull()))
    };
    let row = |who: &str, storms: &[Storm]| {
        let spread = |of: &dyn Fn(&Storm) -> f64| Some(Spread::of(storms.iter().map(of)));
        let orders = |share: f64| {
            storms.iter().all(|storm| !storm.orders.is_empty()).then(|| spread(&|storm| quantile(&storm.orders, share)))
        };
        let values = vec![
            spread(&|storm| storm.pulls as f64),
            spread(&|storm| storm.took.as_secs_f64()),
            spread(&|storm| storm.per_pull() * 1e3),
            spread(&|storm| storm.bytes as f64 / 1e6),
            spread(&|storm| quantile(&storm.searches, 0.5)),
            spread(&|storm| quantile(&storm.searches, 0.99)),
            orders(0.5).flatten(),
            orders(0.99).flatten(),
            spread(&|storm| storm.memory.peak as f64 / 1e6),
            spread(&|storm| storm.memory.peak.saturating_sub(storm.idle) as f64 / 1e6),
            Some(ratio(storms)),
        ];
        Row { who: who.to_owned(), values }
    };
    report.add(Section {
        scenario: "f",
        title: format!("nightly storm: {} clinics pull {visible} products each on average, gzip, {CONCURRENT_PULLS} at a time", plan.storm_clinics),
        products: dataset.catalogue.products,
        columns: vec![
            "pulls", "s", "ms a pull", "MB sent a pull", "search median ms", "search p99 ms", "order median ms", "order p99 ms",
            "peak MB memory", "MB above idle", "product is x times",
        ],
        rows: vec![row("product", &product), row("textbook", &textbook)],
        note: format!(
            "Meanwhile a search every {SEARCH_INTERVAL:?} and, on the product alone, an order of ten lines every {ORDER_INTERVAL:?}. \
             The textbook handler runs {} of the pulls and is compared by the time of one.",
            plan.storm_textbook.min(plan.storm_clinics)
        ),
    });
    if dataset.catalogue.products == USUAL_SIZE {
        report.target("f", "storm, times faster than the textbook handler", ratio(&textbook), Goal::AtLeast(15.0));
        let p99 = Spread::of(product.iter().map(|storm| quantile(&storm.searches, 0.99)));
        report.target("f", "search p99 meanwhile, ms", p99, Goal::AtMost(20.0));
    }
    Ok(())
}

impl Storm {
    /// Returns seconds.
    fn per_pull(&self) -> f64 {
        self.took.as_secs_f64() / self.pulls as f64
    }
}

/// Fails unless both servers give the first clinic the same answer. Returns how many products the first ten clinics see on
/// average.
async fn compare(servers: &Servers, pulls: &[Vec<u8>]) -> anyhow::Result<usize> {
    let (_, expected) = Connection::open(servers.product.address).await?.json(&pulls[0]).await?;
    let (_, other) = Connection::open(servers.textbook.address).await?.json(&pulls[0]).await?;
    let difference = crate::reads::difference(&other, &expected, String::new());
    ensure!(difference.is_none(), "textbook: {}", difference.unwrap_or_default());
    let (mut connection, mut visible) = (Connection::open(servers.product.address).await?, 0);
    let asked = &pulls[..pulls.len().min(10)];
    for pull in asked {
        let (_, body) = connection.fetch(pull).await?;
        visible += memchr::memmem::find_iter(&body, b"\"price_per_unit\":").count();
    }
    Ok(visible / asked.len())
}

/// Runs one storm. Searches and orders are sent from threads of their own, so that reading the pulls does not delay them.
async fn run_storm(
    server: &Server,
    round: usize,
    pulls: &Arc<[Vec<u8>]>,
    searches: &Arc<[Vec<u8>]>,
    templates: &[Template],
) -> anyhow::Result<Storm> {
    let process = server.process();
    process.reset_peak();
    let idle = process.memory().now;
    let is_over = Arc::new(AtomicBool::new(false));
    let address = server.address;
    let first_order = FIRST_ORDER + round as u64 * ORDERS_OF_A_ROUND;
    let searching = {
        let (is_over, searches) = (Arc::clone(&is_over), Arc::clone(searches));
        let nth = move |index: usize| searches[index % searches.len()].clone();
        std::thread::spawn(move || open_loop(address, SEARCH_CLIENTS, SEARCH_INTERVAL, &is_over, nth))
    };
    let ordering = (!templates.is_empty()).then(|| {
        let (is_over, templates) = (Arc::clone(&is_over), templates.to_vec());
        let nth = move |index: usize| {
            let mut template = templates[index % templates.len()].clone();
            template.with_id(first_order + index as u64).to_vec()
        };
        std::thread::spawn(move || open_loop(address, ORDER_CLIENTS, ORDER_INTERVAL, &is_over, nth))
    });
    let began = Instant::now();
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let pulling = (0..CONCURRENT_PULLS).map(async |_| {
        let mut connection = Connection::open(address).await?;
        while let Some(request) = pulls.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = connection.ask(request).await?;
            ensure!(answer.status == 200 && answer.is_compressed, "{answer:?}");
            bytes.fetch_add(answer.bytes as usize, Ordering::Relaxed);
        }
        Ok(())
    });
    let pulled = futures_util::future::try_join_all(pulling).await;
    let took = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let ended = |thread: std::thread::JoinHandle<anyhow::Result<Vec<Duration>>>| {
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the load panicked")))
    };
    let searches = ended(searching).context("searches")?;
    let orders = ordering.map_or(Ok(Vec::new()), ended).context("orders")?;
    pulled?;
    let bytes = bytes.into_inner() as u64 / pulls.len() as u64;
    Ok(Storm { pulls: pulls.len(), took, bytes, searches, orders, memory: process.memory(), idle })
}

/// Open-loop load: sends a request every `every` until `is_over`. The latency of a request counts from the time it was due,
/// even if no connection was free then.
#[tokio::main(flavor = "current_thread")]
async fn open_loop(
    address: SocketAddr,
    connections: usize,
    every: Duration,
    is_over: &AtomicBool,
    nth: impl Fn(usize) -> Vec<u8>,
) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let asking = (0..connections).map(async |first| {
        let mut connection = Connection::open(address).await?;
        let mut latencies = Vec::new();
        for index in (first..).step_by(connections) {
            let due = began + every * index as u32;
            let is_late = Instant::now() > due;
            tokio::time::sleep_until(due.into()).await;
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            // A timer that fires late does not count against the server.
            let from = if is_late { due } else { Instant::now() };
            let request = nth(index);
            let answer = connection.ask(&request).await?;
            ensure!(answer.status == 200, "{answer:?}");
            latencies.push(from.elapsed());
        }
        anyhow::Ok(latencies)
    });
    let mut all = futures_util::future::try_join_all(asking).await?.concat();
    all.sort_unstable();
    Ok(all)
}
