//! Random catalogues, clinics and queries for the property tests of this folder, and a simple model that answers them.

use super::clinic_view::ScopeRules;
use super::fold::fold;
use super::fragments::DEFAULT_SETTINGS;
use super::prices::ContractPrices;
use super::product::{BodySettings, CatalogProduct, is_number, unit_price};
use super::query::ProductQuery;
use crate::config::{BarcodeType, Basis, MissingContractPrice, Retention, Span};
use crate::ids::ProductId;
use crate::values::plain;
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

pub(super) const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// A product for examples.
pub(super) fn sample(id: i64, code: &str) -> CatalogProduct {
    CatalogProduct {
        id: ProductId(id),
        code: code.into(),
        name: "bandage".into(),
        product_type: "medication".into(),
        category: "consumable".into(),
        units_per_outer: 1.into(),
        unit_of_measure: "box".into(),
        list_price: Some(1.into()),
        barcode: String::new(),
        stock_available: 5.into(),
        withdrawn_at: None,
        related_urls: Vec::new(),
        restricted: false,
    }
}

fn text() -> impl Strategy<Value = String> {
    // Few letters, so that values have hits; two encodings of é, a sharp s, sigmas.
    prop_oneof![
        4 => proptest::collection::vec(proptest::sample::select(vec!["a", "B", "b", "A", " ", "1", "É", "é", "e\u{301}", "ß", "SS", "Σ", "ς", "%", "_", "\\", "\""]), 0..14).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

fn money() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        (0..100_000_i64).prop_map(|cents| Decimal::new(cents, 2)),
        (0..i64::MAX / 10).prop_map(|n| Decimal::new(n, 6))
    ]
}

prop_compose! {
    fn product(code: String)(
        name in text(), category in proptest::sample::select(vec!["Consumable", "médication", "MÉDICATION", "food", ""]),
        units in 1..30_i64, list_price in proptest::option::weighted(0.9, money()), barcode in "[0-9]{0,18}|[a-z]{1,3}",
        stock in -5..9_000_i64, days in proptest::option::weighted(0.2, 0..200_i64), restricted in proptest::bool::weighted(0.1),
        related_urls in proptest::collection::vec(text(), 0..3),
        code in Just(code),
    ) -> CatalogProduct {
        CatalogProduct {
            id: ProductId(0), code, name, category: category.into(), product_type: "medication".into(), units_per_outer: Decimal::new(units, 1),
            unit_of_measure: "box".into(), list_price, barcode, stock_available: Decimal::new(stock, 1),
            withdrawn_at: days.map(|days| NOW - time::Duration::days(days)), related_urls, restricted,
        }
    }
}

/// Products with distinct codes and ids, in random order.
pub(super) fn products() -> impl Strategy<Value = Vec<CatalogProduct>> {
    let codes = proptest::collection::hash_set(text().prop_filter("a code", |code| !code.is_empty()), 0..150);
    codes.prop_flat_map(|codes| codes.into_iter().map(product).collect::<Vec<_>>()).prop_map(|mut products| {
        (1..).zip(&mut products).for_each(|(id, product)| product.id = ProductId((id * 7919) % 1009));
        products
    })
}

fn prices() -> impl Strategy<Value = Option<Arc<ContractPrices>>> {
    let prices = proptest::collection::vec((0..1009_i64, money()), 0..1200).prop_map(|prices| {
        Arc::new(ContractPrices::new(prices.into_iter().map(|(id, price)| (ProductId(id), price)).collect()))
    });
    proptest::option::of(prices)
}

prop_compose! {
    pub(super) fn rules(products: &[CatalogProduct])(
        hidden in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4), only in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        hidden_categories in proptest::collection::vec(proptest::sample::select(vec!["food", "Food", "médication"]), 0..2),
        only_categories in proptest::collection::vec(proptest::sample::select(vec!["food", "Consumable"]), 0..2),
        restricted_licence: bool, price_list in prices(), own_prices in prices(),
        price_basis in proptest::sample::select(vec![Basis::Unit, Basis::Outer]), barcode in proptest::sample::select(vec![BarcodeType::Auto, BarcodeType::String]),
        missing_contract_price in proptest::sample::select(vec![MissingContractPrice::ListPrice, MissingContractPrice::Null, MissingContractPrice::LeftOut]),
        withdrawn_for in proptest::sample::select(vec![Retention::Forever, Retention::Time(Span::seconds(0)), Retention::Time(Span::seconds(90 * 86_400))]),
        codes in Just(products.iter().map(|product| product.code.clone()).chain(["unknown".to_owned()]).collect::<Vec<_>>()),
    ) -> ScopeRules {
        let pick = |indices: Vec<proptest::sample::Index>| indices.into_iter().map(|index| index.get(&codes).clone()).collect();
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        ScopeRules {
            hidden_categories: own(hidden_categories), hidden_products: pick(hidden), only_categories: own(only_categories), only_products: pick(only),
            restricted_licence, price_list, own_prices, withdrawn_for, settings: BodySettings { price_basis, missing_contract_price, barcode },
        }
    }
}

/// The default rules: every product, at list prices.
pub(super) fn everything() -> ScopeRules {
    ScopeRules {
        hidden_categories: Vec::new(),
        hidden_products: Vec::new(),
        only_categories: Vec::new(),
        only_products: Vec::new(),
        restricted_licence: true,
        price_list: None,
        own_prices: None,
        withdrawn_for: Retention::Forever,
        settings: DEFAULT_SETTINGS,
    }
}

prop_compose! {
    /// Values that are substrings of the products' texts, other values, and sometimes hundreds of values.
    pub(super) fn query(products: &[CatalogProduct])(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..3_usize, 0..8_usize, 1..7_usize), 0..6),
        others in proptest::collection::vec((0..3_usize, text()), 0..3), many in proptest::option::weighted(0.1, proptest::collection::vec((0..2_usize, text()), 300)),
        limit in proptest::option::of(prop_oneof![9 => 0..30_u64, 1 => Just(u64::MAX)]), page in 0..4_u64,
        texts in Just(products.iter().map(|product| [product.name.clone(), product.code.clone(), product.category.clone()]).collect::<Vec<_>>()),
    ) -> ProductQuery {
        let mut lists: [Vec<String>; 3] = Default::default();
        for (index, field, skip, take) in cuts {
            if !texts.is_empty() {
                lists[field].push(index.get(&texts)[field].chars().skip(skip).take(take).collect());
            }
        }
        others.into_iter().chain(many.into_iter().flatten()).for_each(|(field, text)| lists[field].push(text));
        lists.iter_mut().for_each(|list| list.retain(|value| !value.is_empty()));
        let [names, codes, categories] = lists;
        ProductQuery { names, codes, categories, limit, page: if limit.is_some() { page } else { page / 3 } }
    }
}

/// The products that the clinic may see, in order of code.
pub(super) fn model_visible<'a>(
    products: &'a [CatalogProduct],
    rules: &ScopeRules,
    now: OffsetDateTime,
) -> Vec<&'a CatalogProduct> {
    let mut visible: Vec<&CatalogProduct> = products
        .iter()
        .filter(|product| {
            let open = rules.only_categories.is_empty() && rules.only_products.is_empty();
            let named =
                rules.only_categories.contains(&product.category) || rules.only_products.contains(&product.code);
            let hidden =
                rules.hidden_categories.contains(&product.category) || rules.hidden_products.contains(&product.code);
            let listed = match (product.withdrawn_at, rules.withdrawn_for) {
                (Some(at), Retention::Time(span)) => at + span.0 > now,
                _ => true,
            };
            product.list_price.is_some()
                && (open || named)
                && !hidden
                && listed
                && (!product.restricted || rules.restricted_licence)
        })
        .collect();
    visible.sort_by_key(|product| product.code.as_bytes());
    visible
}

/// Filters and pages.
pub(super) fn model_search<'a>(visible: &[&'a CatalogProduct], query: &ProductQuery) -> Vec<&'a CatalogProduct> {
    let passes = |values: &[String], text: &str| {
        values.is_empty() || values.iter().any(|value| fold(text).contains(&fold(value)))
    };
    let (skip, take) = query.window();
    let matching = visible.iter().filter(|product| {
        passes(&query.names, &product.name)
            && passes(&query.codes, &product.code)
            && passes(&query.categories, &product.category)
    });
    matching.skip(skip as usize).take(usize::try_from(take).unwrap_or(usize::MAX)).copied().collect()
}

/// Writes the JSON of a product.
pub(super) fn model_json(product: &CatalogProduct, rules: &ScopeRules, prices: &Prices) -> String {
    let text = |text: &str| serde_json::to_string(text).unwrap();
    let list = product.list_price.unwrap();
    let basis = |price| match rules.settings.price_basis {
        Basis::Unit => plain(unit_price(price, product.units_per_outer).unwrap()),
        Basis::Outer => plain(price),
    };
    let contract = match (prices.get(&product.id), rules.settings.missing_contract_price) {
        (Some(price), _) => format!(r#","contract_price":{}"#, basis(*price)),
        (None, MissingContractPrice::ListPrice) => format!(r#","contract_price":{}"#, basis(list)),
        (None, MissingContractPrice::Null) => r#","contract_price":null"#.to_owned(),
        (None, MissingContractPrice::LeftOut) => String::new(),
    };
    let number = is_number(&product.barcode) && rules.settings.barcode == BarcodeType::Auto;
    format!(
        r#"{{"active":{},"code":{},"name":{},"type":{},"category":{},"units_per_outer":"{}","unit_of_measure":{},"price_per_unit":"{}","list_price":{}{contract},"barcode":{},"stock_available":{},"related_urls":{}}}"#,
        u8::from(product.withdrawn_at.is_none()),
        text(&product.code),
        text(&product.name),
        text(&product.product_type),
        text(&product.category),
        plain(product.units_per_outer),
        text(&product.unit_of_measure),
        plain(unit_price(list, product.units_per_outer).unwrap()),
        basis(list),
        if number { product.barcode.clone() } else { text(&product.barcode) },
        plain(product.stock_available),
        serde_json::to_string(&product.related_urls).unwrap(),
    )
}

/// Prices by product.
pub(super) type Prices = BTreeMap<ProductId, Decimal>;

/// The prices of the price list, overridden by the clinic's own prices.
pub(super) fn model_prices(rules: &ScopeRules) -> Prices {
    [&rules.price_list, &rules.own_prices].into_iter().flatten().flat_map(|prices| prices.iter()).collect()
}
