//! The fast path of the intake: orders decided by terms from memory, and what happens when these no longer hold.

use crate::orders_stock::{NOW, Shop, order};
use crate::support::database::is_skipped_without_sessions;
use futures_util::FutureExt;
use serde_json::{Value, json};
use spsi_partner::catalog::Catalog;
use spsi_partner::catalog::import::{ImportOptions, SourceFile, import};
use spsi_partner::clinics;
use spsi_partner::clinics::mapping::{Kind, NewMapping, Owner, map};
use spsi_partner::db::{Page, in_transaction};
use spsi_partner::orders::intake::{Intake, Path};
use spsi_partner::orders::{self, read::read};
use sqlx::{PgConnection, Postgres, Transaction};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// A shop whose server has loaded the catalogue, and loads it again only when the test says so.
struct Server {
    shop: Shop,
    catalog: Catalog,
    intake: Intake,
}

impl Server {
    async fn open(clinic: &[&str]) -> Self {
        let shop = Shop::open(clinic).await;
        let catalog = Catalog::new(shop.database.pool().clone());
        catalog.refresh(NOW).await.expect("refresh");
        let intake = Intake::new(shop.database.pool().clone(), catalog.clone());
        Self { shop, catalog, intake }
    }

    async fn send_at(&self, now: OffsetDateTime, order: &Value) -> (u16, Path, String) {
        let order = read(order.to_string().as_bytes(), 10_000).expect("an order");
        let placed = self.intake.place(now, &self.shop.clinic, &order.into()).await.expect("an answer");
        (placed.reply.status, placed.path, placed.reply.body)
    }

    async fn send(&self, order: &Value) -> (u16, Path) {
        let (status, path, _) = self.send_at(NOW, order).await;
        (status, path)
    }

    /// The rules that staff see noted at the last order with this id.
    async fn findings(&self, ezyvet_id: &str) -> Vec<String> {
        let number = self.shop.number(ezyvet_id).await;
        let order = orders::show(&mut self.shop.database.pool().begin().await.expect("a connection"), &number)
            .await
            .expect("the order");
        let findings = order.revisions.last().expect("a revision").findings.clone();
        let rule = |finding: &Value| finding["rule"].as_str().expect("a rule").to_owned();
        findings.as_array().expect("findings").iter().map(rule).collect()
    }

    async fn import(&self, rows: &str) {
        let file =
            format!("code,name,type,category,units_per_outer,unit_of_measure,list_price,stock_available\n{rows}");
        let content = Box::new(std::io::Cursor::new(file.into_bytes()));
        let file = SourceFile { name: "products.csv".into(), content };
        let options = ImportOptions { allow_withdrawals: true, ..ImportOptions::default() };
        let pool = self.shop.database.pool();
        let done =
            in_transaction(pool, async |c| import(c, NOW, "test", Some(file), None, &options, &|_| {}).await).await;
        done.expect("import");
    }

    async fn map(&self, value: &str) {
        let mapping = NewMapping { kind: Kind::ShipTo, ezyvet_id: "2".into(), value: Some(value.into()) };
        let map = async |connection: &mut PgConnection| {
            let harbour = clinics::find(&mut *connection, "harbour").await?.id;
            map(connection, NOW, "test", Owner::Clinic(harbour), &[mapping]).await
        };
        in_transaction(self.shop.database.pool(), map).await.expect("mapped");
    }
}

#[tokio::test]
async fn a_plain_order_takes_the_fast_path_and_others_are_decided_under_locks() {
    let server = Server::open(&[]).await;
    for id in 0..5 {
        let sent = server.send(&order(&id.to_string(), &[("A", 1), ("B", 2), ("A", 1)])).await;
        assert_eq!(sent, (200, Path::Fast));
        assert_eq!(server.findings(&id.to_string()).await, [""; 0]);
    }
    assert_eq!(server.send(&order("r", &[("A", -1)])).await, (200, Path::Fast), "a return");
    assert_eq!(server.findings("r").await, ["rule_return"]);
    assert_eq!(server.send(&order("x", &[("X", 1)])).await, (422, Path::Locked), "an unknown product");
    let again = || order("1", &[("A", 1), ("B", 2), ("A", 1)]);
    let (first, second) = (server.send_at(NOW, &again()).await, server.send_at(NOW, &again()).await);
    assert_eq!((first.1, &first), (Path::Repeated, &second));
    assert_eq!(server.send(&order("1", &[("A", 3)])).await, (200, Path::Revised));
    let changed = orders::show(
        &mut server.shop.database.pool().begin().await.expect("a connection"),
        &server.shop.number("1").await,
    )
    .await
    .expect("the order");
    assert_eq!((changed.revisions.len(), changed.items.len()), (2, 1));
    // Numbers that a repeated or revised order did not need are given to the next orders.
    let all = orders::list(
        &mut server.shop.database.pool().begin().await.expect("a connection"),
        &orders::Filter::default(),
        Page::default(),
    )
    .await
    .expect("orders");
    let numbers: Vec<&str> = all.iter().map(|order| order.supplier_order_number.as_str()).collect();
    assert_eq!(numbers, [7, 6, 5, 4, 3, 2, 1].map(orders::number::format));
    server.shop.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_that_arrive_together_are_one_order_whichever_path_they_take() {
    let server = Arc::new(Server::open(&[]).await);
    for id in 0..5 {
        let mut sending = tokio::task::JoinSet::new();
        for copy in 0..24 {
            let server = Arc::clone(&server);
            let sent =
                read(order(&format!("o{id}"), &[("A", 1), ("B", 1)]).to_string().as_bytes(), 10).expect("an order");
            sending.spawn(async move {
                let intake = if copy % 3 == 0 { &server.shop.locked_intake } else { &server.intake };
                intake.place(NOW, &server.shop.clinic, &sent.into()).await.expect("an answer").reply.body
            });
        }
        let replies = sending.join_all().await;
        assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    }
    let all = orders::list(
        &mut server.shop.database.pool().begin().await.expect("a connection"),
        &orders::Filter::default(),
        Page::default(),
    )
    .await
    .expect("orders");
    assert_eq!(all.len(), 5);
    assert_eq!(server.shop.stock("A").await.1, "5", "each is counted once");
    server.shop.assert_consistent().await;
}

/// Sends all orders at the same time to an intake that stores up to 16 in a batch. Returns the answers in order.
async fn send_together(server: &Arc<Server>, orders: Vec<Value>) -> Vec<Result<u16, String>> {
    let intake = server.intake.with_batch_writer(2, 16);
    let mut sending = tokio::task::JoinSet::new();
    for (at, order) in orders.into_iter().enumerate() {
        let (server, intake) = (Arc::clone(server), intake.clone());
        sending.spawn(async move {
            let order = read(order.to_string().as_bytes(), 10_000).expect("an order");
            let reply = intake.place(NOW, &server.shop.clinic, &order.into()).await;
            (at, reply.map(|placed| placed.reply.status).map_err(|error| format!("{error:?}")))
        });
    }
    let mut answers = sending.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

impl Server {
    /// Orders stored, and transactions that stored them.
    async fn stored(&self) -> (i64, i64) {
        sqlx::query_as("select count(*), count(distinct xmin::text) from purchase_order")
            .fetch_one(self.shop.database.pool())
            .await
            .expect("counts")
    }
}

#[tokio::test]
async fn waiting_orders_share_a_transaction_and_each_is_stored_whole() {
    let server = Arc::new(Server::open(&[]).await);
    assert_eq!(server.send(&order("first", &[("A", 1)])).await.0, 200);
    let many: Vec<Value> = (0..40).map(|id| order(&format!("o{id}"), &[("A", 1), ("B", id % 3 + 1)])).collect();
    assert_eq!(send_together(&server, many).await, vec![Ok(200); 40]);
    let (orders, transactions) = server.stored().await;
    assert_eq!(orders, 41);
    assert!(transactions <= 12, "{transactions} transactions");
    for id in 0..40 {
        let found = orders::show(
            &mut server.shop.database.pool().begin().await.expect("a connection"),
            &server.shop.number(&format!("o{id}")).await,
        )
        .await;
        let found = found.expect("the order");
        let quantities: Vec<String> = found.items.iter().map(|line| line.quantity.normalize().to_string()).collect();
        assert_eq!(quantities, ["1".to_owned(), (id % 3 + 1).to_string()]);
        assert_eq!(found.revisions.len(), 1);
    }
    let recorded: i64 =
        sqlx::query_scalar("select count(distinct subject_id) from audit_entry where action = 'order.place'")
            .fetch_one(server.shop.database.pool())
            .await
            .expect("a count");
    assert_eq!(recorded, 41);
    server.shop.assert_consistent().await;
}

#[tokio::test]
async fn an_order_that_postgres_refuses_does_not_affect_the_others_of_its_batch() {
    let server = Arc::new(Server::open(&[]).await);
    sqlx::raw_sql(
        "create function refuse_bad() returns trigger language plpgsql as
             $$ begin if new.ezyvet_id like 'bad%' then raise exception 'bad'; end if; return new; end $$;
         create trigger refuse_bad before insert on purchase_order for each row execute function refuse_bad()",
    )
    .execute(server.shop.database.pool())
    .await
    .expect("a trigger");
    let id = |at: usize| if at % 5 == 2 { format!("bad{at}") } else { format!("good{at}") };
    let answers = send_together(&server, (0..20).map(|at| order(&id(at), &[("A", 1)])).collect()).await;
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), at % 5 != 2, "{at}: {answer:?}");
    }
    assert_eq!(server.stored().await.0, 16);
    server.shop.assert_consistent().await;
}

#[tokio::test]
async fn a_purchase_order_number_used_twice_at_the_same_time_is_noted() {
    let server = Arc::new(Server::open(&[]).await);
    let with_number = |id: &str| numbered(id, "PO-7");
    let ids = ["a", "b", "a", "a", "b"];
    assert_eq!(send_together(&server, ids.map(with_number).into()).await, vec![Ok(200); 5]);
    assert_eq!(server.stored().await.0, 2);
    let noticed = [server.findings("a").await, server.findings("b").await].concat();
    assert_eq!(noticed, ["rule_repeated_number"]);
}

#[tokio::test]
async fn an_order_is_stored_even_if_its_client_disconnects() {
    let server = Arc::new(Server::open(&[]).await);
    assert_eq!(server.send(&order("first", &[("A", 1)])).await.0, 200);
    let sent = read(order("gone", &[("A", 1)]).to_string().as_bytes(), 10).expect("an order").into();
    // Begun, and dropped before there can be an answer.
    let answer = server.intake.place(NOW, &server.shop.clinic, &sent).now_or_never();
    assert!(answer.is_none(), "it was answered at once");
    for _ in 0..500 {
        if server.stored().await.0 == 2 {
            return server.shop.assert_consistent().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the order is not stored");
}

/// An order with this id and number that another process is storing: it ends with the transaction.
async fn insert_uncommitted(server: &Server, ezyvet_id: &str, number: &str) -> Transaction<'static, Postgres> {
    let mut other = server.shop.database.pool().begin().await.expect("a transaction");
    sqlx::query(
        "insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return, body,
             answer_status, answer_body, ownership_id, shipping_address_id, freight, freight_tax, tax, total, received_at, changed_at)
         values ($1, $2, 'SO-of-another', $3, 'accepted', false, '{}', 200, '{}', '1', '0', 0, 0, 0, 0, $4, $4)",
    )
    .bind(server.shop.clinic.row.id)
    .bind(ezyvet_id)
    .bind(number)
    .bind(NOW)
    .execute(&mut *other)
    .await
    .expect("inserted");
    other
}

/// Returns when somebody waits for a lock.
async fn wait_for_a_lock_wait(server: &Server) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let pool = server.shop.database.pool();
    let waits = async { while sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.expect("a count") == 0 {} };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("nobody waits");
}

#[tokio::test]
async fn an_order_that_waits_for_a_lock_does_not_delay_others() {
    let server = Arc::new(Server::open(&[]).await);
    let intake = server.intake.with_batch_writer(2, 16);
    let other = insert_uncommitted(&server, "A", "").await;
    let send = |code: &'static str| {
        let (server, intake) = (Arc::clone(&server), intake.clone());
        let order = Arc::new(read(order(code, &[(code, 1)]).to_string().as_bytes(), 10).expect("an order"));
        tokio::spawn(
            async move { intake.place(NOW, &server.shop.clinic, &order).await.expect("an answer").reply.status },
        )
    };
    let held_up = send("A");
    wait_for_a_lock_wait(&server).await;
    let passes = tokio::time::timeout(Duration::from_secs(20), send("B")).await;
    assert_eq!(passes.expect("B waits for A").expect("sent"), 200);
    assert_eq!(server.stored().await.0, 1);
    other.rollback().await.expect("rolled back");
    assert_eq!(held_up.await.expect("sent"), 200);
    assert_eq!(server.stored().await.0, 2);
}

#[tokio::test]
async fn a_number_that_another_process_stores_at_the_same_time_is_noted() {
    for commits in [true, false] {
        let server = Arc::new(Server::open(&[]).await);
        let other = insert_uncommitted(&server, "theirs", "7").await;
        let sending = Arc::clone(&server);
        let sent = tokio::spawn(async move { sending.send(&numbered("ours", "7")).await });
        wait_for_a_lock_wait(&server).await;
        if commits {
            other.commit().await.expect("committed");
        } else {
            other.rollback().await.expect("rolled back");
        }
        assert_eq!(sent.await.expect("sent").0, 200);
        let noticed = if commits { vec!["rule_repeated_number"] } else { vec![] };
        assert_eq!(server.findings("ours").await, noticed);
    }
}

#[tokio::test]
async fn a_revision_to_a_number_that_is_being_stored_is_noted() {
    let server = Arc::new(Server::open(&[]).await);
    assert_eq!(server.send(&numbered("ours", "6")).await.0, 200);
    let other = insert_uncommitted(&server, "theirs", "7").await;
    let sending = Arc::clone(&server);
    let sent = tokio::spawn(async move { sending.send(&numbered("ours", "7")).await });
    wait_for_a_lock_wait(&server).await;
    other.commit().await.expect("committed");
    assert_eq!(sent.await.expect("sent").0, 200);
    assert_eq!(server.findings("ours").await, ["rule_repeated_number"]);
}

#[tokio::test]
async fn a_lost_database_fails_every_waiting_order_and_stores_none_in_part() {
    let server = Arc::new(Server::open(&[]).await);
    let intake = server.intake.with_batch_writer(2, 16);
    assert_eq!(server.send(&order("first", &[("A", 1)])).await.0, 200);
    let mut sending = tokio::task::JoinSet::new();
    for id in 0..30 {
        let (server, intake) = (Arc::clone(&server), intake.clone());
        sending.spawn(async move {
            let order = read(order(&format!("o{id}"), &[("A", 1)]).to_string().as_bytes(), 10).expect("an order");
            intake.place(NOW, &server.shop.clinic, &order.into()).await.is_ok()
        });
    }
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let _ = sqlx::query_scalar::<_, i64>(cut).fetch_one(server.shop.database.pool()).await;
    }
    let answered = sending.join_all().await.into_iter().filter(|done| *done).count() as i64;
    let (stored, _) = server.stored().await;
    assert!(stored > answered, "{answered} were answered with 200, {stored} are stored, the first included");
    server.shop.assert_consistent().await;
    // Sent again, all are there once.
    for id in 0..30 {
        let again = vec![order(&format!("o{id}"), &[("A", 1)])];
        while send_together(&server, again.clone()).await != [Ok(200)] {}
    }
    assert_eq!(server.stored().await.0, 31);
    server.shop.assert_consistent().await;
}

#[tokio::test]
async fn plans_made_on_empty_tables_still_look_orders_up_by_key() {
    if is_skipped_without_sessions() {
        return;
    }
    let server = Arc::new(Server::open(&[]).await);
    let intake = server.intake.with_batch_writer(1, 16);
    let (clinic, pool) = (&server.shop.clinic, server.shop.database.pool());
    // Postgres knows that there are none, and would read through them.
    sqlx::raw_sql("vacuum analyze purchase_order").execute(pool).await.expect("analysed");
    // Plans are kept from the sixth time on, when there are hardly any orders.
    for id in 0..30 {
        let read = |id: String| read(order(&id, &[("A", 1)]).to_string().as_bytes(), 10).expect("an order").into();
        intake.place(NOW, clinic, &read(format!("o{id}"))).await.expect("an answer");
        server.shop.locked_intake.place(NOW, clinic, &read(format!("p{id}"))).await.expect("an answer");
    }
    let scanned = || async {
        sqlx::query_scalar::<_, i64>("select seq_scan from pg_stat_user_tables where relname = 'purchase_order'")
            .fetch_one(server.shop.database.pool())
            .await
            .expect("statistics")
    };
    // Postgres publishes the counts of a connection when it idles, or when it ends.
    drop(intake);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(scanned().await, 0);
}

#[tokio::test]
async fn a_catalogue_newer_than_the_one_in_memory_decides() {
    let server = Server::open(&[]).await;
    assert_eq!(server.send(&order("1", &[("A", 1)])).await.0, 200);
    // A costs more and B is withdrawn; this server has not loaded that version yet.
    server.import("A,A,t,c,1,box,9,20\nC,C,t,c,1,box,4,20\n").await;
    assert_eq!(server.send(&order("2", &[("B", 1)])).await, (422, Path::Locked));
    assert_eq!(server.send(&order("3", &[("A", 1)])).await, (200, Path::Locked));
    assert_eq!(server.findings("3").await, ["rule_price_below"], "4 is less than 9");
    assert_eq!(server.send(&order("4", &[("C", 1)])).await, (200, Path::Locked));
    server.catalog.refresh(NOW).await.expect("refresh");
    assert_eq!(server.send(&order("5", &[("A", 1)])).await, (200, Path::Fast));
    assert_eq!(server.findings("5").await, ["rule_price_below"]);
    // The prices in memory are those of another day.
    let (status, path, _) = server.send_at(NOW + Duration::from_secs(86_400), &order("6", &[("C", 1)])).await;
    assert_eq!((status, path), (200, Path::Locked));
}

#[tokio::test]
async fn a_number_that_was_used_before_is_noted() {
    let server = Server::open(&[]).await;
    for (id, number, findings, path) in [
        ("1", "7", vec![], Path::Fast),
        ("2", "7", vec!["rule_repeated_number"], Path::Locked),
        ("3", "8", vec![], Path::Fast),
        ("4", "", vec![], Path::Fast),
        ("5", "", vec![], Path::Fast),
    ] {
        assert_eq!(server.send(&numbered(id, number)).await, (200, path));
        assert_eq!(server.findings(id).await, findings, "{id}");
    }
    for (id, number, findings, why) in [
        ("1", "9", vec![], "a revision gives its number up"),
        ("6", "7", vec!["rule_repeated_number"], "to the next that has it"),
        ("1", "8", vec!["rule_repeated_number"], "a revision takes another's number"),
        ("7", "9", vec![], "and leaves nobody with its own"),
    ] {
        assert_eq!(server.send(&numbered(id, number)).await.0, 200);
        assert_eq!(server.findings(id).await, findings, "{why}");
    }
}

/// One of A.
fn numbered(id: &str, number: &str) -> Value {
    let mut order = order(id, &[("A", 1)]);
    order["purchaseorder"]["purchase_order_number"] = json!(number);
    order
}

#[tokio::test]
async fn an_address_mapped_or_unmapped_since_the_last_query_counts() {
    let server = Server::open(&[]).await;
    let to = |id: &str| {
        let mut order = order(id, &[("A", 1)]);
        order["purchaseorder"]["shipping_address_id"] = json!("2");
        order
    };
    let unmapped = ["rule_ship_to_unmapped"];
    for (id, path) in [("1", Path::Fast), ("2", Path::Fast)] {
        assert_eq!(server.send(&to(id)).await, (200, path));
        assert_eq!(server.findings(id).await, unmapped);
    }
    server.map("Harbour Street 1").await;
    for (id, path) in [("3", Path::Locked), ("4", Path::Fast)] {
        assert_eq!(server.send(&to(id)).await, (200, path));
        assert_eq!(server.findings(id).await, [""; 0]);
    }
    server.map("").await;
    for (id, path) in [("5", Path::Locked), ("6", Path::Fast)] {
        assert_eq!(server.send(&to(id)).await, (200, path));
        assert_eq!(server.findings(id).await, unmapped);
    }
}

#[tokio::test]
async fn the_fast_path_counts_what_this_process_reserved_since_the_last_refresh() {
    let server = Server::open(&[]).await;
    assert_eq!(server.send(&order("1", &[("A", 15), ("B", 20)])).await, (200, Path::Fast));
    assert_eq!(server.findings("1").await.len(), 0);
    assert_eq!(server.send(&order("2", &[("A", 6)])).await, (200, Path::Fast));
    assert_eq!(server.findings("2").await, ["rule_stock_short"], "before the catalogue is refreshed");
    assert_eq!(server.send(&order("3", &[("C", 15), ("C", 6)])).await, (200, Path::Fast));
    assert_eq!(server.findings("3").await, ["rule_stock_short"], "the second of two lines");
    server.catalog.refresh(NOW).await.expect("refresh");
    assert_eq!(server.send(&order("4", &[("B", 1)])).await, (200, Path::Fast));
    assert_eq!(server.findings("4").await, ["rule_stock_short"], "after the refresh");
    assert_eq!(server.send(&order("5", &[("D", 20)])).await, (200, Path::Fast));
    assert_eq!(server.findings("5").await.len(), 0);
    server.shop.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_stock_rule_only_notes_takes_no_product_lock() {
    let server = Server::open(&[]).await;
    let pool = server.shop.database.pool();
    assert_eq!(server.send(&order("1", &[("A", 1)])).await.0, 200);
    // As `place` holds A for an order of a clinic that gets only what is there.
    let mut deciding = pool.begin().await.expect("begin");
    sqlx::query("select pg_advisory_xact_lock(x'73746f63'::int, hashtext('A') & 255)")
        .execute(&mut *deciding)
        .await
        .expect("lock");
    let sent = tokio::time::timeout(Duration::from_secs(20), server.send(&order("2", &[("A", 1)]))).await;
    assert_eq!(sent.expect("it waits"), (200, Path::Fast));
    deciding.commit().await.expect("commit");
}

#[tokio::test]
async fn the_fast_path_and_the_locked_path_decide_alike() {
    // Stock is off: other tests cover it, and here both paths must see the same.
    let server = Server::open(&["rule_stock_short=off", "hidden_products=D", "rule_unknown_product=note"]).await;
    server
        .import(
            "A,A,t,c,1,box,4,20\nB,B,t,c,3,box,10,20\nC,C,t,c,2.5,kg,7.77,20\nD,D,t,c,1,box,4,20\nE,E,t,c,1,box,,20\n",
        )
        .await;
    server.catalog.refresh(NOW).await.expect("refresh");
    let (clinic, pool) = (&server.shop.clinic, server.shop.database.pool());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut fast = 0;
    for round in 0..150 {
        let lines: Vec<Value> = (1..=1 + next(3))
            .map(|id| {
                // Mostly products for sale, in their own pack size.
                let (code, units, price) = [("A", "1", "4"), ("B", "3", "3.3333"), ("C", "2.5", "3.108"), ("B", "3", "3.333333"), ("A", "1", "4"), ("D", "1", "4"), ("E", "1", "4"), ("X", "1", "4")]
                    [next(if round % 3 == 0 { 8 } else { 5 }) as usize];
                let price = if next(6) == 0 { ["3.9", "3.97", "4.03", "5"][next(4) as usize] } else { price };
                let units = if next(8) == 0 { "2" } else { units };
                json!({"id": id, "supplier_code": code, "units_per_outer": units, "quantity": 1 + next(12), "price_per_unit": price})
            })
            .collect();
        let sent = |id: String| {
            let order = json!({"purchaseorder": {"id": id, "total": round % 5, "purchase_order_item_list": lines}});
            read(order.to_string().as_bytes(), 10).expect("an order")
        };
        let placed = server.intake.place(NOW, clinic, &sent(format!("d{round}")).into()).await.expect("an answer");
        fast += u32::from(placed.path == Path::Fast);
        let locked = server.shop.locked_intake.place(NOW, clinic, &sent(format!("p{round}")).into()).await;
        assert_eq!(placed.reply.status, locked.expect("an answer").reply.status, "{lines:?}");
        let rows: Vec<(String, Value)> =
            sqlx::query_as("select state, findings from purchase_order where ezyvet_id = any($1) order by ezyvet_id")
                .bind([format!("d{round}"), format!("p{round}")])
                .fetch_all(pool)
                .await
                .expect("rows");
        assert_eq!(rows[0], rows[1], "{lines:?}");
    }
    assert!((50..150).contains(&fast), "{fast} of 150 took the fast path");
}
