//! Import and export of the catalogue, on a real database.

use crate::support::database::TestDatabase;
use rust_decimal::Decimal;
use spsi_partner::catalog::export::export;
use spsi_partner::catalog::import::{
    FormatOptions, ImportError, ImportKind, ImportOptions, ImportState, ImportSummary, Mapping, Progress, SourceFile,
    import,
};
use spsi_partner::clinics::{self, ClinicDraft};
use spsi_partner::db::{Pool, in_transaction};
use sqlx::PgConnection;
use std::sync::atomic::{AtomicU64, Ordering};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const LATER: OffsetDateTime = datetime!(2026-03-02 12:00 UTC);
const HEADER: &str = "code,name,type,category,units_per_outer,unit_of_measure,list_price";

fn file(name: &str, content: impl AsRef<[u8]>) -> Option<SourceFile> {
    let content = std::io::Cursor::new(content.as_ref().to_vec());
    Some(SourceFile { name: name.to_owned(), content: Box::new(content) })
}

async fn run(
    pool: &Pool,
    now: OffsetDateTime,
    files: (Option<SourceFile>, Option<SourceFile>),
    options: &ImportOptions,
) -> Result<ImportSummary, ImportError> {
    in_transaction(pool, async |c| import(c, now, "test", files.0, files.1, options, &|_| {}).await).await
}

async fn full(pool: &Pool, rows: &str) -> Result<ImportSummary, ImportError> {
    let products = file("products.csv", format!("{HEADER}\n{rows}"));
    run(pool, NOW, (products, None), &ImportOptions::default()).await
}

async fn exported(pool: &Pool) -> String {
    let mut bytes = Vec::new();
    export(pool, &mut bytes).await.expect("export");
    String::from_utf8(bytes).expect("UTF-8")
}

async fn version(pool: &Pool) -> i64 {
    sqlx::query_scalar("select value from data_version where name = 'catalog'").fetch_one(pool).await.expect("version")
}

/// Returns all contract prices of clinics and price lists, sorted: `vet-1 P001=0.8`.
async fn contract_prices(pool: &Pool) -> Vec<String> {
    sqlx::query_scalar(
        "select c.client_id || ' ' || p.code || '=' || trim_scale(x.contract_price) from clinic_price x
             join clinic c on c.id = x.clinic_id join product p on p.id = x.product_id
         union all
         select l.name || ' ' || p.code || '=' || trim_scale(x.contract_price) from price_list_price x
             join price_list l on l.id = x.price_list_id join product p on p.id = x.product_id
         order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("prices")
}

/// Returns this many rows of a products file, with the codes P000, P001, ...
fn rows_of(count: usize) -> String {
    (0..count).map(|i| format!("P{i:03},product {i},t,c,10,box,{i}.50\n")).collect()
}

fn reasons(error: ImportError) -> Vec<String> {
    match error {
        ImportError::Refused(refusal) => refusal.errors.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_import_reports_its_changes_and_the_same_file_again_changes_nothing() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let first = full(pool, &rows_of(20)).await.expect("first import");
    assert_eq!((first.state, first.rows, first.new, first.unchanged), (ImportState::Applied, 20, 20, 0));
    assert!(first.id.is_some());
    let before = version(pool).await;
    let again = full(pool, &rows_of(20)).await.expect("second import");
    assert_eq!((again.new, again.changed, again.unchanged, again.withdrawn), (0, 0, 20, 0));
    assert!(!again.changes_anything());
    assert_eq!(version(pool).await, before, "nothing changed, so no process needs to reload");
    let entries: i64 = sqlx::query_scalar("select count(*) from audit_entry where action = 'catalog.import'")
        .fetch_one(pool)
        .await
        .expect("audit");
    assert_eq!(entries, 2);
}

#[tokio::test]
async fn a_product_that_the_file_lacks_is_withdrawn_and_listed_again_when_it_returns() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    full(pool, &rows_of(20)).await.expect("first import");
    let withdrawn = full(pool, &rows_of(19)).await.expect("one less");
    assert_eq!((withdrawn.withdrawn, withdrawn.unchanged), (1, 19));
    assert!(exported(pool).await.contains("P019,product 19,t,c,10,box,19.5,,0,0,,,,\n"));
    let withdrawn_at = "select withdrawn_at from product where code = 'P019'";
    assert_eq!(sqlx::query_scalar::<_, Option<OffsetDateTime>>(withdrawn_at).fetch_one(pool).await.unwrap(), Some(NOW));
    let products = file("products.csv", format!("{HEADER}\n{}", rows_of(19)));
    let still = run(pool, LATER, (products, None), &ImportOptions::default()).await.expect("still one less");
    assert_eq!((still.withdrawn, still.changes_anything()), (0, false));
    assert_eq!(sqlx::query_scalar::<_, Option<OffsetDateTime>>(withdrawn_at).fetch_one(pool).await.unwrap(), Some(NOW));
    let back = full(pool, &rows_of(20)).await.expect("back");
    assert_eq!((back.relisted, back.changed), (1, 0));
    assert_eq!(sqlx::query_scalar::<_, Option<OffsetDateTime>>(withdrawn_at).fetch_one(pool).await.unwrap(), None);
}

#[tokio::test]
async fn an_import_that_withdraws_too_many_products_needs_permission() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    full(pool, &rows_of(20)).await.expect("first import");
    let before = exported(pool).await;
    let error = full(pool, &rows_of(17)).await.expect_err("three of twenty are 15 %");
    assert_eq!(
        error.to_string(),
        "would take 3 of 20 products off sale, more than 10 %: P017, P018, P019; nothing was applied"
    );
    assert!(error.hint().expect("a hint").contains("--allow-withdrawals"));
    assert_eq!(exported(pool).await, before);
    // A product without a price is not for sale either.
    let unpriced: String = (0..20).map(|i| format!("P{i:03},product {i},t,c,10,box,\n")).collect();
    assert!(matches!(full(pool, &unpriced).await, Err(ImportError::TooManyWithdrawals { lost: 20, listed: 20, .. })));

    let dry = ImportOptions { dry_run: true, ..Default::default() };
    let products = || file("products.csv", format!("{HEADER}\n{}", rows_of(17)));
    let summary = run(pool, NOW, (products(), None), &dry).await.expect("a dry run");
    assert_eq!((summary.withdrawn, summary.needs_allow_withdrawals), (3, true));
    let allowed = ImportOptions { allow_withdrawals: true, ..Default::default() };
    let summary = run(pool, NOW, (products(), None), &allowed).await.expect("allowed");
    assert_eq!((summary.withdrawn, summary.needs_allow_withdrawals), (3, false));
    let lenient = ImportOptions { withdrawal_limit_percent: Decimal::from(50), ..Default::default() };
    let products = file("products.csv", format!("{HEADER}\n{}", rows_of(9)));
    assert_eq!(run(pool, NOW, (products, None), &lenient).await.expect("8 of 17").withdrawn, 8);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    full(pool, &rows_of(3)).await.expect("first import");
    let (before, before_version) = (exported(pool).await, version(pool).await);
    let dry = ImportOptions { dry_run: true, ..Default::default() };
    let products = file("products.csv", format!("{HEADER}\n{}X,x,t,c,1,box,1\n", rows_of(3).replace(",2.50", ",3.75")));
    let prices = file("prices.csv", "price_list,code,contract_price\nGroup,X,0.90\n");
    let summary = run(pool, NOW, (products, prices), &dry).await.expect("dry run");
    assert_eq!((summary.state, summary.id, summary.new, summary.changed), (ImportState::DryRun, None, 1, 1));
    assert_eq!(summary.list_prices.largest[0].to_string(), "P002  2.5 -> 3.75  (+50 %)");
    assert_eq!(summary.contract_prices.as_ref().map(|c| c.new), Some(1));
    assert_eq!((exported(pool).await, version(pool).await), (before, before_version));
    let price_lists: i64 = sqlx::query_scalar("select count(*) from price_list").fetch_one(pool).await.unwrap();
    assert_eq!(price_lists, 0);
}

#[tokio::test]
async fn all_errors_of_both_files_are_reported_together_and_nothing_is_applied() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let products = "A,a,t,c,10,box,1\nB,b,t,c,10,box,cheap\nA,a,t,c,10,box,2\nB,,t,c,0,box,1\n";
    let products = file("products.csv", format!("{HEADER}\n{products}"));
    let prices = "clinic,code,contract_price\nnobody,A,1\n99,Z,1\nnobody,B,-1\n";
    let error = run(pool, NOW, (products, file("prices.csv", prices)), &ImportOptions::default()).await;
    let expected = [
        r#"prices.csv line 2, clinic "nobody": is neither the id nor the client id of a clinic"#,
        r#"prices.csv line 3, clinic "99": is neither the id nor the client id of a clinic"#,
        r#"prices.csv line 3, code "Z": is not in the catalogue"#,
        r#"prices.csv line 4, clinic "nobody": is neither the id nor the client id of a clinic"#,
        r#"prices.csv line 4, contract_price "-1": must not be negative"#,
        r#"products.csv line 3, list_price "cheap": is not a number"#,
        r#"products.csv line 4, code "A": is already on line 2"#,
        r#"products.csv line 5, code "B": is already on line 3"#,
        r#"products.csv line 5, name: is empty"#,
        r#"products.csv line 5, units_per_outer "0": must be more than zero"#,
    ];
    assert_eq!(reasons(error.expect_err("errors")), expected);
    assert_eq!(exported(pool).await.lines().count(), 1);
}

#[tokio::test]
async fn missing_columns_are_named_in_one_error() {
    let database = TestDatabase::new().await;
    let files = (file("products.csv", "code,name\nA,a\n"), file("prices.csv", "code,contract_price\nA,1\n"));
    let error = run(database.pool(), NOW, files, &ImportOptions::default()).await.expect_err("headers");
    assert_eq!(
        error.to_string(),
        "2 errors, nothing was applied\n  prices.csv line 1: missing columns: clinic or price_list (the header has: code, \
         contract_price)\n  products.csv line 1: missing columns: type, category, units_per_outer, unit_of_measure, \
         list_price (the header has: code, name)"
    );
}

#[tokio::test]
async fn a_prices_file_adds_changes_and_removes_contract_prices() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let draft = ClinicDraft { name: "Vet".into(), site: None, client_id: Some("vet-1".into()) };
    let clinic = in_transaction(pool, async |connection| clinics::add(connection, NOW, "test", draft).await)
        .await
        .expect("a clinic");
    let prices =
        format!("clinic,price_list,code,contract_price\nvet-1,,P001,1\n{},,P002,2\n,Group,P001,0.8\n", clinic.id);
    let files = (file("p.csv", format!("{HEADER}\n{}", rows_of(3))), file("prices.csv", prices));
    let summary = run(pool, NOW, files, &ImportOptions::default()).await.expect("products and prices at once");
    let contract = summary.contract_prices.expect("prices");
    assert_eq!((contract.new, contract.new_price_lists), (3, vec!["Group".to_owned()]));
    assert_eq!(contract_prices(pool).await, ["Group P001=0.8", "vet-1 P001=1", "vet-1 P002=2"]);

    let before = version(pool).await;
    let delta = "clinic,code,contract_price\nvet-1,P001,\nvet-1,P002,2.5\nvet-1,P000,0\n";
    let summary = run(pool, NOW, (None, file("prices.csv", delta)), &ImportOptions::default()).await.expect("delta");
    let contract = summary.contract_prices.expect("prices");
    assert_eq!((contract.new, contract.changed, contract.removed), (1, 1, 1));
    assert_eq!(contract_prices(pool).await, ["Group P001=0.8", "vet-1 P000=0", "vet-1 P002=2.5"]);
    assert_eq!(version(pool).await, before + 1);

    let twice = format!("clinic,code,contract_price\nvet-1,P001,1\n{},P001,2\n", clinic.id);
    let error = run(pool, NOW, (None, file("prices.csv", twice)), &ImportOptions::default()).await.expect_err("twice");
    assert_eq!(reasons(error), [r#"prices.csv line 3, code "P001": already has a price on line 2"#]);
}

#[tokio::test]
async fn a_delta_changes_only_stock_or_only_prices() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    full(pool, &format!("{}U,u,t,c,,,\n", rows_of(3))).await.expect("first import");
    let delta = |kind| ImportOptions { kind, ..Default::default() };
    let stock = file("stock.csv", "code,stock_available\nP001,7\n");
    let summary = run(pool, NOW, (stock, None), &delta(ImportKind::Stock)).await.expect("stock");
    assert_eq!((summary.changed, summary.withdrawn, summary.new), (1, 0, 0));
    let prices = file("prices.csv", "code,list_price\nP002,9\n");
    run(pool, NOW, (prices, None), &delta(ImportKind::Prices)).await.expect("prices");
    let expected = "P000,product 0,t,c,10,box,0.5,,0,1,,,,\nP001,product 1,t,c,10,box,1.5,,7,1,,,,\n\
                    P002,product 2,t,c,10,box,9,,0,1,,,,\nU,u,t,c,,,,,0,1,,,,\n";
    assert_eq!(exported(pool).await.split_once('\n').unwrap().1, expected);
    let stock = file("stock.csv", "code,stock_available\nX,7\n");
    let error = run(pool, NOW, (stock, None), &delta(ImportKind::Stock)).await.expect_err("unknown");
    assert_eq!(reasons(error), [r#"stock.csv line 2, code "X": is not in the catalogue"#]);
    let prices = file("prices.csv", "code,list_price\nU,9\n");
    let error = run(pool, NOW, (prices, None), &delta(ImportKind::Prices)).await.expect_err("no pack size");
    assert!(reasons(error)[0].contains("has no known pack size"));
    let prices = file("prices.csv", "code,list_price\nP000,\n");
    let error = run(pool, NOW, (prices, None), &delta(ImportKind::Prices)).await.expect_err("one of three");
    assert!(matches!(error, ImportError::TooManyWithdrawals { lost: 1, listed: 3, .. }));
}

#[tokio::test]
async fn a_full_import_without_an_optional_column_keeps_the_stored_values() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let rows = "A,a,t,c,10,box,1,0871,5,http://a.example/x|https://b.example,Maker,S,10,1\n";
    let header = format!("{HEADER},barcode,stock_available,related_urls,manufacturer,tax_code,tax_rate,restricted");
    let products = file("products.csv", format!("{header}\n{rows}"));
    run(pool, NOW, (products, None), &ImportOptions::default()).await.expect("all columns");
    let all = exported(pool).await;
    assert!(all.ends_with("A,a,t,c,10,box,1,0871,5,1,http://a.example/x https://b.example,Maker,S,10,1\n"), "{all}");
    assert_eq!(full(pool, "A,a,t,c,10,box,1\n").await.expect("required columns").unchanged, 1);
    assert_eq!(exported(pool).await, all);
}

#[tokio::test]
async fn an_export_of_the_seed_imports_and_exports_byte_for_byte() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let seed = |name: &str| std::fs::read(format!("{}/seed/{name}", env!("CARGO_MANIFEST_DIR"))).expect(name);
    let files = (file("products.csv", seed("products.csv")), file("price_lists.csv", seed("price_lists.csv")));
    let rows = AtomicU64::new(0);
    let progress = |at: Progress<'_>| {
        if let Progress::Reading { rows: read, .. } = at {
            rows.store(read, Ordering::Relaxed);
        }
    };
    let options = ImportOptions::default();
    let seed = async |c: &mut PgConnection| import(c, NOW, "test", files.0, files.1, &options, &progress).await;
    let summary = in_transaction(pool, seed).await.expect("seed");
    assert!(summary.new > 3_000 && rows.load(Ordering::Relaxed) > 0);
    assert!(summary.notes.iter().any(|note| note.contains("price_note")), "{:?}", summary.notes);
    let first = exported(pool).await;
    let summary = run(pool, LATER, (file("export.csv", &first), None), &ImportOptions::default()).await.expect("again");
    assert!(!summary.changes_anything(), "{summary}");
    assert_eq!(exported(pool).await, first);
    let other = TestDatabase::new().await;
    run(other.pool(), NOW, (file("export.csv", &first), None), &ImportOptions::default())
        .await
        .expect("into another database");
    assert_eq!(exported(other.pool()).await, first);
}

#[tokio::test]
async fn a_file_of_another_system_is_read_by_detection_and_a_column_mapping() {
    let database = TestDatabase::new().await;
    let mapping = Mapping::parse(
        "code = Artikelnr.\nname = Bezeichnung\ntype := medication\ncategory = Gruppe\n\
         units_per_outer = VE\nunit_of_measure = Einheit\nlist_price = Preis",
    )
    .expect("mapping");
    let options = ImportOptions { format: FormatOptions { mapping, ..Default::default() }, ..Default::default() };
    let content =
        b"Artikelnr.;Bezeichnung;Gruppe;VE;Einheit;Preis\r\n00123;Dr\xe4nage 5\x80;Verb\xe4nde;10;St\xfcck;12,50\r\n";
    let summary = run(database.pool(), NOW, (file("a.csv", content), None), &options).await.expect("foreign file");
    assert_eq!(summary.notes.len(), 3, "{:?}", summary.notes);
    let expected = "00123,Dränage 5€,medication,Verbände,10,Stück,12.5,,0,1,,,,\n";
    assert!(exported(database.pool()).await.ends_with(expected));
}

#[tokio::test]
async fn concurrent_imports_run_one_after_the_other() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let rows = |price: &str| format!("{HEADER}\n{}", rows_of(200).replace(".50", price));
    let options = ImportOptions::default();
    let (one, other) = tokio::join!(
        run(pool, NOW, (file("one.csv", rows(".11")), None), &options),
        run(pool, NOW, (file("other.csv", rows(".22")), None), &options),
    );
    let (one, other) = (one.expect("one"), other.expect("other"));
    assert_eq!(
        (one.new + other.new, one.changed + other.changed),
        (200, 200),
        "the second import compared with all rows of the first"
    );
    let text = exported(pool).await;
    assert!(text.matches(".11,").count() == 200 || text.matches(".22,").count() == 200);
}
