//! Measures the cost of deliveries, the use of ezyVet's rate limits, and fair scheduling between sites: the real worker on a
//! durable Postgres of its own, with sites on the loopback that answer at once. Run: `cargo bench --bench deliveries`; with
//! `SPSI_BENCH=short` in less than a minute. Prints a table, and each figure as a line of JSON.
//!
//! The baselines are measured in the same run, on the same rows: (1) two statements that begin and settle a thousand
//! deliveries together; (2) two statements for each delivery, eight at a time, which is the minimum for a begin and a
//! settlement that survive a crash.

mod ezyvet;
mod supplier;

use ezyvet::Ezyvet;
use spsi_partner::sandbox::rate::Limits;
use std::time::{Duration, Instant};
use supplier::Supplier;

/// Rate limits that are never reached.
const UNLIMITED: [&str; 6] = ["--rate-per-endpoint", "1000000", "--rate-per-site", "1000000", "--calls-at-once", "8"];

struct Size {
    sites: i64,
    history: i64,
    /// Calls of one endpoint that a site permits per window.
    permitted: u32,
    window: Duration,
    tries: u64,
}

const FULL: Size =
    Size { sites: 10_000, history: 1_000_000, permitted: 30, window: Duration::from_secs(100), tries: 20 };
const SHORT: Size = Size { sites: 1_000, history: 50_000, permitted: 3, window: Duration::from_secs(10), tries: 10 };
/// Sites that always have work.
const BUSY: i64 = 1_000;

fn report(what: &str, value: f64, unit: &str) {
    println!("  {what:<74} {value:>10.2} {unit}");
    println!("{}", serde_json::json!({ "bench": "deliveries", "what": what, "value": value, "unit": unit }));
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

/// Delivers a thousand invoices of ten sites three times. Returns the shortest time.
async fn deliver_thousand(supplier: &Supplier, ezyvet: &Ezyvet) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        ezyvet.reset(Limits { per_endpoint: u32::MAX, per_site: u32::MAX, window: 60_000 });
        supplier.enqueue(1..=10, 100).await;
        best = best.min(supplier.drain(&UNLIMITED, ezyvet, 1_000).await);
    }
    best
}

const BEGIN: &str = "with d as (update delivery set state = 'sending', attempts = attempts + 1, changed_at = now()
                               where id = any($1) returning id)
                     insert into delivery_attempt (delivery_id, purpose, started_at, request)
                     select id, 'send', now(), repeat('curl ', 250) from d";
const SETTLE: &str = "with a as (update delivery_attempt set finished_at = now(), status = 200, response = '{}',
                                 outcome = 'done', detail = 'done' where delivery_id = any($1) and finished_at is null)
                      update delivery set state = 'delivered', due_at = now() + interval '1 day', changed_at = now(),
                             delivered_at = now() where id = any($1)";

async fn insert_waiting(supplier: &Supplier) -> Vec<i64> {
    supplier.enqueue(1..=10, 100).await;
    let ids = "select id from delivery where state = 'waiting' order by id";
    sqlx::query_scalar(ids).fetch_all(&supplier.pool).await.expect("ids")
}

/// Settles the same rows by plain SQL. Returns the time of two statements for all, and of two statements for each.
async fn measure_baselines(supplier: &Supplier) -> (Duration, Duration) {
    let (mut at_once, mut one_by_one) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let ids = insert_waiting(supplier).await;
        let began = Instant::now();
        for statement in [BEGIN, SETTLE] {
            sqlx::query(statement).bind(&ids).execute(&supplier.pool).await.expect("done");
        }
        at_once = at_once.min(began.elapsed());
        let ids = insert_waiting(supplier).await;
        let began = Instant::now();
        let chunks = ids.chunks(ids.len() / 8).map(|chunk| async move {
            for id in chunk {
                for statement in [BEGIN, SETTLE] {
                    sqlx::query(statement).bind([*id].as_slice()).execute(&supplier.pool).await.expect("done");
                }
            }
        });
        futures_util::future::join_all(chunks).await;
        one_by_one = one_by_one.min(began.elapsed());
    }
    (at_once, one_by_one)
}

/// Ships once at each of `tries` idle sites. Returns the milliseconds until each first call, sorted.
async fn measure_starts(supplier: &Supplier, ezyvet: &Ezyvet, first: i64, tries: u64) -> Vec<f64> {
    let mut took = Vec::new();
    for site in first..first + tries as i64 {
        let began = Instant::now();
        supplier.enqueue(site..=site, 1).await;
        let arrived = loop {
            if let Some(at) = ezyvet.first_call(site as u64) {
                break at;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "site {site} is not served within a minute");
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        took.push(milliseconds(arrived.saturating_duration_since(began)));
    }
    took.sort_by(f64::total_cmp);
    took
}

fn report_starts(where_from: &str, took: &[f64]) {
    report(&format!("{where_from}: a new delivery starts, p50"), took[took.len() / 2], "ms");
    report(&format!("{where_from}: a new delivery starts, longest"), took[took.len() - 1], "ms");
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let short = std::env::var("SPSI_BENCH").is_ok_and(|mode| mode == "short");
    let size = if short { SHORT } else { FULL };
    let ezyvet = Ezyvet::start();
    let idle = 3 * size.tries as i64;
    let sites = size.sites.max(BUSY) + idle;
    let supplier = Supplier::with_sites(&ezyvet.url, sites).await;

    println!("Cost of 1,000 deliveries of 10 sites, leased, sent and settled");
    let _warm = deliver_thousand(&supplier, &ezyvet).await;
    let empty = deliver_thousand(&supplier, &ezyvet).await;
    let (at_once, one_by_one) = measure_baselines(&supplier).await;
    report("by the worker", milliseconds(empty), "ms");
    report("the same rows in two statements for all", milliseconds(at_once), "ms");
    report("the same rows in two statements for each, eight at a time", milliseconds(one_by_one), "ms");
    report("the worker to two statements for each", empty.as_secs_f64() / one_by_one.as_secs_f64(), "times");

    println!("One delivery at each of {} sites", size.sites);
    ezyvet.reset(Limits { per_endpoint: u32::MAX, per_site: u32::MAX, window: 60_000 });
    supplier.enqueue(1..=size.sites, 1).await;
    let spread = supplier.drain(&UNLIMITED, &ezyvet, size.sites as u64).await;
    report("deliveries a second", size.sites as f64 / spread.as_secs_f64(), "1/s");
    let per_delivery = spread.as_secs_f64() * 1_000.0 / size.sites as f64;
    report("a delivery that is alone at its site to one that is not", per_delivery / empty.as_secs_f64(), "times");

    println!("{BUSY} sites with work all the time, {} calls in {} s permitted", size.permitted, size.window.as_secs());
    let (permitted, window) = (size.permitted.to_string(), format!("{}s", size.window.as_secs()));
    let flags = ["--rate-per-endpoint", &permitted, "--rate-per-site", "1000000", "--rate-window", &window];
    ezyvet.reset(Limits { per_endpoint: size.permitted, per_site: u32::MAX, window: size.window.as_millis() as i64 });
    supplier.run("update site_lease set budget = '{}', lease_until = null, not_before = null").await;
    supplier.enqueue(1..=BUSY, i64::from(size.permitted) * 3 + 2).await;
    let working = supplier.work(&flags).await;
    tokio::time::sleep(size.window).await;
    let (before, began) = (ezyvet.calls().0, Instant::now());
    let all_busy = measure_starts(&supplier, &ezyvet, sites - idle + 1, size.tries).await;
    tokio::time::sleep(size.window.saturating_sub(began.elapsed())).await;
    let (after, refused) = ezyvet.calls();
    let windows = began.elapsed().as_secs_f64() / size.window.as_secs_f64();
    working.stop().await;
    let share = (after - before - size.tries) as f64 * 100.0 / (BUSY as f64 * f64::from(size.permitted) * windows);
    report("share of the permitted calls that was used", share, "%");
    report("calls that ezyVet refused (429)", refused as f64, "");
    report_starts("all of them busy", &all_busy);
    supplier.run("update delivery set state = 'cancelled', due_at = null where state <> 'delivered'").await;

    println!("One site with a backlog of 10,000");
    ezyvet.reset(Limits { per_endpoint: 60, per_site: 180, window: 60_000 });
    supplier.run("update site_lease set budget = '{}', lease_until = null, not_before = null").await;
    supplier.enqueue(1..=1, 10_000).await;
    let working = supplier.work(&[]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let one_busy = measure_starts(&supplier, &ezyvet, sites - 2 * size.tries as i64 + 1, size.tries).await;
    working.stop().await;
    report_starts("one backlog of 10,000", &one_busy);
    supplier.run("update delivery set state = 'cancelled', due_at = null where state <> 'delivered'").await;

    println!("With a history of {} deliveries that are done", size.history);
    supplier.add_history(size.history, size.sites).await;
    let full = deliver_thousand(&supplier, &ezyvet).await;
    report("1,000 deliveries by the worker", milliseconds(full), "ms");
    report("with that history to without", full.as_secs_f64() / empty.as_secs_f64(), "times");
    supplier.close().await;
    let (grows, good) = (full.as_secs_f64() / empty.as_secs_f64(), share >= 95.0 && refused == 0);
    if !good || grows > 2.0 || all_busy.iter().chain(&one_busy).any(|took| *took > 1_000.0) {
        eprintln!(
            "a figure misses its aim: 95 % used, no 429, a start within a second, history at no more than twice the cost"
        );
        std::process::exit(1);
    }
}
