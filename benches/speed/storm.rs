//! Scenario (f): the nightly storm. Every clinic pulls its half of the catalogue, compressed, 32 at a time, while staff
//! search (one every 10 ms, whether or not the one before has its answer) and orders come in.

use crate::client::{Connection, get};
use crate::data::{SECRET, number};
use crate::load::quantile;
use crate::options::{Plan, USUAL_SIZE};
use crate::orders::{self, Template};
use crate::queries;
use crate::reads::Servers;
use crate::report::{Goal, Report, Row, Section};
use crate::server::{Memory, Server};
use crate::spread::Spread;
use crate::stage::{self, Market, Stage};
use anyhow::{Context as _, ensure};
use spsi_partner::secret::{Hashed, Plain};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const AT_ONCE: usize = 32;
const SEARCH_EVERY: Duration = Duration::from_millis(10);
const SEARCHERS: usize = 32;
const ORDER_EVERY: Duration = Duration::from_millis(250);
const BUYERS: usize = 8;
/// Orders of the storm are told from others by their ids.
const FIRST_ORDER: u64 = 5_000_000_000;
const ORDERS_OF_A_ROUND: u64 = 1_000_000;

/// Clinics of the storm, in both databases: half of the categories each, a price list, and prices of their own at some
/// 300 to 1,300 products. By SQL: half a million rows of prices are not what is measured.
pub async fn prepare(plan: &Plan, stage: &Stage, market: &Market) -> anyhow::Result<Vec<String>> {
    let hash = Hashed::of(&Plain::new(SECRET))?;
    let ids: Vec<String> = (0..plan.storm_clinics).map(|place| format!("storm-clinic-{place:04}")).collect();
    for database in [&market.database, &market.copy] {
        let pool = stage.pool(database).await?;
        let mut transaction = pool.begin().await?;
        for (place, client_id) in ids.iter().enumerate() {
            let clinic: i64 = sqlx::query_scalar(
                "insert into clinic (name, client_id, secret_hash, price_list_id, only_categories, restricted_licence, created_at)
                 values ($1, $1, $2, (select id from price_list where name = $3), $4, true, now()) returning id",
            )
            .bind(client_id)
            .bind(hash.as_str())
            .bind(crate::data::list_name(place % 10 + 1))
            .bind(market.catalogue.half_of_the_categories(place))
            .fetch_one(&mut *transaction)
            .await?;
            sqlx::query(
                "insert into clinic_price (clinic_id, product_id, contract_price)
                 select $1, p.id, round(p.list_price * (70 + n % 26) / 100, 2)
                 from generate_series(1, $2) n join product p on p.id = 1 + ($3 + n * 7919) % $4
                 where p.list_price is not null on conflict do nothing",
            )
            .bind(clinic)
            .bind(300 + (number(30, place as u64) % 1_000) as i64)
            .bind((number(31, place as u64) % 1_000_000_007) as i64)
            .bind(market.catalogue.products as i64)
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

/// One storm over one server.
struct Storm {
    pulls: usize,
    took: Duration,
    /// Of a pull, on average.
    bytes: u64,
    searches: Vec<Duration>,
    orders: Vec<Duration>,
    memory: Memory,
    idle: u64,
}

pub async fn run(
    plan: &Plan,
    market: &Market,
    servers: &Servers,
    ids: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    let tokens = stage::tokens(&servers.product, ids).await?;
    let pulls: Arc<[Vec<u8>]> = tokens.iter().map(|token| get("/products", token, true)).collect();
    let seen = compare(servers, &pulls).await?;
    let templates = orders::templates(servers).await?;
    let searches = queries::search(&market.catalogue).queries;
    let searches: Arc<[Vec<u8>]> = searches
        .iter()
        .map(|query| get(&format!("/products?{}", query.text), &servers.tokens[query.clinic], false))
        .collect();
    let fewer: Arc<[Vec<u8>]> = pulls.iter().take(plan.storm_textbook).cloned().collect();
    let (mut product, mut textbook) = (Vec::new(), Vec::new());
    for round in 0..plan.storm_rounds {
        product.push(weather(&servers.product, round, &pulls, &searches, &templates).await.context("product")?);
        textbook.push(weather(&servers.textbook, round, &fewer, &searches, &[]).await.context("textbook")?);
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
        title: format!("nightly storm: {} clinics pull {seen} products each on average, gzip, {AT_ONCE} at a time", plan.storm_clinics),
        products: market.catalogue.products,
        columns: vec![
            "pulls", "s", "ms a pull", "MB sent a pull", "search median ms", "search p99 ms", "order median ms", "order p99 ms",
            "peak MB memory", "MB above idle", "product is x times",
        ],
        rows: vec![row("product", &product), row("textbook", &textbook)],
        note: format!(
            "Meanwhile a search every {SEARCH_EVERY:?} and, on the product alone, an order of ten lines every {ORDER_EVERY:?}. \
             The textbook handler runs {} of the pulls and is compared by the time of one.",
            plan.storm_textbook.min(plan.storm_clinics)
        ),
    });
    if market.catalogue.products == USUAL_SIZE {
        report.target("f", "storm, times faster than the textbook handler", ratio(&textbook), Goal::AtLeast(15.0));
        let p99 = Spread::of(product.iter().map(|storm| quantile(&storm.searches, 0.99)));
        report.target("f", "search p99 meanwhile, ms", p99, Goal::AtMost(20.0));
    }
    Ok(())
}

impl Storm {
    /// Seconds.
    fn per_pull(&self) -> f64 {
        self.took.as_secs_f64() / self.pulls as f64
    }
}

/// The first clinic's answer must be the same from both; how many products the first ten see on average.
async fn compare(servers: &Servers, pulls: &[Vec<u8>]) -> anyhow::Result<usize> {
    let (_, right) = Connection::open(servers.product.address).await?.json(&pulls[0]).await?;
    let (_, other) = Connection::open(servers.textbook.address).await?.json(&pulls[0]).await?;
    let difference = crate::reads::difference(&other, &right, String::new());
    ensure!(difference.is_none(), "textbook: {}", difference.unwrap_or_default());
    let (mut connection, mut seen) = (Connection::open(servers.product.address).await?, 0);
    let asked = &pulls[..pulls.len().min(10)];
    for pull in asked {
        let (_, body) = connection.fetch(pull).await?;
        seen += memchr::memmem::find_iter(&body, b"\"price_per_unit\":").count();
    }
    Ok(seen / asked.len())
}

/// Searches and orders have threads of their own, so that the client does not slow itself.
async fn weather(
    server: &Server,
    round: usize,
    pulls: &Arc<[Vec<u8>]>,
    searches: &Arc<[Vec<u8>]>,
    templates: &[Template],
) -> anyhow::Result<Storm> {
    let process = server.process();
    process.forget_peak();
    let idle = process.memory().now;
    let over = Arc::new(AtomicBool::new(false));
    let address = server.address;
    let first_order = FIRST_ORDER + round as u64 * ORDERS_OF_A_ROUND;
    let searching = {
        let (over, searches) = (Arc::clone(&over), Arc::clone(searches));
        let nth = move |turn: usize| searches[turn % searches.len()].clone();
        std::thread::spawn(move || open_loop(address, SEARCHERS, SEARCH_EVERY, &over, nth))
    };
    let ordering = (!templates.is_empty()).then(|| {
        let (over, templates) = (Arc::clone(&over), templates.to_vec());
        let nth = move |turn: usize| {
            let mut template = templates[turn % templates.len()].clone();
            template.fill(first_order + turn as u64).to_vec()
        };
        std::thread::spawn(move || open_loop(address, BUYERS, ORDER_EVERY, &over, nth))
    });
    let began = Instant::now();
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let pulling = (0..AT_ONCE).map(async |_| {
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
    over.store(true, Ordering::Relaxed);
    let ended = |thread: std::thread::JoinHandle<anyhow::Result<Vec<Duration>>>| {
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the load ended by itself")))
    };
    let searches = ended(searching).context("searches")?;
    let orders = ordering.map_or(Ok(Vec::new()), ended).context("orders")?;
    pulled?;
    let bytes = bytes.into_inner() as u64 / pulls.len() as u64;
    Ok(Storm { pulls: pulls.len(), took, bytes, searches, orders, memory: process.memory(), idle })
}

/// Requests at their times, until it is over. A request that has to wait for a free connection has waited since its time.
#[tokio::main(flavor = "current_thread")]
async fn open_loop(
    address: SocketAddr,
    connections: usize,
    every: Duration,
    over: &AtomicBool,
    nth: impl Fn(usize) -> Vec<u8>,
) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let asking = (0..connections).map(async |first| {
        let mut connection = Connection::open(address).await?;
        let mut latencies = Vec::new();
        for turn in (first..).step_by(connections) {
            let due = began + every * turn as u32;
            let late = Instant::now() > due;
            tokio::time::sleep_until(due.into()).await;
            if over.load(Ordering::Relaxed) {
                break;
            }
            // A timer that rings late is not the server's fault.
            let from = if late { due } else { Instant::now() };
            let request = nth(turn);
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
