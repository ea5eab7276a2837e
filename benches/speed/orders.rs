//! Scenario (g): orders of ten lines, with and without batching, against the same rows stored by pgbench. Also prepares the
//! orders that other scenarios send.

use crate::client::{Connection, get, post};
use crate::data::CLINICS;
use crate::environment::{Dataset, Environment};
use crate::load::{Round, Rounds, closed_loop};
use crate::options::Plan;
use crate::reads::Servers;
use crate::report::{Goal, Report, Section};
use crate::server::Server;
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
/// Number of different orders. They are sent in turn, each time under a new id.
const TEMPLATES: usize = 120;
const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// Stands in a template in place of the id. Every id has this many digits.
const ID_PLACEHOLDER: &[u8] = b"@@@@@@@@@@";
const GOAL: f64 = 0.7;
/// The product without its batch writer. The second name is the one before issue 13.
const NO_BATCHING: [(&str, &str); 1] = [("SPSI_MAX_ORDERS_PER_BATCH", "1")];
/// The same rows, stored by the fastest single statement that we know.
const SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sql/place_order.sql");

/// The bytes of a request with an order, without its id.
#[derive(Clone)]
pub struct Template {
    request: Vec<u8>,
    /// Offsets of the id in `request`.
    offsets: Vec<usize>,
}

impl Template {
    fn new(request: Vec<u8>) -> Self {
        let offsets = memchr::memmem::find_iter(&request, ID_PLACEHOLDER).collect();
        Self { request, offsets }
    }

    /// Returns the request with this id.
    pub fn with_id(&mut self, id: u64) -> &[u8] {
        for offset in &self.offsets {
            let digits = &mut self.request[*offset..*offset + ID_PLACEHOLDER.len()];
            digits.iter_mut().rev().fold(id, |rest, digit| {
                *digit = b'0' + (rest % 10) as u8;
                rest / 10
            });
        }
        &self.request
    }
}

/// Returns orders of products that each clinic sees, at its prices.
pub async fn templates(servers: &Servers) -> anyhow::Result<Vec<Template>> {
    let mut connection = Connection::open(servers.product.address).await?;
    let mut templates = Vec::new();
    for (index, token) in servers.tokens.iter().cycle().take(TEMPLATES).enumerate() {
        let (_, answer) = connection.json(&get(&format!("/products?limit=40&page={index}"), token, false)).await?;
        let products = answer["products"].as_array().context("no products")?;
        let lines: Vec<&Value> = products.iter().filter(|product| product["active"] == 1).take(LINES).collect();
        ensure!(lines.len() == LINES, "page {index} has too few products for an order");
        templates.push(Template::new(post("/purchaseorder", Some(token), &order(&lines)?.to_string())));
    }
    Ok(templates)
}

/// Returns an order of one outer of each product, with ten percent tax.
fn order(products: &[&Value]) -> anyhow::Result<Value> {
    let id = std::str::from_utf8(ID_PLACEHOLDER)?;
    let (mut net, mut taxes, mut lines) = (Decimal::ZERO, Decimal::ZERO, Vec::new());
    for (index, product) in products.iter().enumerate() {
        let units: Decimal = product["units_per_outer"].as_str().context("units")?.parse()?;
        let price: Decimal = product["contract_price"].to_string().parse()?;
        let total = (units * price).round_dp(2);
        let tax = (total / Decimal::TEN).round_dp(2);
        net += total;
        taxes += tax;
        lines.push(json!({"id": (index + 1).to_string(), "product_id": (50_000 + index).to_string(), "supplier_code": product["code"],
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

/// One connection that sends orders, each under a new id.
pub struct OrderClient {
    connection: Connection,
    templates: Vec<Template>,
    next_id: Rc<Cell<u64>>,
}

impl OrderClient {
    pub async fn new(address: SocketAddr, templates: &[Template], next_id: &Rc<Cell<u64>>) -> anyhow::Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, templates: templates.to_vec(), next_id: Rc::clone(next_id) })
    }

    pub async fn send(&mut self) -> anyhow::Result<()> {
        let id = self.next_id.replace(self.next_id.get() + 1);
        let index = id as usize % self.templates.len();
        let answer = self.connection.ask(self.templates[index].with_id(id)).await?;
        ensure!(answer.status == 200, "an order was answered with {answer:?}");
        Ok(())
    }
}

/// The databases of the scenario. Each contender has one of its own, so that none disturbs another.
pub struct Databases {
    products: usize,
    product: String,
    unbatched: String,
    pgbench: String,
}

impl Databases {
    pub fn of(dataset: &Dataset) -> Self {
        let products = dataset.catalogue.products;
        Self {
            products,
            product: dataset.database.clone(),
            unbatched: format!("orders_unbatched_{products}"),
            pgbench: format!("orders_pgbench_{products}"),
        }
    }

    /// Copies the product's database, which must have no connections.
    pub async fn create(&self, environment: &Environment) -> anyhow::Result<()> {
        environment.copy(&self.product, &self.unbatched).await?;
        environment.copy(&self.product, &self.pgbench).await
    }

    /// Raises all stock, because pgbench stores orders without findings: the product would store a finding for each line
    /// that is short, three times in each order. Servers must load the catalogue afterwards.
    pub async fn fill_stock(&self, environment: &Environment) -> anyhow::Result<()> {
        for database in [&self.product, &self.unbatched] {
            let pool = environment.pool(database).await?;
            for statement in ["update product set stock_available = 1e9", "vacuum analyze product"] {
                sqlx::raw_sql(statement).execute(&pool).await?;
            }
            pool.close().await;
        }
        Ok(())
    }

    pub async fn drop_copies(&self, environment: &Environment) -> anyhow::Result<()> {
        environment.drop_database(&self.unbatched).await?;
        environment.drop_database(&self.pgbench).await
    }
}

/// Measures the product with its default settings, the product that stores each order in a statement of its own, and
/// pgbench with the same rows.
pub async fn run(
    plan: &Plan,
    environment: &Environment,
    databases: &Databases,
    servers: &Servers,
    report: &mut Report,
) -> anyhow::Result<()> {
    let missing = missing();
    if let Some(missing) = &missing {
        report.leave_out(format!("(g) pgbench, the baseline of orders: {missing}"));
    }
    let templates = templates(servers).await?;
    let unbatched = environment.serve("unbatched", &databases.unbatched, &NO_BATCHING)?;
    let served = [
        ("product", &servers.product, Rc::new(Cell::new(1))),
        ("product, no batching", &unbatched, Rc::new(Cell::new(1))),
    ];
    // Commits vary more than answers from memory do.
    let time = plan.round * 2;
    for connections in CONNECTIONS {
        let mut all: Vec<Rounds> = served.iter().map(|(name, ..)| Rounds { name, rounds: Vec::new() }).collect();
        if missing.is_none() {
            all.push(Rounds { name: "pgbench", rounds: Vec::new() });
        }
        for (_, server, next_id) in &served {
            send_orders(server, &templates, next_id, connections, time / 4).await?;
        }
        for _ in 0..plan.rounds {
            for ((_, server, next_id), rounds) in served.iter().zip(&mut all) {
                rounds.rounds.push(send_orders(server, &templates, next_id, connections, time).await?);
            }
            if let [_, _, baseline] = all.as_mut_slice() {
                baseline.rounds.push(pgbench(environment, databases, connections, time)?);
            }
        }
        let title = format!("orders of ten lines, {connections} at once");
        report.add(Section::of_rounds("g", title, databases.products, &all));
        if let [product, _, baseline] = all.as_slice() {
            let ratio = product.ratio(baseline, |round| round.per_second);
            let text = format!("rate of orders, times pgbench's, {connections} at once");
            report.target("g", text, ratio, Goal::AtLeast(GOAL));
        }
    }
    for (database, (name, _, next_id)) in [&databases.product, &databases.unbatched].into_iter().zip(&served) {
        assert_stored(environment, database, name, next_id.get() - 1).await?;
    }
    if missing.is_none() {
        assert_equal_size(environment, databases).await?;
    }
    Ok(())
}

/// Fails unless every order that was answered with 200 is stored.
async fn assert_stored(environment: &Environment, database: &str, name: &str, answered: u64) -> anyhow::Result<()> {
    let pool = environment.pool(database).await?;
    let stored: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from purchase_order group by 1 order by 1").fetch_all(&pool).await?;
    pool.close().await;
    let count: i64 = stored.iter().map(|(_, count)| count).sum();
    ensure!(count >= answered as i64, "{name}: {answered} orders were answered with 200, {count} are stored");
    eprintln!("{name}: orders stored: {stored:?}\n");
    Ok(())
}

/// Fails unless an order of the product and one of pgbench are about as large in the database.
async fn assert_equal_size(environment: &Environment, databases: &Databases) -> anyhow::Result<()> {
    let product = text_bytes(environment, &databases.product).await?;
    let baseline = text_bytes(environment, &databases.pgbench).await?;
    ensure!(
        (0.9..1.1).contains(&(product / baseline)),
        "the product stores {product:.0} bytes of text an order, pgbench {baseline:.0}"
    );
    eprintln!("text stored with an order: {product:.0} bytes, by pgbench {baseline:.0}\n");
    Ok(())
}

/// Returns the average bytes of an order's columns that hold text or JSON.
async fn text_bytes(environment: &Environment, database: &str) -> anyhow::Result<f64> {
    let pool = environment.pool(database).await?;
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
        return Some(format!("{SQL} does not exist"));
    }
    let found = Command::new("pgbench").arg("--version").output();
    found.err().map(|error| format!("pgbench cannot be run: {error}"))
}

async fn send_orders(
    server: &Server,
    templates: &[Template],
    next_id: &Rc<Cell<u64>>,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let before = server.process().processor_time();
    let open = || OrderClient::new(server.address, templates, next_id);
    let (latencies, took) =
        closed_loop(connections, time, open, async |client: &mut OrderClient, _| client.send().await).await?;
    Ok(Round::new(latencies, took, Some(server.process().processor_time() - before)))
}

/// Runs pgbench for one round. pgbench logs the latency of every transaction, because p99 needs all of them.
fn pgbench(
    environment: &Environment,
    databases: &Databases,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let directory = tempfile::tempdir()?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(connections);
    let output = Command::new("pgbench")
        // The product's settings: plans of foreign keys that are made while tables are small would scan them later, and a
        // generic plan is made once.
        .env("PGOPTIONS", "-c enable_seqscan=off -c plan_cache_mode=force_generic_plan")
        .args(["-n", "-M", "prepared", "-l", "-U", "postgres", "-f", SQL])
        .args(["-D", &format!("clinics={CLINICS}"), "-D", &format!("products={}", databases.products)])
        .args([
            "-c",
            &connections.to_string(),
            "-j",
            &threads.to_string(),
            "-T",
            &time.as_secs_f64().ceil().to_string(),
        ])
        .arg("-h")
        .arg(environment.socket_dir())
        .arg(format!("--log-prefix={}", directory.path().join("log").display()))
        .arg(&databases.pgbench)
        .output()?;
    let log = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let per_second = log.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
    let failed = log.lines().any(|line| line.starts_with("number of failed transactions: ") && !line.contains(": 0 "));
    let (Some(per_second), false, true) = (per_second, failed, output.status.success()) else {
        bail!("pgbench: {log}");
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
