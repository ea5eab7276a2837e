//! Chaos test (DESIGN.md 6): under load, processes are killed, the database is cut off, and ezyVet fails in many ways. At the
//! end, orders, invoices and stock movements are counted on both sides.
//!
//! A normal test run makes 40 shipments. `SPSI_CHAOS_SHIPMENTS=2000 cargo test chaos -- --nocapture` is the full run and
//! prints its figures; `SPSI_CHAOS_SEED` selects another course of events.

mod count;
mod scene;

use crate::support::client::Response;
use crate::support::database::open_pool;
use crate::support::until;
use clap::Parser;
use count::Count;
use scene::{Scene, Site, pause};
use serde_json::{Value, json};
use spsi_partner::clock::Clock;
use spsi_partner::config::SiteSettings;
use spsi_partner::db::in_transaction;
use spsi_partner::sandbox::clock::Chance;
use spsi_partner::shipments::{self, NewShipment, Requested};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    site: SiteSettings,
}

#[test]
fn kills_disconnects_and_faults_neither_lose_nor_duplicate_an_order_or_invoice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (shipments, seed) = (number("SPSI_CHAOS_SHIPMENTS").unwrap_or(40), number("SPSI_CHAOS_SEED").unwrap_or(1));
    let began = Instant::now();
    let mut scene = Scene::set_up(seed);
    let (mut chance, url) = (Chance::new(seed), scene.supplier.database.direct_url().to_owned());
    scene.begin_storm();
    let (sites, trading) = (scene.sites.clone(), AtomicUsize::new(scene.sites.len()));
    let acknowledged = std::thread::scope(|scope| {
        let trader = |(site, seed): (Arc<Site>, u64)| {
            let (url, trading): (&str, &AtomicUsize) = (&url, &trading);
            scope.spawn(move || {
                let numbers = trade(&site, url, shipments / 2, Chance::new(seed));
                trading.fetch_sub(1, Ordering::SeqCst);
                numbers.into_iter().map(|number| (site.clinic_id, number)).collect::<Vec<_>>()
            })
        };
        let traders: Vec<_> = sites.into_iter().zip(seed + 100..).map(trader).collect();
        while trading.load(Ordering::SeqCst) > 0 || scene.strikes.values().sum::<u32>() < 6 {
            pause(&mut chance, 100, 900);
            scene.strike(&mut chance);
            assert!(began.elapsed() < Duration::from_secs(60 + shipments), "the clinics cannot finish their orders");
        }
        traders.into_iter().flat_map(|trader| trader.join().expect("no panic there")).collect::<Vec<_>>()
    });
    let stormy = began.elapsed();
    scene.calm();
    let limit = Duration::from_secs(60 + shipments / 10);
    until_quiet(&url, limit);
    let before = Count::take(&url);
    // Every delivery that is left needs staff and has a reason. Staff look at the clinic, and retry what did not arrive.
    before.assert_reasons();
    for (kind, states) in [("receive_invoice", "attention,unclear"), ("supplied", "attention")] {
        scene.supplier.run(["delivery", "retry", "--kind", kind, "--state", states]);
        until_quiet(&url, limit);
    }
    let after = Count::take(&url);
    println!(
        "chaos with seed {seed}: {} orders, {} shipments; {:?}; {:.0} s of storm, {:.0} s in all\n  before staff looked: {}\n  after: {}",
        acknowledged.len(),
        after.shipments,
        scene.strikes,
        stormy.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        before.states(),
        after.states(),
    );
    assert!(after.shipments >= shipments as usize);
    after.assert_orders(&acknowledged);
    after.assert_reasons();
    for site in &scene.sites {
        println!("  {}", after.assert_site(site));
    }
}

/// Lets a clinic order and a warehouse ship until this many shipments have left. Returns ezyVet's id and our number of each
/// acknowledged order.
fn trade(site: &Site, url: &str, shipments: u64, mut chance: Chance) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = runtime.block_on(async { open_pool(url) });
    let (mut acknowledged, mut shipped) = (Vec::new(), 0);
    while shipped < shipments {
        for (order, number) in place(site, &mut chance) {
            for lines in parcels(&order, site.clinic_id, &mut chance) {
                let new = NewShipment { order: number.clone(), lines, ..NewShipment::default() };
                let defaults = Defaults::parse_from(["spsi"]).site;
                let now = Clock::System.now();
                let ship = async |c: &mut _| shipments::ship(c, &defaults, now, "chaos", &new).await;
                runtime.block_on(in_transaction(&pool, ship)).expect("shipped");
                shipped += 1;
            }
            acknowledged.push((order["id"].to_string(), number));
        }
        pause(&mut chance, 1, 60);
    }
    acknowledged
}

/// Orders once, and resends every order that has no acknowledgement until it has one. Returns the newly acknowledged
/// orders.
fn place(site: &Site, chance: &mut Chance) -> Vec<(Value, String)> {
    let (some, more) = (1 + chance.draw() % 4, 1 + chance.draw() % 4);
    let lines = json!([{"code": "AMX", "outers": some, "location": 3}, {"code": "BND", "outers": more, "location": 4},
                       {"code": "VAC", "outers": 1, "location": 3}]);
    let answer = site.control("POST", "order", &json!({"lines": lines}));
    if let Some(placed) = read_placed(&answer) {
        // ezyVet may send an acknowledged order again.
        if chance.happens(5) {
            let again = site.control("POST", &format!("orders/{}/resend", placed.0["id"]), &Value::Null);
            assert!(read_placed(&again).is_none_or(|again| again.1 == placed.1), "{}", again.text());
        }
        return vec![placed];
    }
    let mut placed = Vec::new();
    until("all orders are acknowledged", Duration::from_secs(60), || {
        let orders = site.control("GET", "orders", &Value::Null).expect(200);
        let open: Vec<_> = orders.as_array()?.iter().filter(|order| order["supplier_order_number"].is_null()).collect();
        for order in &open {
            let again = site.control("POST", &format!("orders/{}/resend", order["id"]), &Value::Null);
            placed.extend(read_placed(&again));
        }
        open.is_empty().then_some(())
    });
    placed
}

fn read_placed(answer: &Response) -> Option<(Value, String)> {
    if answer.status != 200 {
        return None;
    }
    let answer = answer.json();
    let number = answer["supplier_order_number"].as_str().unwrap_or_else(|| panic!("declined: {answer}"));
    Some((answer["order"].clone(), number.to_owned()))
}

/// Splits an order into shipments: the whole order, or each line by itself. A batch name identifies an order line.
fn parcels(order: &Value, clinic: i64, chance: &mut Chance) -> Vec<Vec<Requested>> {
    let items = order["items"].as_array().expect("items").iter();
    let lines: Vec<Requested> = items
        .map(|item| Requested {
            item: item["id"].to_string(),
            quantity: item["quantity"].to_string().trim_matches('"').parse().expect("a number"),
            batch: format!("{clinic}-{}", item["id"]),
            expiry: None,
        })
        .collect();
    if chance.happens(30) { lines.into_iter().map(|line| vec![line]).collect() } else { vec![lines] }
}

/// Waits until every delivery has arrived or needs staff.
fn until_quiet(url: &str, limit: Duration) {
    let began = Instant::now();
    loop {
        let count = Count::take(url);
        let open = count.in_progress();
        if open.is_empty() {
            return;
        }
        assert!(began.elapsed() < limit, "still in progress after {limit:?}: {open}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
