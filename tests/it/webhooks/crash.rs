//! Processes that are killed lose no event.

use super::receiver::{Answer, Receiver};
use super::{FAST, SOON, add};
use crate::support::client::Request;
use crate::support::database::in_own_runtime;
use crate::support::order::documented;
use crate::support::supplier::Supplier;
use crate::support::until;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ORDERS: usize = 60;
const KILLS: usize = 6;

/// Servers that store orders and send their events are killed at different moments: between the commit of an order and its
/// message, during calls, and between an answer and its settlement. Then every event is counted.
#[test]
fn kill_9_between_commit_and_webhook_loses_no_event() {
    let mut supplier = Supplier::start(&[FAST[0], ("SPSI_WEBHOOK_TIMEOUT", "200ms")]);
    let clinic = supplier.clinic();
    let receiver = Receiver::start();
    receiver.answer(|_| Answer::Hang(Duration::from_millis(20)));
    let (id, _) = add(&supplier, &receiver, &[]);
    supplier.kill();
    let mut numbers = BTreeSet::new();
    for kill in 0..KILLS {
        let mut server = supplier.replica();
        for order in 0..ORDERS / KILLS {
            let order = documented(&format!("{}", kill * ORDERS + order));
            let answer = Request::new("POST", server.url(), "/purchaseorder").bearer(&clinic.token).json(&order).send();
            let number = &answer.expect(200)["purchaseorder"]["supplier_order_number"];
            numbers.insert(number.as_str().expect("a number").to_owned());
        }
        std::thread::sleep(Duration::from_millis(7 * kill as u64));
        server.kill();
    }
    let before = receiver.received().len();
    let _server = supplier.replica();
    let arrived = until("every event", SOON, || {
        expire_leases(&supplier);
        let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
        for message in receiver.received() {
            *arrived.entry(message.order().to_owned()).or_default() += 1;
        }
        (arrived.len() == ORDERS).then_some(arrived)
    });
    assert_eq!(arrived.keys().cloned().collect::<BTreeSet<_>>(), numbers);
    let repeated = arrived.values().filter(|count| **count > 1).count();
    println!("{ORDERS} events: {before} messages before the last kill, {repeated} events more than once, none lost");
    assert_eq!(supplier.run(["webhook", "show", &id])["state"], "active");
    until("everything is settled", SOON, || {
        expire_leases(&supplier);
        let waiting = "select count(*) from webhook_message where state <> 'delivered'";
        (count(&supplier, waiting) == 0).then_some(())
    });
}

/// Ends the leases of killed workers, which last 30 seconds. A live worker's call is repeated at worst.
fn expire_leases(supplier: &Supplier) {
    query(
        supplier,
        "update webhook_message set due_at = now() where lease_token is not null and due_at < now() + interval '29.5 s' returning event_id",
    );
}

fn count(supplier: &Supplier, text: &'static str) -> i64 {
    query(supplier, text).unwrap_or_default()
}

/// Runs a query on a connection of its own, and returns the first value.
fn query(supplier: &Supplier, text: &'static str) -> Option<i64> {
    in_own_runtime(|| async {
        let mut connection = supplier.database.connect().await;
        sqlx::query_scalar(text).fetch_optional(&mut connection).await.expect("a value")
    })
}
