//! Deliveries to the sandbox: what the site stores, which calls the faults of an order affect, and server errors.

use super::MINUTE;
use super::scene::{START, Scene};
use rust_decimal::Decimal;
use spsi_partner::sandbox::{self, Listed, Options, OrderLine, Sandbox, clock, options::Approve};
use std::time::Duration;

struct Site {
    scene: Scene,
    sandbox: Sandbox,
    time: clock::Clock,
}

impl Site {
    async fn open(flags: &[&str]) -> Self {
        let scene = Scene::open_with(flags).await;
        let time = clock::Clock::manual(START.unix_timestamp() * 1000);
        let options = Options {
            bind: "127.0.0.1:0".into(),
            approve: Approve::Manual,
            partner_id: "p".into(),
            client_id: "c".into(),
            client_secret: "s3cret".into(),
            site_uid: "u".into(),
            ..Options::default()
        };
        let sandbox = sandbox::start_with_clock(options, time.clone()).await.expect("a sandbox");
        let listed = |code: &str| Listed {
            active: true,
            code: code.into(),
            name: code.into(),
            units_per_outer: Decimal::ONE,
            list_price: 4.into(),
            ..Listed::default()
        };
        sandbox.world().link_catalogue(&[listed("TP1"), listed("TP2")]);
        let address = "update site set base_url = $1";
        sqlx::query(address).bind(&sandbox.url).execute(scene.pool()).await.expect("the site's address");
        Self { scene, sandbox, time }
    }

    /// Ships an order of the sandbox's clinic in full, of batch B1. `comments` may hold the sandbox's magic values.
    async fn shipped(&self, comments: &str) -> String {
        let lines = [OrderLine::new("TP1", 10, 3), OrderLine::new("TP2", 5, 4)];
        let written = self.sandbox.world().write_order(self.sandbox.now(), &lines, comments).expect("an order");
        let number = self.scene.order(1).await;
        let ids = "update purchase_order_line l set ezyvet_id = ($2::text[])[l.position] from purchase_order o
                   where o.id = l.order_id and o.supplier_order_number = $1";
        let items: Vec<String> = written.items.iter().map(|item| item.id.to_string()).collect();
        sqlx::query(ids).bind(&number).bind(&items).execute(self.scene.pool()).await.expect("its lines");
        let business = "update purchase_order set ownership_id = '2'";
        sqlx::raw_sql(business).execute(self.scene.pool()).await.expect("its business");
        let lines = [(items[0].as_str(), 10), (items[1].as_str(), 5)];
        self.scene.ship(&number, &lines).await.expect("shipped").invoice_number
    }

    async fn step_after(&self, wait: Duration) {
        self.time.advance(wait);
        self.scene.step_after(wait).await;
    }

    fn approve_all(&self) -> usize {
        let now = self.sandbox.now();
        self.sandbox.world().approve_all(now)
    }

    /// Returns the invoice numbers of the jobs at the site, in order.
    fn jobs(&self) -> Vec<String> {
        self.sandbox.world().jobs.iter().filter_map(|job| job.invoice_number()).collect()
    }
}

#[tokio::test]
async fn batches_and_their_expiry_are_compared_with_what_the_site_stored() {
    let site = Site::open(&[]).await;
    let [sound, other] = [site.shipped("").await, site.shipped("").await];
    site.scene.step().await;
    assert_eq!(site.approve_all(), 2);
    {
        let mut world = site.sandbox.world();
        let invoice = world.invoices.iter_mut().find(|invoice| invoice.draft.invoice_number == other).unwrap();
        invoice.draft.lines[0].batch[0].expiry = invoice.draft.lines[0].batch[0].expiry.map(|at| at + 2 * 86_400);
        invoice.draft.lines[1].batch[0].name = "B2".into();
    }
    site.step_after(20 * MINUTE).await;
    let deliveries = site.scene.deliveries().await;
    let by_number = |number: &str| {
        let mut own = deliveries.iter().filter(|delivery| delivery.kind == "receive_invoice");
        own.find(|delivery| delivery.invoice_number == number).unwrap()
    };
    assert_eq!((by_number(&sound).state.as_str(), by_number(&sound).differs), ("confirmed", false));
    let detail = site.scene.shown(by_number(&other).id).await;
    let items: Vec<_> = site.sandbox.world().orders[1].items.iter().map(|item| item.id).collect();
    let expected = serde_json::json!([
        { "what": format!("line {} batch expiry", items[0]), "sent": "2028-01-01", "stored": "2028-01-03" },
        { "what": format!("line {} batch", items[1]), "sent": "B1", "stored": "B2" },
    ]);
    assert_eq!(detail.differences, expected);
}

#[tokio::test]
async fn a_fault_of_an_order_affects_only_the_calls_about_this_order() {
    let site = Site::open(&[]).await;
    let first = site.shipped("").await;
    // The job never arrives, and the look-up of its invoice fails.
    let second = site.shipped("sandbox:fault=cut-before:jobqueuex1 sandbox:fault=status:receiveinvoice=503x1").await;
    let third = site.shipped("").await;
    assert_eq!(site.sandbox.world().faults.list().len(), 2);
    site.scene.step().await;
    assert_eq!(site.jobs(), [first.clone(), third.clone()]);
    let deliveries = site.scene.deliveries().await;
    let states: Vec<_> = deliveries.iter().filter(|d| d.kind == "receive_invoice").map(|d| d.state.as_str()).collect();
    assert_eq!(states, ["delivered", "unclear", "delivered"]);
    let error = deliveries.iter().find(|d| d.invoice_number == second).unwrap().last_error.clone().unwrap();
    assert!(error.contains("looking up the invoice") && error.contains("503"), "{error}");
    assert!(site.sandbox.world().faults.list().is_empty());
    for _ in 0..3 {
        site.step_after(16 * MINUTE).await;
    }
    assert_eq!(site.jobs(), [first, third, second]);
    assert!(site.scene.states().await.iter().all(|state| state.ends_with("delivered")));
}

#[tokio::test]
async fn a_fault_of_an_orders_stock_affects_only_its_own_batches() {
    let site = Site::open(&[]).await;
    site.shipped("").await;
    let order = site.shipped("sandbox:fault=status:supplied=503x2").await;
    let other_batch =
        "update delivery set payload = replace(payload::text, 'B1', 'B9')::jsonb where invoice_number = $1";
    sqlx::query(other_batch).bind(&order).execute(site.scene.pool()).await.unwrap();
    site.scene.step().await;
    let deliveries = site.scene.deliveries().await;
    for delivery in deliveries.iter().filter(|delivery| delivery.kind == "supplied") {
        let expected = if delivery.invoice_number == order { "waiting" } else { "delivered" };
        assert_eq!(delivery.state, expected, "{delivery:?}");
    }
    site.step_after(MINUTE).await;
    assert!(site.scene.states().await.iter().all(|state| state.ends_with("delivered")));
}

#[tokio::test]
async fn a_site_that_does_every_job_and_answers_500_gets_an_invoice_at_most_twice() {
    let site = Site::open(&[]).await;
    let number = site.shipped("sandbox:fault=status-after:jobqueue=500").await;
    for _ in 0..8 {
        site.step_after(20 * MINUTE).await;
    }
    // As without an answer: looked up, sent again once under the same number, then held for staff.
    assert_eq!(site.jobs(), [number.clone(), number]);
    let invoice = site.scene.deliveries().await.remove(0);
    assert_eq!(invoice.state, "unclear");
    assert!(invoice.last_error.unwrap().contains("job queue"));
}

#[tokio::test]
async fn a_site_set_to_hold_never_gets_a_second_invoice_after_a_500() {
    let site = Site::open(&["--unclear", "hold"]).await;
    let number = site.shipped("sandbox:fault=status-after:jobqueue=500x1").await;
    for _ in 0..8 {
        site.step_after(20 * MINUTE).await;
    }
    assert_eq!((site.jobs(), site.scene.states().await[0].as_str()), (vec![number], "receive_invoice unclear"));
    // The clinic approves the job, which look-ups do not show: the shipment continues by itself.
    assert_eq!(site.approve_all(), 1);
    site.step_after(25 * 60 * MINUTE).await;
    assert_eq!(site.scene.states().await[0], "receive_invoice confirmed");
    assert_eq!(site.sandbox.world().supplied.len(), 2);
}

#[tokio::test]
async fn stock_is_not_counted_twice_if_a_site_counts_it_and_answers_500() {
    let site = Site::open(&[]).await;
    site.shipped("sandbox:fault=status-after:supplied=500x1").await;
    for _ in 0..3 {
        site.step_after(20 * MINUTE).await;
    }
    let states = site.scene.states().await;
    assert_eq!(states, ["receive_invoice delivered", "supplied unclear", "supplied delivered"]);
    let world = site.sandbox.world();
    assert_eq!((world.supplied.len(), world.repeated_supplied()), (2, 0));
}

#[tokio::test]
async fn with_server_error_not_done_a_500_of_ezyvet_is_retried() {
    let site = Site::open(&["--server-error", "not-done"]).await;
    let number = site.shipped("sandbox:fault=status:jobqueue=500x3 sandbox:fault=status:supplied=500x1").await;
    for _ in 0..6 {
        site.step_after(2 * MINUTE).await;
    }
    assert_eq!(site.jobs(), [number]);
    assert!(site.scene.states().await.iter().all(|state| state.ends_with("delivered")));
}

#[tokio::test]
async fn a_token_whose_answer_was_lost_is_requested_again_and_the_dead_one_never_used() {
    let site = Site::open(&[]).await;
    site.shipped("").await;
    site.scene.step().await;
    // The token dies, the new one is issued, and its answer does not arrive.
    site.sandbox.fault("token-killed:jobqueuex1").unwrap();
    site.sandbox.fault("cut-after:tokenx1").unwrap();
    site.shipped("").await;
    for _ in 0..6 {
        site.step_after(MINUTE).await;
    }
    assert!(site.scene.states().await.iter().all(|state| state.ends_with("delivered")));
    let world = site.sandbox.world();
    assert_eq!((world.tokens.len(), world.finish().map_err(|events| events[0].to_string())), (3, Ok(())));
}
