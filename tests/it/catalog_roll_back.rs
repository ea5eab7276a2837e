//! Uploads, their difference, and the roll-back of imports, on a real database.

use crate::support::database::TestDatabase;
use rust_decimal::Decimal;
use spsi_partner::catalog::export::export;
use spsi_partner::catalog::import::{ImportOptions, ImportState, ImportSummary, SourceFile, import};
use spsi_partner::catalog::imports::{
    self, Change, ImportRecord, ImportsError, UploadOptions, UploadedFile, UploadedFiles,
};
use spsi_partner::catalog::products::{self, ProductChange, StockChange};
use spsi_partner::clinics::{self, ClinicDraft};
use spsi_partner::db::{Page, Pool, in_transaction};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const LATER: OffsetDateTime = datetime!(2026-03-02 12:00 UTC);
const HEADER: &str = "code,name,type,category,units_per_outer,unit_of_measure,list_price,barcode,stock_available,active,\
                      related_urls,manufacturer,tax_code,tax_rate,restricted";
const PRICES_HEADER: &str = "clinic,price_list,code,contract_price,valid_from,valid_until";

/// Four products, one of them withdrawn and one without a pack size.
const BEFORE: &str = "A,a,t,c,10,box,1,111,5,1,http://a.example,Maker,S,10,0\nB,b,t,c,1,box,2,,7,1,,,,,1\n\
                      C,c,t,c,2,box,3,,0,0,,,,,0\nD,d,t,c,,,,,0,1,,,,,0\n";
/// A is changed in every field, B is missing, C is listed again, D gets a pack size and a price, E and F are new.
const AFTER: &str = "A,a2,t2,c2,20,pack,1.5,222,50,1,http://b.example,Other,,,1\nC,c,t,c,2,box,3,,0,1,,,,,0\n\
                     D,d,t,c,4,box,8,,0,1,,,,,0\nE,e,t,c,1,box,9,,3,1,,,,,0\nF,f,t,c,1,box,9,,3,0,,,,,0\n";
const PRICES_BEFORE: &str = "vet,,A,0.9,,\nvet,,B,1.8,2026-01-01,2026-12-31\n,Gold,A,0.8,,\n,Gold,B,1.7,,\n\
                             ,Gold,B,1.6,2026-06-01,\n";
/// Of Gold, the price of A is changed and all of B are removed; the prices of the clinic and of Silver are new.
const PRICES_AFTER: &str = "vet,,A,,,\nvet,,B,1.9,2026-01-01,2027-12-31\nvet,,E,8,,\n,Gold,A,0.7,,\n,Gold,B,,,\n\
                            ,Silver,A,0.6,,\n,Silver,F,5,,\n";

fn source(name: &str, content: String) -> Option<SourceFile> {
    Some(SourceFile { name: name.to_owned(), content: Box::new(std::io::Cursor::new(content.into_bytes())) })
}

fn uploaded(name: &str, content: String) -> Option<UploadedFile> {
    Some(UploadedFile { name: name.to_owned(), content: content.into() })
}

async fn import_files(pool: &Pool, products: &str, prices: &str) -> ImportSummary {
    let options = ImportOptions { allow_withdrawals: true, ..ImportOptions::default() };
    let products = source("products.csv", format!("{HEADER}\n{products}"));
    let prices = source("prices.csv", format!("{PRICES_HEADER}\n{prices}"));
    in_transaction(pool, async |c| import(c, NOW, "test", products, prices, &options, &|_| {}).await)
        .await
        .expect("import")
}

async fn upload(pool: &Pool, products: &str, prices: &str) -> Result<ImportRecord, ImportsError> {
    let files = UploadedFiles {
        products: uploaded("products.csv", format!("{HEADER}\n{products}")),
        prices: uploaded("prices.csv", format!("{PRICES_HEADER}\n{prices}")),
    };
    let options = UploadOptions::default();
    in_transaction(pool, async |c| imports::upload(c, NOW, "test", files, &options, Decimal::TEN).await).await
}

async fn apply(pool: &Pool, id: i64) -> Result<ImportRecord, ImportsError> {
    in_transaction(pool, async |c| imports::apply(c, NOW, "test", id, true, Decimal::TEN).await).await
}

async fn roll_back(pool: &Pool, id: i64) -> Result<ImportRecord, ImportsError> {
    in_transaction(pool, async |c| imports::roll_back(c, LATER, "test", id).await).await
}

async fn changes(pool: &Pool, id: i64) -> Vec<Change> {
    let (mut all, mut position) = (Vec::new(), None);
    loop {
        let (page, next) =
            in_transaction(pool, async |c| imports::changes(c, id, position, 2).await).await.expect("changes");
        all.extend(page);
        match next {
            Some(next) => position = Some(next),
            None => return all,
        }
    }
}

/// Returns everything that an import may change: the export with the times of withdrawal, the contract prices, and the
/// names of the price lists.
async fn state(pool: &Pool) -> Vec<String> {
    let mut bytes = Vec::new();
    export(pool, &mut bytes).await.expect("export");
    let mut state: Vec<String> = String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect();
    let rows: Vec<String> = sqlx::query_scalar(
        "select 'withdrawn ' || code || ' ' || withdrawn_at from product where withdrawn_at is not null
         union all select 'clinic ' || c.client_id || ' ' || p.code || ' ' || (x.contract_price, x.valid_from, x.valid_until)
             from clinic_price x join clinic c on c.id = x.clinic_id join product p on p.id = x.product_id
         union all select 'list ' || l.name || ' ' || p.code || ' ' || (x.contract_price, x.valid_from, x.valid_until)
             from price_list_price x join price_list l on l.id = x.price_list_id join product p on p.id = x.product_id
         union all select 'price list ' || name from price_list order by 1",
    )
    .fetch_all(pool)
    .await
    .expect("rows");
    state.extend(rows);
    state
}

/// Imports the files of before for the clinic `vet`.
async fn prepared() -> TestDatabase {
    let database = TestDatabase::new().await;
    let draft = ClinicDraft { name: "Vet".into(), site: None, client_id: Some("vet".into()) };
    in_transaction(database.pool(), async |c| clinics::add(c, NOW, "test", draft).await).await.expect("a clinic");
    import_files(database.pool(), BEFORE, PRICES_BEFORE).await;
    database
}

/// Writes a change as `changed A: list_price 1 -> 1.5, ...`.
fn text(change: &Change) -> String {
    let owner = change.clinic.map(|_| "vet").or(change.price_list.as_deref());
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let fields: Vec<_> =
        change.fields.iter().map(|f| format!("{} {} > {}", f.field, value(&f.before), value(&f.after))).collect();
    let from = change.valid_from.map(|day| format!(" {day}")).unwrap_or_default();
    format!(
        "{}{} {}{from}: {}",
        change.change,
        owner.map(|o| format!(" {o}")).unwrap_or_default(),
        change.code,
        fields.join(", ")
    )
}

#[tokio::test]
async fn an_upload_shows_every_change_and_changes_nothing_until_it_is_applied() {
    let database = prepared().await;
    let pool = database.pool();
    let before = state(pool).await;
    let checked = upload(pool, AFTER, PRICES_AFTER).await.expect("upload");
    let id = checked.summary.id.expect("an id");
    assert_eq!((checked.summary.state, checked.summary.needs_allow_withdrawals), (ImportState::Checked, true));
    assert_eq!(state(pool).await, before);
    let shown = changes(pool, id).await;
    let expected = [
        "changed A: name a > a2, type t > t2, category c > c2, units_per_outer 10 > 20, unit_of_measure box > pack, \
         list_price 1 > 1.5, barcode 111 > 222, stock_available 5 > 50, related_urls http://a.example > http://b.example, \
         manufacturer Maker > Other, tax_code S > , tax_rate 10 > -, restricted 0 > 1",
        "relisted C: active 0 > 1",
        "changed D: units_per_outer - > 4, unit_of_measure  > box, list_price - > 8",
        "withdrawn B: active 1 > 0",
    ];
    assert_eq!(shown.iter().take(4).map(text).collect::<Vec<_>>(), expected);
    let mut prices: Vec<_> = shown.iter().filter(|change| change.change.starts_with("price")).map(text).collect();
    prices.sort();
    let expected = [
        "price_changed Gold A: contract_price 0.8 > 0.7",
        "price_changed vet B 2026-01-01: contract_price 1.8 > 1.9, valid_until 2026-12-31 > 2027-12-31",
        "price_new Silver A: contract_price - > 0.6",
        "price_new Silver F: contract_price - > 5",
        "price_new vet E: contract_price - > 8",
        "price_removed Gold B 2026-06-01: contract_price 1.6 > -",
        "price_removed Gold B: contract_price 1.7 > -",
        "price_removed vet A: contract_price 0.9 > -",
    ];
    assert_eq!(prices, expected);

    let refused = in_transaction(pool, async |c| imports::apply(c, NOW, "test", id, false, Decimal::TEN).await)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("off sale"), "{refused}");
    let applied = apply(pool, id).await.expect("apply");
    assert_eq!(applied.summary.state, ImportState::Applied);
    let counts = |summary: &ImportSummary| (summary.new, summary.changed, summary.withdrawn, summary.relisted);
    assert_eq!(counts(&applied.summary), counts(&checked.summary));
    assert_eq!(applied.summary.contract_prices, checked.summary.contract_prices);
    assert_eq!(changes(pool, id).await.len(), shown.len(), "the difference stays readable");
    let files: i64 = sqlx::query_scalar("select count(*) from catalog_import_file").fetch_one(pool).await.unwrap();
    assert_eq!(files, 0, "the files are deleted once they are applied");
    let again = apply(pool, id).await.unwrap_err();
    assert!(matches!(again, ImportsError::State { state: ImportState::Applied, .. }), "{again}");
    let other = prepared().await;
    import_files(other.pool(), AFTER, PRICES_AFTER).await;
    assert_eq!(state(pool).await, state(other.pool()).await, "an upload has the effect of an import");
}

#[tokio::test]
async fn a_roll_back_restores_products_prices_and_price_lists() {
    let database = prepared().await;
    let pool = database.pool();
    let before = state(pool).await;
    let imported = import_files(pool, AFTER, PRICES_AFTER).await;
    assert_ne!(state(pool).await, before);
    let shown = changes(pool, imported.id.expect("an id")).await;
    let done = roll_back(pool, imported.id.expect("an id")).await.expect("roll-back");
    assert_eq!(state(pool).await, before);
    let summary = done.roll_back.expect("a summary");
    assert_eq!((summary.restored, summary.deleted, summary.withdrawn), (4, 2, 0));
    assert_eq!(done.summary.state, ImportState::RolledBack);
    assert_eq!(changes(pool, imported.id.expect("an id")).await, shown, "the difference stays readable");
    let again = roll_back(pool, imported.id.expect("an id")).await.unwrap_err();
    assert!(matches!(again, ImportsError::State { state: ImportState::RolledBack, .. }), "{again}");
    assert_eq!(import_files(pool, AFTER, PRICES_AFTER).await.new, 2, "the import can be repeated");
}

#[tokio::test]
async fn imports_are_rolled_back_in_reverse_order_only() {
    let database = prepared().await;
    let pool = database.pool();
    let first_state = state(pool).await;
    let waiting = upload(pool, BEFORE, "").await.expect("an upload of what is there");
    let second = import_files(pool, AFTER, PRICES_AFTER).await.id.expect("an id");
    let second_state = state(pool).await;
    let third = import_files(pool, &BEFORE.replace(",b,", ",b3,"), PRICES_BEFORE).await.id.expect("an id");
    let error = roll_back(pool, second).await.unwrap_err();
    assert!(matches!(error, ImportsError::NotLast { last, .. } if last == third), "{error}");
    roll_back(pool, third).await.expect("the last one");
    assert_eq!(state(pool).await, second_state);
    roll_back(pool, second).await.expect("then the one before it");
    assert_eq!(state(pool).await, first_state);
    let id = waiting.summary.id.expect("an id");
    assert!(matches!(apply(pool, id).await.unwrap_err(), ImportsError::Stale { .. }));
    in_transaction(pool, async |c| imports::check(c, NOW, "test", id, Decimal::TEN).await).await.expect("a new check");
    apply(pool, id).await.expect("apply after the new check");
    let newest = in_transaction(pool, async |c| imports::list(c, Page::default()).await).await.expect("list");
    assert_eq!(newest.iter().filter_map(|record| record.summary.id).max(), Some(third));
    assert!(matches!(roll_back(pool, 1).await.unwrap_err(), ImportsError::NotLast { last, .. } if last == id));
    assert!(matches!(roll_back(pool, 99).await.unwrap_err(), ImportsError::NotFound(99)));
}

#[tokio::test]
async fn a_roll_back_keeps_later_edits_and_counts_shipments_since() {
    let database = prepared().await;
    let pool = database.pool();
    let id = import_files(pool, AFTER, PRICES_AFTER).await.id.expect("an id");
    let edit = |code: &str| ProductChange { code: code.into(), ..ProductChange::default() };
    let edits = [
        ProductChange { name: Some("edited".into()), ..edit("A") },
        ProductChange { list_price: Some(Some(Decimal::from(7))), ..edit("D") },
    ];
    in_transaction(pool, async |c| products::upsert(c, NOW, "test", "products", &edits).await).await.expect("edit");
    let shipped = StockChange { code: "A".into(), stock_available: None, change: Some(Decimal::from(-3)) };
    in_transaction(pool, async |c| products::set_stock(c, NOW, "test", std::slice::from_ref(&shipped)).await)
        .await
        .expect("stock");
    roll_back(pool, id).await.expect("roll-back");
    let state = state(pool).await;
    assert!(state.contains(&"A,edited,t,c,10,box,1,111,2,1,http://a.example,Maker,S,10,0".to_owned()), "{state:#?}");
    let kept = "D,d,t,c,4,,7,,0,1,,,,,0";
    assert!(state.contains(&kept.to_owned()), "a price needs its pack size, so both stay: {state:#?}");
}

#[tokio::test]
async fn a_refused_upload_names_every_error_and_stores_nothing() {
    let database = prepared().await;
    let pool = database.pool();
    let error =
        upload(pool, "A,,t,c,10,box,x,,,,,,,,\nA,a,t,c,0,box,1,,,,,,,,\n", "nobody,,A,1,,\n").await.unwrap_err();
    let text = error.to_string();
    for expected in ["line 2, name: is empty", "list_price \"x\"", "units_per_outer \"0\"", "code \"A\"", "nobody"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let imports: i64 = sqlx::query_scalar("select count(*) from catalog_import").fetch_one(pool).await.unwrap();
    assert_eq!(imports, 1);
    let lists: i64 = sqlx::query_scalar("select count(*) from price_list").fetch_one(pool).await.unwrap();
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn uploads_expire_and_old_differences_are_deleted() {
    let database = prepared().await;
    let pool = database.pool();
    let id = upload(pool, AFTER, "").await.expect("upload").summary.id.expect("an id");
    imports::prune(pool, NOW + imports::UPLOAD_KEPT_FOR).await.expect("not yet");
    assert!(!changes(pool, id).await.is_empty());
    imports::prune(pool, LATER + imports::UPLOAD_KEPT_FOR).await.expect("expired");
    assert!(matches!(apply(pool, id).await.unwrap_err(), ImportsError::State { state: ImportState::Expired, .. }));
    assert!(changes(pool, id).await.is_empty());
    for _ in 0..imports::KEPT_IMPORTS {
        import_files(pool, BEFORE, "").await;
    }
    imports::prune(pool, LATER).await.expect("prune");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from catalog_import where is_undo_kept").fetch_one(pool).await.unwrap();
    assert_eq!(kept, imports::KEPT_IMPORTS);
}
