//! A test scene: a supplier with one clinic, a simulated ezyVet site, and a worker that tests step by hand.

use crate::support::database::TestDatabase;
use crate::support::ezyvet::Ezyvet;
use clap::Parser;
use rust_decimal::Decimal;
use spsi_partner::clinics::sites::{self, NewSite};
use spsi_partner::clinics::{self, Changes, ClinicError, ClinicInFull};
use spsi_partner::clock::Clock;
use spsi_partner::config::Settings;
use spsi_partner::db::{Page, Pool, in_transaction};
use spsi_partner::delivery::{Worker, staff};
use spsi_partner::ids::{DeliveryId, SiteId};
use spsi_partner::secret::{KeyRing, Plain};
use spsi_partner::shipments::{self, NewShipment, Requested, ShipError, Shipment};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

pub const START: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    settings: Settings,
}

pub struct Scene {
    pub database: TestDatabase,
    pub ezyvet: Ezyvet,
    pub settings: Settings,
    pub clock: Clock,
    pub worker: Worker,
}

impl Scene {
    pub async fn open() -> Self {
        Self::open_with(&[]).await
    }

    /// With flags of `spsi serve`.
    pub async fn open_with(flags: &[&str]) -> Self {
        Self::open_at(flags, Clock::test(START)).await
    }

    pub async fn open_at(flags: &[&str], clock: Clock) -> Self {
        let (database, ezyvet) = (TestDatabase::new().await, Ezyvet::start());
        let short = ["--call-timeout", "1s"];
        let short = short.iter().filter(|_| !flags.contains(&"--call-timeout"));
        let settings = Defaults::parse_from(["spsi"].iter().chain(short).chain(flags)).settings;
        let keys = KeyRing::generate().expect("keys");
        let new = NewSite {
            name: "harbour".into(),
            base_url: ezyvet.url.clone(),
            allow_http: false,
            token_path: "/oauth/token".into(),
            partner_id: "p".into(),
            client_id: "c".into(),
            client_secret: Plain::new("s3cret"),
            site_uid: "u".into(),
            settings: Changes::default(),
        };
        let pool = database.pool();
        in_transaction(pool, async |connection| {
            sites::add(connection, &keys, &settings.site, START, "test", new).await
        })
        .await
        .expect("the site is added");
        sqlx::raw_sql(
            "insert into clinic (name, site_id, client_id, secret_hash, created_at)
             values ('Harbour Vets', 1, 'harbour', '', now()), ('Siteless', null, 'siteless', '', now())",
        )
        .execute(pool)
        .await
        .expect("clinics");
        let worker = Worker::new(pool.clone(), keys, clock.clone(), &settings).expect("a worker");
        Self { database, ezyvet, settings, clock, worker }
    }

    pub fn pool(&self) -> &Pool {
        self.database.pool()
    }

    /// Inserts an accepted order of lines 1 (10 units, location 3) and 2 (5 units, location 4). Returns its number.
    pub async fn order(&self, clinic: i64) -> String {
        sqlx::query_scalar::<_, String>(
            "with o as (
                 insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state,
                     is_return, body, answer_status, answer_body, ownership_id, shipping_address_id, freight,
                     freight_tax, tax, total, received_at, changed_at)
                 select $1, n, 'SO-' || n, '1500' || n, 'accepted', false, '{}', 200, '{}', '1', '2', 0, 0, 0, 0, now(), now()
                 from (select (count(*) + 1)::text as n from purchase_order) as next
                 returning id, supplier_order_number),
             l as (
                 insert into purchase_order_line (order_id, position, ezyvet_id, product_id, supplier_code, outers,
                     units_per_outer, price_per_unit, tax_per_unit, quantity, total, total_tax, location_id)
                 select id, p, p::text, '5000' || p, 'TP' || p, 10 / p, 1, 4, 0.4, 10 / p, 40 / p, 4 / p, (p + 2)::text
                 from o, (values (1), (2)) as line (p))
             select supplier_order_number from o",
        )
        .bind(clinic)
        .fetch_one(self.pool())
        .await
        .expect("an order")
    }

    pub async fn ship(&self, order: &str, lines: &[(&str, i64)]) -> Result<Shipment, ShipError> {
        let line = |(item, quantity): &(&str, i64)| Requested {
            item: (*item).into(),
            quantity: Decimal::from(*quantity),
            batch: "B1".into(),
            expiry: Some(time::macros::date!(2028 - 01 - 01)),
        };
        let new =
            NewShipment { order: order.into(), lines: lines.iter().map(line).collect(), ..NewShipment::default() };
        self.create(&new).await
    }

    pub async fn create(&self, new: &NewShipment) -> Result<Shipment, ShipError> {
        let (defaults, now) = (&self.settings.site, self.clock.now());
        in_transaction(self.pool(), async |c: &mut _| shipments::ship(c, defaults, now, "test", new).await).await
    }

    /// Returns a delivery as `spsi delivery show` prints it.
    pub async fn shown(&self, id: DeliveryId) -> staff::Detail {
        let mut connection = self.pool().begin().await.expect("a connection");
        staff::show(&mut connection, &self.settings.site, id).await.expect("the delivery")
    }

    pub async fn pin(&self, site: SiteId, product: &str, uid: &str) {
        let now = self.clock.now();
        let pin = async |c: &mut _| staff::pin_product(c, now, "test", site, (product, uid)).await;
        in_transaction(self.pool(), pin).await.expect("pinned");
    }

    /// Ships a new order of the clinic with a site in full: one invoice, two `supplied`.
    pub async fn shipped(&self) -> Shipment {
        let order = self.order(1).await;
        self.ship(&order, &[]).await.expect("shipped")
    }

    /// Changes settings of the clinic with a site.
    pub async fn set_clinic(&self, pairs: &[&str]) -> Result<ClinicInFull, ClinicError> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        let (now, defaults) = (self.clock.now(), &self.settings.clinic);
        in_transaction(self.pool(), async |connection| {
            clinics::set(connection, now, "test", defaults, "harbour".into(), Changes::parse(&pairs)).await
        })
        .await
    }

    pub async fn step(&self) {
        self.worker.run_once().await.expect("stepped");
    }

    pub async fn step_after(&self, wait: Duration) {
        self.clock.advance(wait);
        self.step().await;
    }

    /// Returns kind and state of every delivery, oldest first.
    pub async fn states(&self) -> Vec<String> {
        self.deliveries().await.iter().map(|delivery| format!("{} {}", delivery.kind, delivery.state)).collect()
    }

    pub async fn deliveries(&self) -> Vec<staff::Delivery> {
        let mut all = staff::list(
            &mut self.pool().begin().await.expect("a connection"),
            &staff::Filter::default(),
            Page::default(),
        )
        .await
        .expect("listed");
        all.reverse();
        all
    }

    pub async fn retry(&self, index: usize, yes_resend: bool) -> Result<staff::Delivery, staff::StaffError> {
        let id = self.deliveries().await[index].id;
        let now = self.clock.now();
        in_transaction(self.pool(), async |c: &mut _| staff::retry(c, now, "test", id, yes_resend, None).await).await
    }

    pub async fn order_state(&self, number: &str) -> String {
        sqlx::query_scalar("select state from purchase_order where supplier_order_number = $1")
            .bind(number)
            .fetch_one(self.pool())
            .await
            .expect("the order")
    }
}
