//! Stock reservations: clinics see the free stock, and no two orders get the same goods.

use crate::support::database::TestDatabase;
use crate::support::order::with;
use crate::support::supplier::{Clinic, SOON, Supplier};
use crate::support::until;
use serde_json::{Value, json};
use spsi_partner::catalog::Catalog;
use spsi_partner::catalog::import::{ImportOptions, SourceFile, import};
use spsi_partner::catalog::products::{ProductFilter, list};
use spsi_partner::clinics::cache::{CachedClinic, ClinicCache};
use spsi_partner::clinics::{self, Changes, ClinicDraft};
use spsi_partner::config::Settings;
use spsi_partner::db::{Page, in_transaction};
use spsi_partner::orders::intake::Intake;
use spsi_partner::orders::{self, Action, CancelledLine, Filter, OrderError, read::read, stock};
use spsi_partner::shipments::{self, NewShipment};
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

pub const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A database with products `A` to `E`, 20 units of each on hand, and a clinic.
pub struct Shop {
    pub database: TestDatabase,
    pub settings: Settings,
    pub clinic: Arc<CachedClinic>,
    /// Has no catalogue in memory, so every order is decided under locks.
    pub locked_intake: Intake,
}

/// An order of the given units of each code, at a price of 4.
pub fn order(id: &str, lines: &[(&str, i64)]) -> Value {
    let items: Vec<Value> = (1..)
        .zip(lines)
        .map(|(id, (code, units))| {
            json!({"id": id, "supplier_code": code, "outers": units, "units_per_outer": 1, "quantity": units,
                "price_per_unit": 4, "total": units * 4})
        })
        .collect();
    let total: i64 = lines.iter().map(|(_, units)| units * 4).sum();
    json!({"purchaseorder": {"id": id, "total": total, "purchase_order_item_list": items}})
}

impl Shop {
    pub async fn open(clinic: &[&str]) -> Self {
        let database = TestDatabase::new().await;
        let pool = database.pool();
        let rows: String = ["A", "B", "C", "D", "E"].map(|code| format!("{code},{code},t,c,1,box,4,20\n")).concat();
        let file =
            format!("code,name,type,category,units_per_outer,unit_of_measure,list_price,stock_available\n{rows}");
        let file =
            SourceFile { name: "products.csv".into(), content: Box::new(std::io::Cursor::new(file.into_bytes())) };
        let options = ImportOptions::default();
        let done =
            in_transaction(pool, async |c| import(c, NOW, "test", Some(file), None, &options, &|_| {}).await).await;
        done.expect("import");
        let settings = Settings::from_environment().expect("defaults");
        let draft = ClinicDraft { name: "Harbour Vets".into(), site: None, client_id: Some("harbour".into()) };
        let pairs: Vec<String> = clinic.iter().map(|pair| (*pair).to_owned()).collect();
        in_transaction(pool, async |connection| {
            clinics::add(connection, NOW, "test", draft).await?;
            let changes = Changes::parse(&pairs);
            clinics::set(connection, NOW, "test", &settings.clinic, "harbour".into(), changes).await
        })
        .await
        .expect("the clinic with its settings");
        let clinic_cache = ClinicCache::new(pool.clone(), settings.clinic.clone());
        clinic_cache.refresh().await.expect("refresh");
        let clinic = clinic_cache.find("harbour").expect("the clinic");
        let locked_intake = Intake::new(pool.clone(), Catalog::new(pool.clone()));
        Self { database, settings, clinic, locked_intake }
    }

    /// Sends an order and returns the status of the answer.
    async fn order(&self, id: &str, lines: &[(&str, i64)]) -> u16 {
        let order = order(id, lines);
        let order = read(order.to_string().as_bytes(), 10_000).expect("an order");
        match self.locked_intake.place(NOW, &self.clinic, &order.into()).await {
            Ok(placed) => placed.reply.status,
            Err(OrderError::CannotRevise(_)) => 409,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the supplier's number of the order with this ezyVet id.
    pub async fn number(&self, ezyvet_id: &str) -> String {
        let orders = orders::list(
            &mut self.database.pool().begin().await.expect("a connection"),
            &Filter::default(),
            Page::default(),
        )
        .await
        .expect("orders");
        let order = orders.into_iter().find(|order| order.ezyvet_id == ezyvet_id).expect("the order");
        order.supplier_order_number
    }

    async fn ship(&self, order: &str) {
        let new = NewShipment { order: order.into(), ..NewShipment::default() };
        let defaults = &self.settings.site;
        let ship = async |c: &mut _| shipments::ship(c, defaults, NOW, "test", &new).await;
        in_transaction(self.database.pool(), ship).await.expect("shipped");
    }

    /// Returns the units on hand and reserved.
    pub async fn stock(&self, code: &str) -> (String, String) {
        let products = list(self.database.pool(), &ProductFilter::default(), Page::default()).await.expect("products");
        let product = products.into_iter().find(|product| product.code == code).expect("the product");
        let plain = spsi_partner::values::plain;
        (plain(product.stock_available), plain(product.stock_reserved))
    }

    pub async fn assert_consistent(&self) {
        assert_eq!(stock::wrong_reservations(self.database.pool()).await.expect("a count"), 0);
    }
}

fn pair(on_hand: &str, reserved: &str) -> (String, String) {
    (on_hand.to_owned(), reserved.to_owned())
}

#[tokio::test]
async fn stock_follows_the_life_of_an_order() {
    let shop = Shop::open(&["rule_price_below=hold"]).await;
    let pool = shop.database.pool();
    assert_eq!(shop.order("1", &[("A", 5), ("A", 2), ("B", 30)]).await, 200);
    assert_eq!(shop.stock("A").await, pair("20", "7"));
    assert_eq!(shop.stock("B").await, pair("20", "30"));
    let number = shop.number("1").await;
    let short = stock::back_orders(pool).await.expect("back-orders");
    assert_eq!(short.len(), 1);
    assert_eq!((short[0].supplier_code.as_str(), short[0].short), ("B", 10.into()));
    assert_eq!(short[0].order_numbers, [number.as_str()]);

    in_transaction(pool, async |c: &mut _| {
        orders::change(c, NOW, "test", &number, Action::Hold, Some("wait"), None).await
    })
    .await
    .expect("held");
    assert_eq!(shop.stock("A").await, pair("20", "7"), "a held order keeps what it reserved");
    let everything = NewShipment { order: number.clone(), ..NewShipment::default() };
    let refused =
        in_transaction(pool, async |c: &mut _| shipments::ship(c, &shop.settings.site, NOW, "test", &everything).await)
            .await;
    assert!(refused.is_err(), "a held order is not shipped");
    in_transaction(pool, async |c: &mut _| {
        orders::change(c, NOW, "test", &number, Action::Accept, Some("go"), None).await
    })
    .await
    .expect("accepted");

    let line = |item: &str, units: Option<i64>| CancelledLine { item: item.into(), units: units.map(Into::into) };
    let order = in_transaction(pool, async |c: &mut _| {
        orders::change(c, NOW, "test", &number, Action::Cancel(&[line("3", Some(12))]), Some("short"), None).await
    })
    .await
    .expect("in part");
    assert_eq!((order.order.state.as_str(), shop.stock("B").await), ("accepted", pair("20", "18")));
    assert_eq!(order.items[2].cancelled, 12.into());
    shop.ship(&number).await;
    assert_eq!(shop.stock("A").await, pair("13", "0"));
    assert_eq!(shop.stock("B").await, pair("2", "0"));

    shop.order("2", &[("C", 3)]).await;
    let second = shop.number("2").await;
    in_transaction(pool, async |c: &mut _| {
        orders::change(c, NOW, "test", &second, Action::Decline { defaults: &shop.settings.clinic }, Some("no"), None)
            .await
    })
    .await
    .expect("declined");
    assert_eq!(shop.stock("C").await, pair("20", "0"));
    shop.order("3", &[("C", 3), ("D", 3)]).await;
    let third = shop.number("3").await;
    let all = in_transaction(pool, async |c: &mut _| {
        orders::change(c, NOW, "test", &third, Action::Cancel(&[]), Some("closed"), None).await
    })
    .await
    .expect("cancelled");
    assert_eq!((all.order.state.as_str(), shop.stock("C").await), ("cancelled", pair("20", "0")));
    let again = in_transaction(pool, async |c: &mut _| {
        orders::change(c, NOW, "test", &third, Action::Cancel(&[]), Some("closed"), None).await
    })
    .await;
    assert!(matches!(again, Err(OrderError::State { .. })), "{again:?}");
    // A return reserves nothing, and returned goods are not for sale until the warehouse counts them.
    shop.order("4", &[("E", -2)]).await;
    let back = shop.number("4").await;
    in_transaction(pool, async |c: &mut _| orders::change(c, NOW, "test", &back, Action::Accept, None, None).await)
        .await
        .expect("accepted");
    assert_eq!(shop.stock("E").await, pair("20", "0"));
    shop.ship(&back).await;
    assert_eq!(shop.stock("E").await, pair("20", "0"));
    shop.assert_consistent().await;
}

#[tokio::test]
async fn a_revision_does_not_compete_with_its_own_reservations() {
    let shop = Shop::open(&["rule_stock_short=decline"]).await;
    assert_eq!(shop.order("1", &[("A", 15)]).await, 200);
    assert_eq!(shop.order("2", &[("A", 6)]).await, 422);
    assert_eq!(shop.order("1", &[("A", 18), ("B", 1)]).await, 200);
    assert_eq!(shop.stock("A").await, pair("20", "18"));
    assert_eq!(shop.order("1", &[("A", 21)]).await, 422, "a revision that is declined holds nothing");
    assert_eq!(shop.stock("A").await, pair("20", "0"));
    shop.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_orders_never_reserve_more_than_is_on_hand() {
    let shop = Arc::new(Shop::open(&["rule_stock_short=decline"]).await);
    let mut sending = tokio::task::JoinSet::new();
    for id in 0..60 {
        let shop = Arc::clone(&shop);
        sending.spawn(async move {
            // In both directions: unsorted locks would deadlock.
            let lines = if id % 2 == 0 { [("A", 1), ("B", 1)] } else { [("B", 1), ("A", 1)] };
            shop.order(&id.to_string(), &lines).await
        });
    }
    let answers = sending.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(shop.stock("A").await, pair("20", "20"));
    assert_eq!(shop.stock("B").await, pair("20", "20"));
    shop.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reservations_match_the_orders_whatever_staff_and_clinics_do_concurrently() {
    let shop = Arc::new(Shop::open(&[]).await);
    for id in 0..24 {
        shop.order(&id.to_string(), &[("A", 2), ("B", 3), ("C", 1)]).await;
    }
    let mut doing = tokio::task::JoinSet::new();
    for id in 0..24 {
        let shop = Arc::clone(&shop);
        let number = shop.number(&id.to_string()).await;
        doing.spawn(async move {
            let pool = shop.database.pool();
            let line = CancelledLine { item: "2".into(), units: Some(1.into()) };
            match id % 6 {
                0 => shop.ship(&number).await,
                1 => drop(
                    in_transaction(pool, async |c: &mut _| {
                        orders::change(c, NOW, "test", &number, Action::Cancel(&[line]), Some("less"), None).await
                    })
                    .await
                    .expect("cancelled"),
                ),
                2 => drop(
                    in_transaction(pool, async |c: &mut _| {
                        orders::change(c, NOW, "test", &number, Action::Cancel(&[]), Some("none"), None).await
                    })
                    .await
                    .expect("cancelled"),
                ),
                3 => drop(
                    in_transaction(pool, async |c: &mut _| {
                        orders::change(
                            c,
                            NOW,
                            "test",
                            &number,
                            Action::Decline { defaults: &shop.settings.clinic },
                            Some("no"),
                            None,
                        )
                        .await
                    })
                    .await
                    .expect("declined"),
                ),
                4 => drop(shop.order(&id.to_string(), &[("C", 5), ("B", 1)]).await),
                _ => {
                    // Two concurrent commands: one may be refused, and nothing is counted twice.
                    let cancel = in_transaction(pool, async |c: &mut _| {
                        orders::change(c, NOW, "test", &number, Action::Cancel(&[]), Some("none"), None).await
                    });
                    let new = NewShipment { order: number.clone(), ..NewShipment::default() };
                    let ship = in_transaction(pool, async |c: &mut _| {
                        shipments::ship(c, &shop.settings.site, NOW, "test", &new).await
                    });
                    let (cancelled, shipped) = tokio::join!(cancel, ship);
                    assert!(cancelled.is_ok() != shipped.is_ok());
                }
            }
        });
    }
    doing.join_all().await;
    shop.assert_consistent().await;
}

/// Pseudo-random numbers, the same in every run.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[tokio::test]
async fn every_line_is_stored_once_and_no_stock_is_promised_twice() {
    let shop = Shop::open(&["rule_stock_short=decline"]).await;
    let pool = shop.database.pool();
    let mut next = numbers();
    for _ in 0..120 {
        let id = next(30).to_string();
        let lines: Vec<(&str, i64)> = (0..=next(6))
            .map(|_| (["A", "B", "C", "D", "E", "A", "B", "C", "D", "E", "X"][next(11) as usize], 1 + next(6) as i64))
            .collect();
        let status = shop.order(&id, &lines).await;
        let order = orders::show(&mut pool.begin().await.expect("a connection"), &shop.number(&id).await)
            .await
            .expect("the order");
        if status != 409 {
            let stored: Vec<_> = order.items.iter().map(|line| (line.supplier_code.as_str(), line.quantity)).collect();
            let sent: Vec<_> = lines.iter().map(|(code, units)| (*code, (*units).into())).collect();
            assert_eq!(stored, sent);
            assert_eq!(status == 200, order.order.state == "accepted", "{status} {}", order.order.state);
            assert!(status != 200 || lines.iter().all(|(code, _)| *code != "X"), "an unknown product is declined");
        }
        for product in list(pool, &ProductFilter::default(), Page::default()).await.expect("products") {
            assert!(product.stock_reserved <= product.stock_available, "{}", product.code);
        }
        if next(4) == 0 && order.order.state == "accepted" {
            in_transaction(pool, async |c: &mut _| {
                orders::change(c, NOW, "test", &order.order.supplier_order_number, Action::Cancel(&[]), Some(""), None)
                    .await
            })
            .await
            .expect("cancelled");
        }
    }
    shop.assert_consistent().await;
}

fn shown(supplier: &Supplier, clinic: &Clinic, code: &str) -> Value {
    supplier.product(clinic, code).expect("the product")["stock_available"].clone()
}

#[track_caller]
fn becomes(supplier: &Supplier, clinic: &Clinic, units: i64) {
    until(&format!("{units} in stock"), SOON, || (shown(supplier, clinic, "TP1") == json!(units)).then_some(()));
}

#[test]
fn clinics_see_the_free_stock() {
    let supplier = Supplier::start(&[]);
    let (clinic, other) = (supplier.clinic(), supplier.clinic());
    assert_eq!(shown(&supplier, &other, "TP1"), json!(100));
    let tag = supplier.get(&other, "/products").header("etag").expect("a tag").to_owned();
    let mut order = with("1", "/purchase_order_item_list/0/quantity", json!("30"));
    order["purchaseorder"]["purchase_order_item_list"][0]["outers"] = json!("30");
    order["purchaseorder"]["purchase_order_item_list"][0]["total"] = json!("120");
    order["purchaseorder"]["total"] = json!("120.4");
    let answer = supplier.order(&clinic, &order).expect(200);
    let number = answer["purchaseorder"]["supplier_order_number"].as_str().expect("a number").to_owned();
    becomes(&supplier, &other, 70);
    assert_ne!(supplier.get(&other, "/products").header("etag"), Some(tag.as_str()), "the tag changes with the stock");
    supplier.run(["order", "cancel", &number, "--line", "9:10", "--reason", "too many"]);
    becomes(&supplier, &other, 80);
    // The warehouse counts the goods on hand and does not know of orders.
    let counted = supplier.file("stock.csv", "code,stock_available\nTP1,50\n");
    supplier.run(["catalog", "import", counted.to_str().expect("UTF-8"), "--only", "stock"]);
    becomes(&supplier, &other, 30);
    supplier.run(["shipment", "create", &number, "--line", "9:5"]);
    let product = supplier.run(["catalog", "list", "--text", "TP1"]);
    assert_eq!((&product[0]["stock_available"], &product[0]["stock_reserved"]), (&json!("45"), &json!("15")));
    becomes(&supplier, &other, 30);
    supplier.run(["order", "cancel", &number, "--reason", "enough"]);
    becomes(&supplier, &other, 45);
    let order = supplier.run(["order", "show", &number]);
    assert_eq!(order["state"], json!("shipped"), "nothing is outstanding, and something was shipped");
}
