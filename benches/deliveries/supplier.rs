//! A supplier with many sites, on a Postgres of its own with production durability.

use super::ezyvet::Ezyvet;
use clap::Parser;
use spsi_partner::clock::Clock;
use spsi_partner::config::Settings;
use spsi_partner::db::{Pool, migrate};
use spsi_partner::delivery::Worker;
use spsi_partner::postgres::{self, Embedded};
use spsi_partner::secret::KeyRing;
use spsi_partner::shutdown::{self, ShutdownTrigger};
use sqlx::AssertSqlSafe;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    settings: Settings,
}

/// A stored payload: an invoice of two lines.
const INVOICE: &str = r#"{"format":"receive_invoice/1","invoice_number":"INV-000001","date":1795262400,"due_date":1797854400,"comments":"For PO 15000032.","freight":"4","freight_tax":"10","ownership_id":"1","lines":[{"quantity":"2","price":"4.25","tax":"0.425","tax_rate":"10","tax_code":"S","supplier_code":"TP1","location_id":"3","purchase_order_item_id":"9","batch":{"name":"B1","expiry":1830297600}},{"quantity":"1","price":"4","tax":"0","tax_rate":"0","tax_code":"S","supplier_code":"TP2","location_id":"4","purchase_order_item_id":"10"}]}"#;

/// A database with sites, clinics and orders.
pub struct Supplier {
    pub pool: Pool,
    keys: KeyRing,
    // Dropped in this order: the server stops before its directory is deleted.
    embedded: Option<Embedded>,
    _directory: TempDir,
}

/// A running worker.
pub struct Working {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Working {
    pub async fn stop(self) {
        self.trigger.pull();
        self.task.await.expect("no panic there");
    }
}

impl Supplier {
    /// Creates `sites` sites at `url`, each with a clinic, an order of two lines, and a token with a life of one day.
    pub async fn with_sites(url: &str, sites: i64) -> Self {
        let directory = tempfile::Builder::new().prefix("spsi-bench").tempdir_in("/tmp").expect("a directory");
        make_accessible(directory.path());
        let settings =
            postgres::Settings { data_dir: Some(directory.path().join("data")), ..postgres::Settings::default() };
        let embedded = postgres::start(&settings).await.expect("a Postgres");
        let pool = Pool::new(embedded.url(), &Settings::from_environment().expect("settings").database).expect("a URL");
        migrate(&pool).await.expect("migrated");
        let keys = KeyRing::generate().expect("keys");
        let supplier = Self { pool, keys, embedded: Some(embedded), _directory: directory };
        supplier.add_sites(url, sites).await;
        supplier
    }

    async fn add_sites(&self, url: &str, sites: i64) {
        let seal = |text: &str, what: &str| -> Vec<Vec<u8>> {
            let sealed = |id| self.keys.seal(text.as_bytes(), &format!("site:{id}:{what}")).expect("sealed");
            (1..=sites).map(sealed).collect()
        };
        let statement = "with s as (
                 insert into site (id, name, base_url, token_path, partner_id, client_id, client_secret, site_uid, created_at)
                 select id, 'site-' || id, $3 || '/s' || id, '/oauth/token', 'p', 'c', secret, 'u' || id, now()
                 from unnest($1::bytea[]) with ordinality as t (secret, id) returning id),
             l as (insert into site_lease (site_id) select id from s),
             t as (insert into site_token (site_id, token, expires_at, obtained_at)
                   select id, token, now() + interval '1 day', now() from unnest($2::bytea[]) with ordinality as t (token, id)),
             c as (insert into clinic (name, site_id, client_id, secret_hash, created_at)
                   select 'Clinic ' || id, id, 'clinic-' || id, '', now() from s order by id returning id),
             o as (insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state,
                       is_return, body, answer_status, answer_body, ownership_id, shipping_address_id,
                       freight, freight_tax, tax, total, received_at, changed_at)
                   select id, '1', 'SO-' || id, '15', 'shipped', false, '{}', 200, '{}', '1', '2', 0, 0, 0, 0, now(), now()
                   from c order by id returning id)
             insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers,
                 units_per_outer, price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
             select o.id, p, p + 8 || '', '5000' || p, 'TP' || p, 10, 1, 4, 0.4, 10, 40, 4, '3' from o, (values (1), (2)) as l (p)";
        sqlx::query(statement)
            .bind(seal("secret", "client_secret"))
            .bind(seal("token", "token"))
            .bind(url)
            .execute(&self.pool)
            .await
            .expect("sites");
        self.run("vacuum analyze").await;
    }

    pub async fn run(&self, statement: &str) -> u64 {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool).await.expect("done").rows_affected()
    }

    /// Inserts `each` invoices, due now, each of a shipment of its own, at each of these sites, and notifies the worker.
    pub async fn enqueue(&self, sites: std::ops::RangeInclusive<i64>, each: i64) {
        let (first, last) = (sites.start(), sites.end());
        self.run(&format!(
            "with p as (
                 insert into shipment (order_id, clinic_id, shipped_at)
                 select o.id, o.clinic_id, now() from purchase_order o, generate_series(1, {each})
                 where o.clinic_id between {first} and {last} returning id, clinic_id),
             i as (insert into invoice (shipment_id, invoice_number) select id, 'INV-' || id from p)
             insert into delivery (site_id, clinic_id, shipment_id, kind, invoice_number, payload, due_at, created_at, changed_at)
             select clinic_id, clinic_id, id, 'receive_invoice', 'INV-' || id, '{INVOICE}', now(), now(), now() from p;
             select pg_notify('spsi_delivery', '{first}')"
        ))
        .await;
    }

    /// Inserts `deliveries` approved invoices over all sites, each with two attempts.
    pub async fn add_history(&self, deliveries: i64, sites: i64) {
        self.run(&format!(
            "insert into shipment (order_id, clinic_id, state, shipped_at, received_at)
             select id, clinic_id, 'received', now(), now() from purchase_order;
             insert into delivery (site_id, clinic_id, shipment_id, kind, invoice_number, payload, state, attempts, created_at,
                                   changed_at, delivered_at)
             select n % {sites} + 1, n % {sites} + 1, (select max(id) from shipment), 'receive_invoice', 'OLD-' || n,
                    '{INVOICE}', 'confirmed', 1, now(), now(), now() from generate_series(1, {deliveries}) as n;
             insert into delivery_attempt (delivery_id, purpose, started_at, finished_at, request, status, response, outcome, detail)
             select id, purpose, now(), now(), repeat('curl ', 100), 200, repeat('answer ', 40), 'done', 'done'
             from delivery, (values ('send'), ('receipt')) as p (purpose) where state = 'confirmed'"
        ))
        .await;
        self.run("vacuum analyze").await;
    }

    async fn count_open(&self) -> i64 {
        let open = "select (select count(*) from delivery where state in ('waiting', 'unclear'))
                           + (select count(*) from delivery where state = 'sending')";
        sqlx::query_scalar(open).fetch_one(&self.pool).await.expect("counted")
    }

    /// Starts a worker with flags of `spsi serve`, on a pool of its own.
    pub async fn work(&self, flags: &[&str]) -> Working {
        let settings = Defaults::parse_from(["spsi"].iter().chain(flags)).settings;
        let url = self.embedded.as_ref().expect("a Postgres").url();
        let pool = Pool::new(url, &settings.database).expect("a pool");
        let worker = Worker::new(pool, self.keys.clone(), Clock::System, &settings).expect("a worker");
        let (trigger, shutdown) = shutdown::channel();
        Working { trigger, task: tokio::spawn(async move { worker.run(shutdown).await }) }
    }

    /// Runs a worker until everything due is delivered, in `calls` calls. Returns the time.
    pub async fn drain(&self, flags: &[&str], ezyvet: &Ezyvet, calls: u64) -> Duration {
        let began = Instant::now();
        let working = self.work(flags).await;
        // The site's count comes first: polling the database all the time would be a load of its own.
        while ezyvet.calls().0 < calls || self.count_open().await > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let took = began.elapsed();
        working.stop().await;
        took
    }

    pub async fn close(mut self) {
        self.pool.close().await;
        if let Some(embedded) = self.embedded.take() {
            embedded.stop().await.expect("stopped");
        }
    }
}

/// Makes a directory accessible to the user that Postgres runs as.
fn make_accessible(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).expect("opened");
}
