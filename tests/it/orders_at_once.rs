//! Orders that are stored in one statement, by what is in memory: never by what is no longer so.

use crate::orders_stock::{NOW, Shop, order};
use futures_util::FutureExt;
use serde_json::{Value, json};
use spsi_partner::catalog::Catalog;
use spsi_partner::catalog::import::{ImportOptions, SourceFile, import};
use spsi_partner::clinics::mapping::{Kind, NewMapping, map};
use spsi_partner::orders::intake::Intake;
use spsi_partner::orders::{self, read::read};
use sqlx::{Postgres, Transaction};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// A shop whose server has read the catalogue, and reads it again only when told.
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

    async fn send_at(&self, now: OffsetDateTime, order: &Value) -> (u16, String) {
        let order = read(order.to_string().as_bytes(), 10_000).expect("an order");
        let reply = self.intake.place(now, &self.shop.member, &order.into()).await.expect("a reply");
        (reply.status, reply.body)
    }

    async fn send(&self, order: &Value) -> u16 {
        self.send_at(NOW, order).await.0
    }

    /// The rules that staff see noted at the last order with this id.
    async fn findings(&self, ezyvet_id: &str) -> Vec<String> {
        let number = self.shop.number(ezyvet_id).await;
        let order = orders::show(self.shop.database.pool(), &number).await.expect("the order");
        let findings = order.revisions.last().expect("a revision").findings.clone();
        let rule = |finding: &Value| finding["rule"].as_str().expect("a rule").to_owned();
        findings.as_array().expect("findings").iter().map(rule).collect()
    }

    /// How far the numbers of orders have been drawn: 64 at a time at once, one by one under locks.
    async fn drawn(&self) -> i64 {
        sqlx::query_scalar("select last_value from supplier_order_seq")
            .fetch_one(self.shop.database.pool())
            .await
            .expect("a number")
    }

    async fn import(&self, rows: &str) {
        let file =
            format!("code,name,type,category,units_per_outer,unit_of_measure,list_price,stock_available\n{rows}");
        let content = Box::new(std::io::Cursor::new(file.into_bytes()));
        let file = SourceFile { name: "products.csv".into(), content };
        let options = ImportOptions { allow_withdrawals: true, ..ImportOptions::default() };
        import(self.shop.database.pool(), NOW, "test", Some(file), None, &options, &|_| {}).await.expect("import");
    }

    async fn map(&self, value: &str) {
        let mapping = NewMapping { kind: Kind::ShipTo, ezyvet_id: "2".into(), value: value.into() };
        map(self.shop.database.pool(), NOW, "test", "harbour", &[mapping]).await.expect("mapped");
    }
}

#[tokio::test]
async fn orders_are_stored_at_once_where_nothing_speaks_against_it() {
    let server = Server::open(&[]).await;
    for id in 0..5 {
        assert_eq!(server.send(&order(&id.to_string(), &[("A", 1), ("B", 2), ("A", 1)])).await, 200);
        assert_eq!(server.drawn().await, 64);
        assert_eq!(server.findings(&id.to_string()).await, [""; 0]);
    }
    assert_eq!(server.send(&order("r", &[("A", -1)])).await, 200);
    assert_eq!(server.drawn().await, 64, "a return too");
    assert_eq!(server.findings("r").await, ["rule_return"]);
    // What is known, not for sale or changed is looked at under locks.
    assert_eq!(server.send(&order("x", &[("X", 1)])).await, 422);
    assert_eq!(server.drawn().await, 65);
    let first = server.send_at(NOW, &order("1", &[("A", 1), ("B", 2), ("A", 1)])).await;
    assert_eq!(first, server.send_at(NOW, &order("1", &[("A", 1), ("B", 2), ("A", 1)])).await);
    assert_eq!(server.send(&order("1", &[("A", 3)])).await, 200);
    let changed = orders::show(server.shop.database.pool(), &server.shop.number("1").await).await.expect("the order");
    assert_eq!((changed.revisions.len(), changed.items.len()), (2, 1));
    assert_eq!(server.drawn().await, 65);
    server.shop.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copies_at_once_are_one_order_whichever_way_they_take() {
    let server = Arc::new(Server::open(&[]).await);
    for id in 0..5 {
        let mut sending = tokio::task::JoinSet::new();
        for copy in 0..24 {
            let server = Arc::clone(&server);
            let sent =
                read(order(&format!("o{id}"), &[("A", 1), ("B", 1)]).to_string().as_bytes(), 10).expect("an order");
            sending.spawn(async move {
                let (member, pool) = (&server.shop.member, server.shop.database.pool());
                let reply = match copy % 3 {
                    0 => orders::place(pool, NOW, member, &sent.into()).await,
                    _ => server.intake.place(NOW, member, &sent.into()).await,
                };
                reply.expect("a reply").body
            });
        }
        let replies = sending.join_all().await;
        assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    }
    let all = orders::list(server.shop.database.pool(), &orders::Filter::default()).await.expect("orders");
    assert_eq!(all.len(), 5);
    assert_eq!(server.shop.stock("A").await.1, "5", "each is counted once");
    server.shop.assert_consistent().await;
}

/// Sends all of them at once to a intake that stores up to 16 together, and gives the answers in their order.
async fn together(server: &Arc<Server>, orders: Vec<Value>) -> Vec<Result<u16, String>> {
    let intake = server.intake.on_this_thread(2, 16);
    let mut sending = tokio::task::JoinSet::new();
    for (at, order) in orders.into_iter().enumerate() {
        let (server, intake) = (Arc::clone(server), intake.clone());
        sending.spawn(async move {
            let order = read(order.to_string().as_bytes(), 10_000).expect("an order");
            let reply = intake.place(NOW, &server.shop.member, &order.into()).await;
            (at, reply.map(|reply| reply.status).map_err(|error| format!("{error:?}")))
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
async fn orders_that_wait_share_a_transaction_and_each_is_stored_whole() {
    let server = Arc::new(Server::open(&[]).await);
    assert_eq!(server.send(&order("first", &[("A", 1)])).await, 200);
    let many: Vec<Value> = (0..40).map(|id| order(&format!("o{id}"), &[("A", 1), ("B", id % 3 + 1)])).collect();
    assert_eq!(together(&server, many).await, vec![Ok(200); 40]);
    let (orders, transactions) = server.stored().await;
    assert_eq!(orders, 41);
    assert!(transactions <= 12, "{transactions} transactions");
    for id in 0..40 {
        let found = orders::show(server.shop.database.pool(), &server.shop.number(&format!("o{id}")).await).await;
        let found = found.expect("the order");
        let quantities: Vec<String> = found.items.iter().map(|line| line.quantity.normalize().to_string()).collect();
        assert_eq!(quantities, ["1".to_owned(), (id % 3 + 1).to_string()]);
        assert_eq!(found.revisions.len(), 1);
    }
    let told: i64 =
        sqlx::query_scalar("select count(distinct subject_id) from audit_entry where action = 'order.place'")
            .fetch_one(server.shop.database.pool())
            .await
            .expect("a count");
    assert_eq!(told, 41);
    server.shop.assert_consistent().await;
}

#[tokio::test]
async fn an_order_that_postgres_refuses_takes_no_other_with_it() {
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
    let answers = together(&server, (0..20).map(|at| order(&id(at), &[("A", 1)])).collect()).await;
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), at % 5 != 2, "{at}: {answer:?}");
    }
    assert_eq!(server.stored().await.0, 16);
    server.shop.assert_consistent().await;
}

#[tokio::test]
async fn a_number_that_comes_twice_at_once_is_noticed_and_one_id_is_one_order() {
    let server = Arc::new(Server::open(&[]).await);
    let with_number = |id: &str| numbered(id, "PO-7");
    let ids = ["a", "b", "a", "a", "b"];
    assert_eq!(together(&server, ids.map(with_number).into()).await, vec![Ok(200); 5]);
    assert_eq!(server.stored().await.0, 2);
    let noticed = [server.findings("a").await, server.findings("b").await].concat();
    assert_eq!(noticed, ["rule_repeated_number"]);
}

#[tokio::test]
async fn an_order_is_stored_though_its_sender_has_gone() {
    let server = Arc::new(Server::open(&[]).await);
    assert_eq!(server.send(&order("first", &[("A", 1)])).await, 200);
    let sent = read(order("gone", &[("A", 1)]).to_string().as_bytes(), 10).expect("an order").into();
    // Begun, and dropped before there can be an answer.
    let answer = server.intake.place(NOW, &server.shop.member, &sent).now_or_never();
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
async fn on_its_way(server: &Server, ezyvet_id: &str, number: &str) -> Transaction<'static, Postgres> {
    let mut other = server.shop.database.pool().begin().await.expect("a transaction");
    sqlx::query(
        "insert into purchase_order (clinic_id, ezyvet_id, supplier_order_number, purchase_order_number, state, is_return, body,
             answer_status, answer_body, ownership_id, shipping_address_id, freight, freight_tax, tax, total, received_at, changed_at)
         values ($1, $2, 'SO-of-another', $3, 'accepted', false, '{}', 200, '{}', '1', '0', 0, 0, 0, 0, $4, $4)",
    )
    .bind(server.shop.member.row.id)
    .bind(ezyvet_id)
    .bind(number)
    .bind(NOW)
    .execute(&mut *other)
    .await
    .expect("inserted");
    other
}

/// Returns when somebody waits for a lock.
async fn somebody_waits(server: &Server) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let pool = server.shop.database.pool();
    let waits = async { while sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.expect("a count") == 0 {} };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("nobody waits");
}

#[tokio::test]
async fn an_order_that_waits_for_a_lock_holds_up_no_others() {
    let server = Arc::new(Server::open(&[]).await);
    let intake = server.intake.on_this_thread(2, 16);
    let other = on_its_way(&server, "A", "").await;
    let send = |code: &'static str| {
        let (server, intake) = (Arc::clone(&server), intake.clone());
        let order = Arc::new(read(order(code, &[(code, 1)]).to_string().as_bytes(), 10).expect("an order"));
        tokio::spawn(async move { intake.place(NOW, &server.shop.member, &order).await.expect("a reply").status })
    };
    let held_up = send("A");
    somebody_waits(&server).await;
    let passes = tokio::time::timeout(Duration::from_secs(20), send("B")).await;
    assert_eq!(passes.expect("B waits for A").expect("sent"), 200);
    assert_eq!(server.stored().await.0, 1);
    other.rollback().await.expect("rolled back");
    assert_eq!(held_up.await.expect("sent"), 200);
    assert_eq!(server.stored().await.0, 2);
}

#[tokio::test]
async fn a_number_that_another_process_stores_at_the_same_time_is_noticed() {
    for commits in [true, false] {
        let server = Arc::new(Server::open(&[]).await);
        let other = on_its_way(&server, "theirs", "7").await;
        let sending = Arc::clone(&server);
        let sent = tokio::spawn(async move { sending.send(&numbered("ours", "7")).await });
        somebody_waits(&server).await;
        if commits {
            other.commit().await.expect("committed");
        } else {
            other.rollback().await.expect("rolled back");
        }
        assert_eq!(sent.await.expect("sent"), 200);
        let noticed = if commits { vec!["rule_repeated_number"] } else { vec![] };
        assert_eq!(server.findings("ours").await, noticed);
    }
}

#[tokio::test]
async fn a_revision_to_a_number_that_is_being_stored_is_noticed() {
    let server = Arc::new(Server::open(&[]).await);
    assert_eq!(server.send(&numbered("ours", "6")).await, 200);
    let other = on_its_way(&server, "theirs", "7").await;
    let sending = Arc::clone(&server);
    let sent = tokio::spawn(async move { sending.send(&numbered("ours", "7")).await });
    somebody_waits(&server).await;
    other.commit().await.expect("committed");
    assert_eq!(sent.await.expect("sent"), 200);
    assert_eq!(server.findings("ours").await, ["rule_repeated_number"]);
}

#[tokio::test]
async fn postgres_that_goes_away_is_told_to_all_and_nothing_is_half_stored() {
    let server = Arc::new(Server::open(&[]).await);
    let intake = server.intake.on_this_thread(2, 16);
    assert_eq!(server.send(&order("first", &[("A", 1)])).await, 200);
    let mut sending = tokio::task::JoinSet::new();
    for id in 0..30 {
        let (server, intake) = (Arc::clone(&server), intake.clone());
        sending.spawn(async move {
            let order = read(order(&format!("o{id}"), &[("A", 1)]).to_string().as_bytes(), 10).expect("an order");
            intake.place(NOW, &server.shop.member, &order.into()).await.is_ok()
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
        while together(&server, again.clone()).await != [Ok(200)] {}
    }
    assert_eq!(server.stored().await.0, 31);
    server.shop.assert_consistent().await;
}

#[tokio::test]
async fn orders_are_looked_up_by_key_whatever_the_plans_were_made_on() {
    let server = Arc::new(Server::open(&[]).await);
    let intake = server.intake.on_this_thread(1, 16);
    let (member, pool) = (&server.shop.member, server.shop.database.pool());
    // Postgres knows that there are none, and would read through them.
    sqlx::raw_sql("vacuum analyze purchase_order").execute(pool).await.expect("analysed");
    // Plans are kept from the sixth time on, when there are hardly any orders.
    for id in 0..30 {
        let read = |id: String| read(order(&id, &[("A", 1)]).to_string().as_bytes(), 10).expect("an order").into();
        intake.place(NOW, member, &read(format!("o{id}"))).await.expect("a reply");
        orders::place(pool, NOW, member, &read(format!("p{id}"))).await.expect("a reply");
    }
    let scanned = || async {
        sqlx::query_scalar::<_, i64>("select seq_scan from pg_stat_user_tables where relname = 'purchase_order'")
            .fetch_one(server.shop.database.pool())
            .await
            .expect("statistics")
    };
    // What a connection has counted is told when it idles, or when it ends.
    drop(intake);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(scanned().await, 0);
}

#[tokio::test]
async fn a_catalogue_that_changed_since_it_was_read_decides() {
    let server = Server::open(&[]).await;
    assert_eq!(server.send(&order("1", &[("A", 1)])).await, 200);
    // A is dearer, B is withdrawn; the server has not seen it yet.
    server.import("A,A,t,c,1,box,9,20\nC,C,t,c,1,box,4,20\n").await;
    assert_eq!(server.send(&order("2", &[("B", 1)])).await, 422);
    assert_eq!(server.send(&order("3", &[("A", 1)])).await, 200);
    assert_eq!(server.findings("3").await, ["rule_price_below"], "4 is less than 9");
    assert_eq!(server.send(&order("4", &[("C", 1)])).await, 200);
    assert_eq!(server.drawn().await, 64 + 3, "none of them at once");
    server.catalog.refresh(NOW).await.expect("refresh");
    assert_eq!(server.send(&order("5", &[("A", 1)])).await, 200);
    assert_eq!((server.drawn().await, server.findings("5").await), (67, vec!["rule_price_below".to_owned()]));
    // Prices of another day are not what is in memory.
    assert_eq!(server.send_at(NOW + Duration::from_secs(86_400), &order("6", &[("C", 1)])).await.0, 200);
    assert_eq!(server.drawn().await, 68);
}

#[tokio::test]
async fn a_number_that_was_used_before_is_noted() {
    let server = Server::open(&[]).await;
    for (id, number, findings) in [
        ("1", "7", vec![]),
        ("2", "7", vec!["rule_repeated_number"]),
        ("3", "8", vec![]),
        ("4", "", vec![]),
        ("5", "", vec![]),
    ] {
        assert_eq!(server.send(&numbered(id, number)).await, 200);
        assert_eq!(server.findings(id).await, findings, "{id}");
    }
    assert_eq!(server.drawn().await, 65, "all but the repeated one at once");
    for (id, number, findings, why) in [
        ("1", "9", vec![], "a revision gives its number up"),
        ("6", "7", vec!["rule_repeated_number"], "to the next that has it"),
        ("1", "8", vec!["rule_repeated_number"], "a revision takes another's number"),
        ("7", "9", vec![], "and leaves nobody with its own"),
    ] {
        assert_eq!(server.send(&numbered(id, number)).await, 200);
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
async fn an_address_that_staff_have_told_or_taken_back_since_counts() {
    let server = Server::open(&[]).await;
    let to = |id: &str| {
        let mut order = order(id, &[("A", 1)]);
        order["purchaseorder"]["shipping_address_id"] = json!("2");
        order
    };
    let unmapped = ["rule_ship_to_unmapped"];
    for (id, drawn) in [("1", 64), ("2", 64)] {
        assert_eq!(server.send(&to(id)).await, 200);
        assert_eq!((server.findings(id).await, server.drawn().await), (unmapped.map(str::to_owned).to_vec(), drawn));
    }
    server.map("Harbour Street 1").await;
    for (id, drawn) in [("3", 65), ("4", 65)] {
        assert_eq!(server.send(&to(id)).await, 200);
        assert_eq!((server.findings(id).await, server.drawn().await), (vec![], drawn));
    }
    server.map("").await;
    for (id, drawn) in [("5", 66), ("6", 66)] {
        assert_eq!(server.send(&to(id)).await, 200);
        assert_eq!((server.findings(id).await, server.drawn().await), (unmapped.map(str::to_owned).to_vec(), drawn));
    }
}

#[tokio::test]
async fn stock_that_this_server_has_given_away_is_not_there_for_the_next_order() {
    let server = Server::open(&[]).await;
    assert_eq!(server.send(&order("1", &[("A", 15), ("B", 20)])).await, 200);
    assert_eq!((server.findings("1").await.len(), server.drawn().await), (0, 64));
    assert_eq!(server.send(&order("2", &[("A", 6)])).await, 200);
    assert_eq!(server.findings("2").await, ["rule_stock_short"], "before the catalogue is read again");
    assert_eq!(server.send(&order("3", &[("C", 15), ("C", 6)])).await, 200);
    assert_eq!(server.findings("3").await, ["rule_stock_short"], "of two lines, the second");
    server.catalog.refresh(NOW).await.expect("refresh");
    assert_eq!(server.send(&order("4", &[("B", 1)])).await, 200);
    assert_eq!(server.findings("4").await, ["rule_stock_short"], "after it");
    assert_eq!(server.send(&order("5", &[("D", 20)])).await, 200);
    assert_eq!(server.findings("5").await.len(), 0);
    assert_eq!(server.drawn().await, 64, "all at once");
    server.shop.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_stock_only_notes_waits_for_none_that_stock_decides() {
    let server = Server::open(&[]).await;
    let pool = server.shop.database.pool();
    assert_eq!(server.send(&order("1", &[("A", 1)])).await, 200);
    // As `place` holds A for an order of a clinic that gets only what is there.
    let mut deciding = pool.begin().await.expect("begin");
    sqlx::query("select pg_advisory_xact_lock(x'73746f63'::int, hashtext('A') & 255)")
        .execute(&mut *deciding)
        .await
        .expect("lock");
    let sent = tokio::time::timeout(Duration::from_secs(20), server.send(&order("2", &[("A", 1)]))).await;
    assert_eq!(sent.expect("it waits"), 200);
    assert_eq!(server.drawn().await, 64, "at once");
    deciding.commit().await.expect("commit");
}

#[tokio::test]
async fn both_ways_decide_alike() {
    // Stock is told apart elsewhere; here both ways see the same.
    let server = Server::open(&["rule_stock_short=off", "hidden_products=D", "rule_unknown_product=note"]).await;
    server
        .import(
            "A,A,t,c,1,box,4,20\nB,B,t,c,3,box,10,20\nC,C,t,c,2.5,kg,7.77,20\nD,D,t,c,1,box,4,20\nE,E,t,c,1,box,,20\n",
        )
        .await;
    server.catalog.refresh(NOW).await.expect("refresh");
    let (member, pool) = (&server.shop.member, server.shop.database.pool());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut at_once = 0;
    for round in 0..150 {
        let lines: Vec<Value> = (1..=1 + next(3))
            .map(|id| {
                // Mostly what is for sale, as it is sold.
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
        let before = server.drawn().await;
        let intake = server.intake.place(NOW, member, &sent(format!("d{round}")).into()).await.expect("a reply");
        at_once += u32::from([0, 64].contains(&(server.drawn().await - before)));
        let locked = orders::place(pool, NOW, member, &sent(format!("p{round}")).into()).await.expect("a reply");
        assert_eq!(intake.status, locked.status, "{lines:?}");
        let rows: Vec<(String, Value)> =
            sqlx::query_as("select state, findings from purchase_order where ezyvet_id = any($1) order by ezyvet_id")
                .bind([format!("d{round}"), format!("p{round}")])
                .fetch_all(pool)
                .await
                .expect("rows");
        assert_eq!(rows[0], rows[1], "{lines:?}");
    }
    assert!((50..150).contains(&at_once), "{at_once} of 150 at once");
}
