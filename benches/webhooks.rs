//! Measures webhooks and the event log on a durable Postgres of its own, with receivers on the loopback. Run:
//! `cargo bench --bench webhooks`; with `SPSI_BENCH=short` on fewer events. Prints a table, and each figure as a line of JSON.
//!
//! Every figure that depends on the machine has its baseline in the same run: the endpoints without those that hang, the log
//! of 100,000 events.

use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use clap::Parser;
use spsi_partner::clock::Clock;
use spsi_partner::config::Settings;
use spsi_partner::db::{Pool, migrate};
use spsi_partner::events::{self, Kind};
use spsi_partner::ids::ClinicId;
use spsi_partner::postgres::{self, Embedded};
use spsi_partner::secret::KeyRing;
use spsi_partner::shutdown::{self, ShutdownTrigger};
use spsi_partner::webhooks::Dispatcher;
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    settings: Settings,
}

struct Size {
    /// Events that are sent one at a time.
    single: usize,
    endpoints: i64,
    /// Events for each endpoint.
    rounds: i64,
    per_second: u64,
    log: i64,
}

const FULL: Size = Size { single: 300, endpoints: 10_000, rounds: 3, per_second: 500, log: 10_000_000 };
const SHORT: Size = Size { single: 100, endpoints: 2_000, rounds: 2, per_second: 200, log: 1_000_000 };
const SMALL_LOG: i64 = 100_000;
/// One endpoint of this many hangs.
const HANGING: i64 = 100;

fn report(what: &str, value: f64, unit: &str) {
    println!("  {what:<74} {value:>10.2} {unit}");
    println!("{}", serde_json::json!({ "bench": "webhooks", "what": what, "value": value, "unit": unit }));
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

/// The value at a share of the sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

type Arrivals = Mutex<HashMap<String, Instant>>;

/// Receivers at many addresses of the loopback, as real ones are.
/// `/ok` answers at once, `/hang` never.
struct Receivers {
    port: u16,
    arrivals: Arc<Arrivals>,
}

impl Receivers {
    fn start() -> Self {
        let arrivals: Arc<Arrivals> = Arc::default();
        let shared = Data::from(arrivals.clone());
        let (listening, port) = mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(shared.clone()).default_service(web::to(answer));
                let server = HttpServer::new(app).workers(1).backlog(4096).max_connections(20_000).disable_signals();
                let server = server.bind(("0.0.0.0", 0)).expect("a port");
                listening.send(server.addrs()[0].port()).expect("a receiver");
                server.run().await.expect("served");
            });
        });
        Self { port: port.recv().expect("a port"), arrivals }
    }

    fn take(&self) -> HashMap<String, Instant> {
        std::mem::take(&mut *self.arrivals.lock().expect("an unpoisoned lock"))
    }

    fn count(&self) -> usize {
        self.arrivals.lock().expect("an unpoisoned lock").len()
    }
}

async fn answer(request: HttpRequest, _body: web::Bytes, arrivals: Data<Arrivals>) -> HttpResponse {
    if request.path() == "/hang" {
        actix_web::rt::time::sleep(Duration::from_secs(3_600)).await;
    }
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    arrivals.lock().expect("an unpoisoned lock").entry(id.to_owned()).or_insert_with(Instant::now);
    HttpResponse::NoContent().finish()
}

struct Supplier {
    pool: Pool,
    keys: KeyRing,
    embedded: Embedded,
    _directory: TempDir,
}

struct Working {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Working {
    async fn stop(self) {
        self.trigger.pull();
        // Calls that hang last for their deadline.
        self.task.await.expect("no panic there");
    }
}

impl Supplier {
    async fn open() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::Builder::new().prefix("spsi-bench").tempdir_in("/tmp").expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("opened");
        let settings =
            postgres::Settings { data_dir: Some(directory.path().join("data")), ..postgres::Settings::default() };
        let embedded = postgres::start(&settings).await.expect("a Postgres");
        let pool = Pool::new(embedded.url(), &Settings::from_environment().expect("settings").database).expect("a URL");
        migrate(&pool).await.expect("migrated");
        Self { pool, keys: KeyRing::generate().expect("keys"), embedded, _directory: directory }
    }

    async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await.expect("done");
    }

    /// Replaces all endpoints by `count` ones, each for the events of a clinic of its own.
    async fn set_endpoints(&self, receivers: &Receivers, count: i64, one_hangs_of: i64) {
        self.run("delete from webhook_endpoint").await;
        self.run(&format!(
            "insert into clinic (name, client_id, secret_hash, created_at)
             select 'Clinic ' || n, 'clinic-' || n, '', now()
             from generate_series((select count(*) from clinic) + 1, {count}) n"
        ))
        .await;
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let sealed: Vec<Vec<u8>> = (1..=count)
            .map(|id| self.keys.seal(secret.as_bytes(), &format!("webhook:{id}")).expect("sealed"))
            .collect();
        sqlx::query(
            "insert into webhook_endpoint (id, url, clinic_id, secret, created_at, changed_at)
             select n, format('http://127.0.%s.%s:%s/', n / 250 % 250, n % 250 + 1, $2)
                 || case when $3 > 0 and n % $3 = 0 then 'hang' else 'ok' end, n, secret, now(), now()
             from unnest($1::bytea[]) with ordinality as s (secret, n)",
        )
        .bind(sealed)
        .bind(i32::from(receivers.port))
        .bind(one_hangs_of)
        .execute(&self.pool)
        .await
        .expect("endpoints");
        self.run("vacuum analyze").await;
    }

    fn dispatcher(&self, flags: &[&str]) -> Dispatcher {
        let settings = Defaults::parse_from(["spsi", "--webhook-allow-private", "true"].iter().chain(flags)).settings;
        let pool = Pool::new(self.embedded.url(), &settings.database).expect("a URL");
        Dispatcher::new(pool, self.keys.clone(), Clock::System, &settings).expect("a dispatcher")
    }

    fn work(&self) -> Working {
        let dispatcher = self.dispatcher(&[]);
        let (trigger, shutdown) = shutdown::channel();
        Working { trigger, task: tokio::spawn(async move { dispatcher.run(shutdown).await }) }
    }

    /// Records an event of an order of a clinic in a transaction of its own. Returns its id, and when it was committed.
    async fn record(&self, clinic: i64, order: i64, now: OffsetDateTime) -> (String, Instant) {
        let mut transaction = self.pool.begin().await.expect("begun");
        let data = serde_json::json!({"version": 1, "id": clinic, "supplier_order_number": "SO-33346", "clinic": "Harbour Vets",
            "clinic_id": clinic, "ezyvet_id": "900001", "purchase_order_number": "15900001", "state": "accepted",
            "is_return": false, "revision": 1, "total": "5.12", "findings": [], "reason": null});
        let (subject, clinic) = (("order", order), Some(ClinicId(clinic)));
        events::record(&mut transaction, now, Kind::OrderAccepted, subject, clinic, data).await.expect("recorded");
        let id: i64 = sqlx::query_scalar("select currval(pg_get_serial_sequence('event', 'id'))")
            .fetch_one(&mut *transaction)
            .await
            .expect("an id");
        transaction.commit().await.expect("committed");
        (format!("evt_{id}"), Instant::now())
    }

    /// Fills the log with sequenced events up to a number. One in a thousand is a `site.unreachable`.
    async fn fill_log(&self, until: i64) {
        let have: i64 = sqlx::query_scalar("select count(*) from event").fetch_one(&self.pool).await.expect("a count");
        let mut from = have;
        while from < until {
            let to = (from + 500_000).min(until);
            self.run(&format!(
                "insert into event (position, kind, subject_kind, subject_id, clinic_id, created_at, data)
                 select nextval('event_position_seq'), case when n % 1000 = 0 then 'site.unreachable' else 'order.accepted' end,
                     'order', n, n % 200 + 1, now(), jsonb_build_object('version', 1, 'id', n, 'state', 'accepted',
                         'supplier_order_number', 'SO-' || n, 'clinic', 'Harbour Vets', 'total', '5.12')
                 from generate_series({from} + 1, {to}) n"
            ))
            .await;
            from = to;
        }
        self.run("update webhook_log set fanned_out_through = (select max(position) from event)").await;
        self.run("vacuum analyze event").await;
    }

    async fn close(self) {
        self.pool.close().await;
        self.embedded.stop().await.expect("stopped");
    }
}

fn now() -> OffsetDateTime {
    Clock::System.now()
}

/// Returns the milliseconds from commit to arrival, sorted. Fails if an event has not arrived.
fn delays(sent: &[(String, Instant)], arrived: &HashMap<String, Instant>) -> Vec<f64> {
    let delay = |(id, at): &(String, Instant)| {
        let arrived = arrived.get(id).unwrap_or_else(|| panic!("{id} has not arrived"));
        milliseconds(arrived.saturating_duration_since(*at))
    };
    let mut delays: Vec<f64> = sent.iter().map(delay).collect();
    delays.sort_by(f64::total_cmp);
    delays
}

async fn measure_single(supplier: &Supplier, receivers: &Receivers, size: &Size) -> f64 {
    println!("From the commit of an event to its arrival, one event at a time");
    supplier.set_endpoints(receivers, 1, 0).await;
    let working = supplier.work();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut sent = Vec::new();
    for index in 0..size.single {
        sent.push(supplier.record(1, index as i64, now()).await);
        // Not in step with the dispatcher's polls.
        tokio::time::sleep(Duration::from_millis(20 + (index as u64 * 7) % 40)).await;
    }
    wait_for(receivers, size.single).await;
    let delays = delays(&sent, &receivers.take());
    working.stop().await;
    report("p50", quantile(&delays, 0.5), "ms");
    report("p99", quantile(&delays, 0.99), "ms");
    quantile(&delays, 0.5)
}

async fn wait_for(receivers: &Receivers, count: usize) {
    let began = Instant::now();
    while receivers.count() < count {
        assert!(began.elapsed() < Duration::from_secs(120), "{} of {count} have arrived", receivers.count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends each endpoint an event per round. Returns the delays of the endpoints that answer.
async fn measure_many(supplier: &Supplier, receivers: &Receivers, size: &Size, one_hangs_of: i64) -> Vec<f64> {
    supplier.set_endpoints(receivers, size.endpoints, one_hangs_of).await;
    let working = supplier.work();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(size.per_second).expect("small"));
    let (mut sent, mut writers) = (Vec::new(), futures_util::stream::FuturesUnordered::new());
    for index in 0..size.endpoints * size.rounds {
        ticks.tick().await;
        // Neighbours in time are no neighbours in the table.
        let clinic = (index * 7_919) % size.endpoints + 1;
        writers.push(async move { (clinic, supplier.record(clinic, index, now()).await) });
        while writers.len() >= 12 {
            sent.extend(futures_util::StreamExt::next(&mut writers).await);
        }
    }
    while let Some(last) = futures_util::StreamExt::next(&mut writers).await {
        sent.push(last);
    }
    let is_healthy = |clinic: i64| one_hangs_of == 0 || clinic % one_hangs_of != 0;
    let healthy: Vec<_> = sent.into_iter().filter(|(clinic, _)| is_healthy(*clinic)).map(|(_, sent)| sent).collect();
    wait_for(receivers, healthy.len()).await;
    let delays = delays(&healthy, &receivers.take());
    supplier.run("update webhook_endpoint set state = 'paused', caught_up_through = 0").await;
    working.stop().await;
    delays
}

async fn measure_hanging(supplier: &Supplier, receivers: &Receivers, size: &Size) -> (f64, f64) {
    println!("{} endpoints, {} events a second, each for one endpoint", size.endpoints, size.per_second);
    let without = measure_many(supplier, receivers, size, 0).await;
    let with = measure_many(supplier, receivers, size, HANGING).await;
    for (which, delays) in [("all answer", &without), ("1 % hang: the others", &with)] {
        report(&format!("{which}: p50"), quantile(delays, 0.5), "ms");
        report(&format!("{which}: p99"), quantile(delays, 0.99), "ms");
    }
    (quantile(&without, 0.99), quantile(&with, 0.99))
}

/// Returns the median milliseconds of `work`, of 200 runs after a warm-up.
async fn median(mut work: impl AsyncFnMut(u64)) -> f64 {
    let mut took = Vec::new();
    for index in 0..220 {
        let began = Instant::now();
        work(index).await;
        if index >= 20 {
            took.push(milliseconds(began.elapsed()));
        }
    }
    took.sort_by(f64::total_cmp);
    quantile(&took, 0.5)
}

/// Reads and dispatches on the log as it is. Returns the medians.
async fn measure_log(supplier: &Supplier, events: i64) -> [f64; 3] {
    supplier.fill_log(events).await;
    let pool = &supplier.pool;
    let last = events::sequence(pool).await.expect("a position");
    let page = median(async |index| {
        let after = last - 1_000 - (index as i64 * 7_919) % (events / 2);
        let page = events::list(pool, Some(after), &[], 100).await.expect("listed");
        assert_eq!(page.len(), 100);
    })
    .await;
    let rare = [Kind::SiteUnreachable];
    let of_kind = median(async |index| {
        let after = last / 4 + (index as i64 * 7_919) % (events / 4);
        let page = events::list(pool, Some(after), &rare, 10).await.expect("listed");
        assert_eq!(page.len(), 10);
    })
    .await;
    let dispatcher = supplier.dispatcher(&[]);
    let dispatched = median(async |index| {
        supplier.record(1, index as i64, now()).await;
        assert_eq!(dispatcher.run_once().await.expect("sent"), 1);
    })
    .await;
    [page, of_kind, dispatched]
}

async fn measure_logs(supplier: &Supplier, receivers: &Receivers, size: &Size) -> f64 {
    println!("A log of {SMALL_LOG} and of {} events", size.log);
    supplier.run("truncate event, webhook_message").await;
    supplier.set_endpoints(receivers, 1, 0).await;
    let small = measure_log(supplier, SMALL_LOG).await;
    let large = measure_log(supplier, size.log).await;
    let names = [
        "a page of 100 events after a cursor",
        "10 events of a rare type",
        "an event recorded, claimed, sent, settled",
    ];
    let mut worst = 0.0_f64;
    for (name, (small, large)) in names.iter().zip(small.iter().zip(&large)) {
        report(&format!("{name}: small log"), *small, "ms");
        report(&format!("{name}: large log"), *large, "ms");
        report(&format!("{name}: large to small"), large / small, "times");
        worst = worst.max(large / small);
    }
    worst
}

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run());
}

async fn run() {
    let short = std::env::var("SPSI_BENCH").is_ok_and(|mode| mode == "short");
    let size = if short { SHORT } else { FULL };
    let (supplier, receivers) = (Supplier::open().await, Receivers::start());
    let single = measure_single(&supplier, &receivers, &size).await;
    let (without, with) = measure_hanging(&supplier, &receivers, &size).await;
    let growth = measure_logs(&supplier, &receivers, &size).await;
    supplier.close().await;
    if single > 100.0 || with > (2.0 * without).max(without + 50.0) || growth > 2.0 {
        eprintln!(
            "a figure misses its aim: 100 ms to the arrival, hanging endpoints and a large log at no more than twice the time"
        );
        std::process::exit(1);
    }
}
