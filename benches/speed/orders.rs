//! Scenario (g): orders of ten lines, against the same rows by pgbench; and the orders that other scenarios send.

use crate::client::{Connection, get, post};
use crate::data::CLINICS;
use crate::load::{Round, Rounds, closed_loop};
use crate::options::Plan;
use crate::reads::Servers;
use crate::report::{Goal, Report, Section};
use crate::server::Server;
use crate::stage::{Market, Stage};
use anyhow::{Context as _, bail, ensure};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

const LINES: usize = 10;
/// Orders that are sent again and again under new ids.
const TEMPLATES: usize = 120;
const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// Stands where the id goes, as long as every id.
const PLACE_OF_ID: &[u8] = b"@@@@@@@@@@";
const GOAL: f64 = 0.7;
/// Of the repository: the best SQL by hand.
const SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sql/place_order.sql");

/// Ready bytes of an order, but for its id.
#[derive(Clone)]
pub struct Template {
    request: Vec<u8>,
    places: Vec<usize>,
}

impl Template {
    fn new(request: Vec<u8>) -> Self {
        let places = memchr::memmem::find_iter(&request, PLACE_OF_ID).collect();
        Self { request, places }
    }

    /// The request under this id.
    pub fn fill(&mut self, id: u64) -> &[u8] {
        for place in &self.places {
            let digits = &mut self.request[*place..*place + PLACE_OF_ID.len()];
            digits.iter_mut().rev().fold(id, |rest, digit| {
                *digit = b'0' + (rest % 10) as u8;
                rest / 10
            });
        }
        &self.request
    }
}

/// Orders of what each clinic is shown, at its prices.
pub async fn templates(servers: &Servers) -> anyhow::Result<Vec<Template>> {
    let mut connection = Connection::open(servers.product.address).await?;
    let mut templates = Vec::new();
    for (at, token) in servers.tokens.iter().cycle().take(TEMPLATES).enumerate() {
        let (_, answer) = connection.json(&get(&format!("/products?limit=40&page={at}"), token, false)).await?;
        let products = answer["products"].as_array().context("no products")?;
        let lines: Vec<&Value> = products.iter().filter(|product| product["active"] == 1).take(LINES).collect();
        ensure!(lines.len() == LINES, "page {at} has too few products for an order");
        templates.push(Template::new(post("/purchaseorder", Some(token), &order(&lines)?.to_string())));
    }
    Ok(templates)
}

/// One outer of each product, ten percent tax.
fn order(products: &[&Value]) -> anyhow::Result<Value> {
    let id = std::str::from_utf8(PLACE_OF_ID)?;
    let (mut net, mut taxes, mut lines) = (Decimal::ZERO, Decimal::ZERO, Vec::new());
    for (at, product) in products.iter().enumerate() {
        let units: Decimal = product["units_per_outer"].as_str().context("units")?.parse()?;
        let price: Decimal = product["contract_price"].to_string().parse()?;
        let total = (units * price).round_dp(2);
        let tax = (total / Decimal::TEN).round_dp(2);
        net += total;
        taxes += tax;
        lines.push(json!({"id": (at + 1).to_string(), "product_id": (50_000 + at).to_string(), "supplier_code": product["code"],
            "outers": "1", "units_per_outer": units.to_string(), "price_per_unit": price.to_string(),
            "tax_per_unit": (price / Decimal::TEN).round_dp(6).to_string(), "quantity": units.to_string(),
            "total": total.to_string(), "total_tax": tax.to_string(), "ownership_id": "3"}));
    }
    Ok(json!({"purchaseorder": {"id": id, "active": "1", "created_at": "1514493886", "modified_at": "1514493886",
        "date": "1514466000", "shipping_address_id": "0", "comments": "", "freight": "0", "freight_tax": "0",
        "tax": taxes.to_string(), "total": (net + taxes).to_string(), "client_id": "2", "supplier_id": "10006",
        "status": "Approved", "supplier_order_number": "", "supplier_account_number": "",
        "purchase_order_number": format!("PO{id}"), "ownership_id": "1", "purchase_order_item_list": lines}}))
}

/// One connection that sends orders, each under an id that was never used before.
pub struct Buyer {
    connection: Connection,
    templates: Vec<Template>,
    next: Rc<Cell<u64>>,
}

impl Buyer {
    pub async fn new(address: SocketAddr, templates: &[Template], next: &Rc<Cell<u64>>) -> anyhow::Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, templates: templates.to_vec(), next: Rc::clone(next) })
    }

    pub async fn send(&mut self) -> anyhow::Result<()> {
        let id = self.next.replace(self.next.get() + 1);
        let at = id as usize % self.templates.len();
        let answer = self.connection.ask(self.templates[at].fill(id)).await?;
        ensure!(answer.status == 200, "an order is answered with {answer:?}");
        Ok(())
    }
}

/// Enough of everything, for pgbench stores orders that nothing needs to be said about: notes on what is short would be
/// written three times with each of the product's. The catalogue is to be loaded afresh then.
pub async fn prepare(stage: &Stage, market: &Market) -> anyhow::Result<()> {
    let pool = stage.pool(&market.database).await?;
    for statement in ["update product set stock_available = 1e9", "vacuum analyze product"] {
        sqlx::raw_sql(statement).execute(&pool).await?;
    }
    pool.close().await;
    Ok(())
}

/// `copy` is a database like the product's, for pgbench.
pub async fn run(
    plan: &Plan,
    stage: &Stage,
    market: &Market,
    copy: &str,
    servers: &Servers,
    report: &mut Report,
) -> anyhow::Result<()> {
    let missing = missing();
    if let Some(missing) = &missing {
        report.leave_out(format!("(g) pgbench, the baseline of orders: {missing}"));
    }
    let templates = templates(servers).await?;
    let next = Rc::new(Cell::new(1));
    // Commits vary more than answers from memory do.
    let time = plan.round * 2;
    for connections in CONNECTIONS {
        let mut product = Rounds { name: "product", rounds: Vec::new() };
        let mut by_hand = Rounds { name: "pgbench", rounds: Vec::new() };
        place(&servers.product, &templates, &next, connections, time / 4).await?;
        for _ in 0..plan.rounds {
            product.rounds.push(place(&servers.product, &templates, &next, connections, time).await?);
            if missing.is_none() {
                by_hand.rounds.push(pgbench(stage, copy, market.catalogue.products, connections, time)?);
            }
        }
        let all = if missing.is_none() { vec![product, by_hand] } else { vec![product] };
        let title = format!("orders of ten lines, {connections} at once");
        report.add(Section::of_rounds("g", title, market.catalogue.products, &all));
        if let [product, by_hand] = all.as_slice() {
            let ratio = product.ratio(by_hand, |round| round.per_second);
            report.target(
                "g",
                format!("rate of orders, times pgbench's, {connections} at once"),
                ratio,
                Goal::AtLeast(GOAL),
            );
        }
    }
    let pool = stage.pool(&market.database).await?;
    let stored: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from purchase_order group by 1 order by 1").fetch_all(&pool).await?;
    pool.close().await;
    let count: i64 = stored.iter().map(|(_, count)| count).sum();
    ensure!(count >= next.get() as i64 - 1, "{} orders were answered with 200, {count} are stored", next.get() - 1);
    eprintln!("orders stored: {stored:?}\n");
    let product = texts(stage, &market.database).await?;
    if missing.is_none() {
        let by_hand = texts(stage, copy).await?;
        let ratio = product / by_hand;
        ensure!(
            (0.9..1.1).contains(&ratio),
            "the product stores {product:.0} bytes of text an order, pgbench {by_hand:.0}"
        );
        eprintln!("text stored with an order: {product:.0} bytes, by pgbench {by_hand:.0}\n");
    }
    Ok(())
}

/// Bytes of what is stored of an order as text and not as numbers, on average.
async fn texts(stage: &Stage, database: &str) -> anyhow::Result<f64> {
    let pool = stage.pool(database).await?;
    let bytes = sqlx::query_scalar(
        "select avg(2 * (octet_length(o.body::text) + octet_length(o.findings::text)) + octet_length(o.answer_body::text)
             + octet_length(a.detail::text))::float8
         from purchase_order o join audit_entry a on a.subject_kind = 'order' and a.subject_id = o.id",
    )
    .fetch_one(&pool)
    .await?;
    pool.close().await;
    Ok(bytes)
}

fn missing() -> Option<String> {
    if !Path::new(SQL).exists() {
        return Some(format!("{SQL} is not there"));
    }
    let found = Command::new("pgbench").arg("--version").output();
    found.err().map(|error| format!("pgbench cannot be run: {error}"))
}

async fn place(
    server: &Server,
    templates: &[Template],
    next: &Rc<Cell<u64>>,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let before = server.process().processor_time();
    let open = || Buyer::new(server.address, templates, next);
    let (latencies, took) =
        closed_loop(connections, time, open, async |buyer: &mut Buyer, _| buyer.send().await).await?;
    Ok(Round::new(latencies, took, Some(server.process().processor_time() - before)))
}

/// Every transaction's latency is logged: p99 needs them all.
fn pgbench(
    stage: &Stage,
    database: &str,
    products: usize,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let directory = tempfile::tempdir()?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(connections);
    let output = Command::new("pgbench")
        // As the product has it: the plans of foreign keys, made while there are few rows, would read through all; and the
        // statement is planned once.
        .env("PGOPTIONS", "-c enable_seqscan=off -c plan_cache_mode=force_generic_plan")
        .args(["-n", "-M", "prepared", "-l", "-U", "postgres", "-f", SQL])
        .args(["-D", &format!("clinics={CLINICS}"), "-D", &format!("products={products}")])
        .args([
            "-c",
            &connections.to_string(),
            "-j",
            &threads.to_string(),
            "-T",
            &time.as_secs_f64().ceil().to_string(),
        ])
        .arg("-h")
        .arg(stage.socket_dir())
        .arg(format!("--log-prefix={}", directory.path().join("log").display()))
        .arg(database)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let per_second = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
    let failed = said.lines().any(|line| line.starts_with("number of failed transactions: ") && !line.contains(": 0 "));
    let (Some(per_second), false, true) = (per_second, failed, output.status.success()) else {
        bail!("pgbench: {said}");
    };
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(directory.path())? {
        let text = std::fs::read_to_string(entry?.path())?;
        let micros = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
        latencies.extend(micros.map(Duration::from_micros));
    }
    let round = Round::new(latencies, time, None);
    Ok(Round { per_second, ..round })
}
