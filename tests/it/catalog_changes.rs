//! Changes of single products and contract prices, on a real database.

use crate::support::database::TestDatabase;
use rust_decimal::Decimal;
use spsi_partner::catalog::price_lists::{self, PriceChange, PriceListsError, PriceOwner};
use spsi_partner::catalog::products::{self, ProductChange, ProductFilter, ProductRow, ProductsError, StockChange};
use spsi_partner::clinics::{self, Changes, ClinicDraft, Target};
use spsi_partner::config::ClinicSettings;
use spsi_partner::config::Settings;
use spsi_partner::db::{Page, Pool, in_transaction};
use time::OffsetDateTime;
use time::macros::{date, datetime};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn product(code: &str) -> ProductChange {
    ProductChange {
        code: code.into(),
        name: Some(format!("product {code}")),
        product_type: Some("medication".into()),
        category: Some("consumable".into()),
        units_per_outer: Some(Some(Decimal::TEN)),
        unit_of_measure: Some("box".into()),
        list_price: Some(Some(Decimal::new(250, 2))),
        ..ProductChange::default()
    }
}

fn code(code: &str) -> ProductChange {
    ProductChange { code: code.into(), ..ProductChange::default() }
}

async fn upsert(pool: &Pool, changes: &[ProductChange]) -> Result<products::UpsertSummary, ProductsError> {
    in_transaction(pool, async |c| products::upsert(c, NOW, "test", "products", changes).await).await
}

async fn find(pool: &Pool, code: &str) -> ProductRow {
    in_transaction(pool, async |c| products::find(c, code).await).await.expect("the product")
}

async fn version(pool: &Pool) -> i64 {
    sqlx::query_scalar("select value from data_version where name = 'catalog'").fetch_one(pool).await.expect("version")
}

fn fields(error: ProductsError) -> Vec<String> {
    match error {
        ProductsError::Invalid(fields) => fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_upsert_keeps_the_fields_that_it_leaves_out() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let done = upsert(pool, &[product("A"), product("B")]).await.expect("new");
    assert_eq!((done.new, done.changed, done.unchanged), (2, 0, 0));
    let before = version(pool).await;
    let change = ProductChange { barcode: Some("0871".into()), stock_available: Some(Decimal::from(7)), ..code("A") };
    let done = upsert(pool, &[change.clone(), code("B")]).await.expect("partial");
    assert_eq!((done.new, done.changed, done.unchanged), (0, 1, 1));
    let row = find(pool, "A").await;
    assert_eq!((row.name.as_str(), row.barcode.as_str()), ("product A", "0871"));
    assert_eq!((row.list_price.as_deref(), row.units_per_outer.as_deref()), (Some("2.5"), Some("10")));
    assert_eq!(version(pool).await, before + 1);
    upsert(pool, &[change]).await.expect("the same again");
    assert_eq!(version(pool).await, before + 1, "nothing changed, so no process needs to reload");
    let unpriced = ProductChange { list_price: Some(None), units_per_outer: Some(None), ..code("A") };
    upsert(pool, &[unpriced]).await.expect("without price");
    let row = find(pool, "A").await;
    assert_eq!((row.state.as_str(), row.units_per_outer, row.list_price), ("not_for_sale", None, None));
}

#[tokio::test]
async fn every_invalid_field_of_an_upsert_is_named_and_nothing_is_changed() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let negative = ProductChange {
        list_price: Some(Some(Decimal::NEGATIVE_ONE)),
        related_urls: Some(vec!["https://a.example".into(), "nowhere".into()]),
        tax_rate: Some(Some(Decimal::from(101))),
        name: Some(" ".into()),
        ..product("B")
    };
    let unpacked = ProductChange { units_per_outer: None, ..product("D") };
    let error = upsert(pool, &[product("A"), negative, code("C"), product("A"), unpacked, code("")]).await.unwrap_err();
    let expected = [
        "products[1].list_price: must not be negative",
        "products[1].name: is empty",
        "products[1].related_urls[1]: must be http:// or https:// addresses, separated by spaces or |",
        "products[1].tax_rate: must be from 0 to 100",
        "products[2].category: is missing; a new product needs it",
        "products[2].name: is missing; a new product needs it",
        "products[2].type: is missing; a new product needs it",
        "products[3].code: is already at position 0",
        "products[4].units_per_outer: is missing, but the product has a price; the price of a unit needs the pack size",
        "products[5].code: is empty",
    ];
    assert_eq!(fields(error), expected);
    assert!(products::list(pool, &ProductFilter::default(), Page::default()).await.expect("list").is_empty());
}

#[tokio::test]
async fn stock_is_set_or_added_to_for_all_products_or_none() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    upsert(pool, &[product("A"), product("B")]).await.expect("new");
    let before = version(pool).await;
    let set =
        |code: &str, value: i64| StockChange { code: code.into(), stock_available: Some(value.into()), change: None };
    let add =
        |code: &str, value: i64| StockChange { code: code.into(), stock_available: None, change: Some(value.into()) };
    let run = async |changes: Vec<StockChange>| {
        in_transaction(pool, async |c| products::set_stock(c, NOW, "test", &changes).await).await
    };
    let levels = run(vec![set("B", 5), add("A", 12)]).await.expect("stock");
    let levels: Vec<_> = levels.iter().map(|level| (level.code.as_str(), level.stock_available)).collect();
    assert_eq!(levels, [("A", Decimal::from(12)), ("B", Decimal::from(5))]);
    let both = StockChange { change: Some(Decimal::ONE), ..set("B", 1) };
    let none = StockChange { stock_available: None, ..set("B", 1) };
    let error = run(vec![add("A", -13), set("X", 1), both, none, set("A", -1)]).await.unwrap_err();
    let expected = [
        "stock[0].change: exceeds the stock on hand, 12",
        "stock[1].code: is not in the catalogue",
        "stock[2].change: is given beside stock_available; give one of them",
        "stock[3].code: is already at position 2",
        "stock[3].stock_available: is missing; give stock_available or change",
        "stock[4].code: is already at position 0",
        "stock[4].stock_available: must not be negative",
    ];
    assert_eq!(fields(error), expected);
    let (one, other) = tokio::join!(run(vec![add("A", 1), add("B", 1)]), run(vec![add("B", 1), add("A", 1)]));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!((find(pool, "A").await.stock_available, find(pool, "B").await.stock_available), (14.into(), 7.into()));
    assert_eq!(version(pool).await, before, "stock reaches the servers without a reload");
}

#[tokio::test]
async fn a_product_is_withdrawn_and_listed_again() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    upsert(pool, &[product("A")]).await.expect("new");
    let set = async |active: bool| {
        in_transaction(pool, async |c| products::set_active(c, NOW, "test", "A", active).await).await
    };
    assert!(matches!(set(true).await.unwrap_err(), ProductsError::State { state: "active", .. }));
    let withdrawn = set(false).await.expect("withdraw");
    assert_eq!((withdrawn.state.as_str(), withdrawn.withdrawn_at), ("withdrawn", Some(NOW)));
    assert!(matches!(set(false).await.unwrap_err(), ProductsError::State { state: "withdrawn", .. }));
    assert_eq!(set(true).await.expect("relist").withdrawn_at, None);
    let filter = |state: &str| ProductFilter { state: Some(state.into()), ..ProductFilter::default() };
    let count = async |state: &str| products::list(pool, &filter(state), Page::default()).await.expect("list").len();
    assert_eq!((count("active").await, count("withdrawn").await), (1, 0));
}

#[tokio::test]
async fn contract_prices_are_set_listed_and_removed() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    upsert(pool, &[product("A"), product("B")]).await.expect("new");
    let gold = PriceOwner::List("Gold".into());
    let price = |code: &str, price: Option<i64>| PriceChange {
        code: code.into(),
        contract_price: price.map(Decimal::from),
        valid_from: None,
        valid_until: None,
    };
    let set = async |owner: &PriceOwner, changes: Vec<PriceChange>| {
        in_transaction(pool, async |c| price_lists::set_prices(c, NOW, "test", owner, &changes).await).await
    };
    let summer = PriceChange { valid_from: Some(date!(2026 - 06 - 01)), ..price("A", Some(1)) };
    let done = set(&gold, vec![price("B", Some(2)), price("A", Some(2)), summer.clone()]).await.expect("prices");
    assert_eq!((done.new, done.changed), (3, 0));
    let done = set(&gold, vec![price("A", Some(2)), PriceChange { contract_price: Some(3.into()), ..summer.clone() }]);
    let done = done.await.expect("a change");
    assert_eq!((done.new, done.changed, done.unchanged), (0, 1, 1));
    let page = async |after| price_lists::prices(pool, &gold, after, 2).await.expect("prices");
    let first = page(None).await;
    let keys: Vec<_> = first.iter().map(|price| (price.code.as_str(), price.valid_from)).collect();
    assert_eq!(keys, [("A", None), ("A", Some(date!(2026 - 06 - 01)))]);
    let second = page(first.last().map(|price| (price.code.clone(), price.valid_from))).await;
    assert_eq!((second.len(), second[0].code.as_str()), (1, "B"));

    let bad = PriceChange {
        valid_until: Some(date!(2026 - 01 - 01)),
        ..PriceChange { contract_price: Some((-1).into()), ..summer }
    };
    let error = set(&gold, vec![price("A", Some(1)), price("A", None), price("X", Some(1)), bad]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "prices[1].code: already has a price at position 0; prices[2].code: is not in the catalogue; \
         prices[3].contract_price: must not be negative; prices[3].valid_until: is before valid_from"
    );
    let remove = async |code: &str, day| {
        in_transaction(pool, async |c| price_lists::remove_prices(c, NOW, "test", &gold, code, day).await).await
    };
    assert_eq!(remove("A", Some(date!(2026 - 06 - 01))).await.expect("one period").removed, 1);
    assert!(matches!(remove("X", None).await.unwrap_err(), PriceListsError::NoPrice(_)));
    assert_eq!(remove("A", None).await.expect("the rest").removed, 1);
}

#[tokio::test]
async fn a_price_list_is_deleted_only_when_no_clinic_uses_it() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    upsert(pool, &[product("A")]).await.expect("new");
    let draft = ClinicDraft { name: "Vet".into(), site: None, client_id: Some("vet".into()) };
    in_transaction(pool, async |c| clinics::add(c, NOW, "test", draft).await).await.expect("a clinic");
    let settings: ClinicSettings = Settings::from_environment().expect("defaults").clinic;
    let set = async |pair: &str| {
        let changes = Changes::parse(&[pair.to_owned()]);
        let target = Target::from("vet");
        in_transaction(pool, async |c| clinics::set(c, NOW, "test", &settings, target, changes).await)
            .await
            .expect("set");
    };
    set("price_list=Gold").await;
    let delete = async || in_transaction(pool, async |c| price_lists::delete(c, NOW, "test", "Gold").await).await;
    assert!(matches!(delete().await.unwrap_err(), PriceListsError::InUse { clinics: 1, .. }));
    set("price_list=").await;
    delete().await.expect("no clinic uses it");
    assert!(matches!(delete().await.unwrap_err(), PriceListsError::NoPriceList(_)));
    assert!(price_lists::list(pool).await.expect("list").is_empty());
    let clinic = in_transaction(pool, async |c| price_lists::find_clinic(c, "vet").await).await.expect("the clinic");
    let own = PriceChange { code: "A".into(), contract_price: Some(1.into()), valid_from: None, valid_until: None };
    in_transaction(pool, async |c| price_lists::set_prices(c, NOW, "test", &clinic, &[own]).await).await.expect("own");
    assert_eq!(price_lists::prices(pool, &clinic, None, 10).await.expect("prices").len(), 1);
}
