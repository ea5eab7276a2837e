//! Scenario (l): a supplier's system lists all orders through `/staff/v1/orders`, page by page, over one connection. Runs on
//! the orders that (g) has stored. The baseline is the usual way to page, `offset`, as one statement over sqlx that lets
//! Postgres write the JSON, without HTTP.

use crate::client::{Connection, get};
use crate::environment::{Dataset, Environment};
use crate::load::{Round, Rounds};
use crate::options::Plan;
use crate::report::{Goal, Report, Section};
use crate::server::Server;
use crate::statistics::Spread;
use anyhow::{Context as _, ensure};
use spsi_partner::auth::api_keys::{self, Role};
use spsi_partner::clock::Clock;
use spsi_partner::db::{Pool, in_transaction};
use std::time::{Duration, Instant};

const PAGE: usize = 100;
/// Orders a second (issue 14).
const GOAL: f64 = 1_000.0;
/// The pages at the end take at most this many times as long as those at the beginning.
const MAX_GROWTH: f64 = 2.0;
const NO_LIMIT: [(&str, &str); 1] = [("SPSI_STAFF_RATE", "100000000")];
const BY_OFFSET: &str = "
    select coalesce(jsonb_agg(page), '[]')::text, count(*) from (
        select o.id, o.supplier_order_number, c.name as clinic, o.ezyvet_id, o.purchase_order_number, o.state, o.is_return,
               o.revision, o.findings, o.total, o.received_at, o.changed_at,
               (select count(*) from purchase_order_line l where l.order_id = o.id) as lines
        from purchase_order o join clinic c on c.id = o.clinic_id
        order by o.id desc limit $1 offset $2) page";

pub async fn run(plan: &Plan, environment: &Environment, dataset: &Dataset, report: &mut Report) -> anyhow::Result<()> {
    let pool = environment.pool(&dataset.database).await?;
    let now = Clock::System.now();
    let add = async |c: &mut _| api_keys::add(c, now, "speed", "speed", Role::Viewer, None).await;
    let issued = in_transaction(&pool, add).await?;
    let server = environment.serve("order-list", &dataset.database, &NO_LIMIT)?;
    let mut all = ["product", "database alone, by offset"].map(|name| Rounds { name, rounds: Vec::new() });
    let (mut orders, mut growth) = (0, Vec::new());
    by_cursor(&server, issued.key.expose()).await.context("warming up")?;
    for _ in 0..plan.page_rounds {
        let before = server.process().processor_time();
        let (count, latencies) = by_cursor(&server, issued.key.expose()).await.context("product")?;
        let processor = server.process().processor_time() - before;
        let (baseline_count, baseline) = by_offset(&pool).await.context("by offset")?;
        ensure!(count == baseline_count, "{count} orders by cursor, {baseline_count} by offset");
        orders = count;
        growth.push(tenth(latencies.iter().rev()) / tenth(latencies.iter()));
        all[0].rounds.push(round(count, latencies, Some(processor)));
        all[1].rounds.push(round(count, baseline, None));
    }
    pool.close().await;
    let title = format!("all {orders} orders in pages of {PAGE}, one connection");
    let mut section = Section::of_rounds("l", title, dataset.catalogue.products, &all);
    section.columns[0] = "orders/s";
    report.add(section);
    report.target("l", "orders a second by cursor", all[0].spread(|round| round.per_second), Goal::AtLeast(GOAL));
    let text = "milliseconds a page in the last tenth of the orders, times the first tenth";
    report.target("l", text, Spread::of(growth), Goal::AtMost(MAX_GROWTH));
    Ok(())
}

fn round(orders: usize, latencies: Vec<Duration>, processor: Option<Duration>) -> Round {
    let took: Duration = latencies.iter().sum();
    let round = Round::new(latencies, took, processor);
    Round { per_second: orders as f64 / took.as_secs_f64(), ..round }
}

/// Returns the average seconds of the first tenth.
fn tenth<'a>(latencies: impl ExactSizeIterator<Item = &'a Duration>) -> f64 {
    let count = (latencies.len() / 10).max(1);
    latencies.take(count).sum::<Duration>().as_secs_f64() / count as f64
}

/// Reads every page. Returns the number of orders, and how long each page took.
async fn by_cursor(server: &Server, key: &str) -> anyhow::Result<(usize, Vec<Duration>)> {
    // The server closes a connection that idles while the baseline is measured.
    let mut connection = Connection::open(server.address).await?;
    let (mut orders, mut latencies, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let request = get(&format!("/staff/v1/orders?limit={PAGE}{cursor}"), key, false);
        let asked = Instant::now();
        let (_, page) = connection.json(&request).await?;
        latencies.push(asked.elapsed());
        orders += page["data"].as_array().context("no data")?.len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok((orders, latencies)),
        }
    }
}

async fn by_offset(pool: &Pool) -> anyhow::Result<(usize, Vec<Duration>)> {
    let (mut orders, mut latencies) = (0, Vec::new());
    loop {
        let asked = Instant::now();
        let (_, count): (String, i64) =
            sqlx::query_as(BY_OFFSET).bind(PAGE as i64).bind(orders as i64).fetch_one(pool).await?;
        latencies.push(asked.elapsed());
        orders += count as usize;
        if (count as usize) < PAGE {
            return Ok((orders, latencies));
        }
    }
}
