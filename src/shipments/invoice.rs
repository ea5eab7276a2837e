//! The invoices and stock movements that a shipment becomes. Pure: the same order, shipment and settings always give the
//! same documents (SPSI.md 2, 5.5, 5.6, 5.8, 5.9, 5.15).

use crate::config::{Basis, Deliver, FreightTax, JobEncoding, SiteSettings};
use crate::delivery::payload::{Invoice, InvoiceBatch, InvoiceLine, Supplied, SuppliedBatch, SuppliedLine};
use crate::ezyvet::count_job_fields;
use crate::ids::OrderLineId;
use crate::values::round;
use rust_decimal::Decimal;
use time::{Date, Duration, OffsetDateTime, Time};

/// Decimals of a computed tax amount per unit.
const TAX_PLACES: u32 = 4;
/// Decimals of an amount of money.
const MONEY_PLACES: u32 = 2;

/// The parts of an order that its invoices repeat.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub purchase_order_number: String,
    pub ownership_id: String,
    /// Both include tax, as ezyVet sent them.
    pub freight: Decimal,
    pub freight_tax: Decimal,
}

/// Goods of one order line, from one batch. Quantities are in units, prices per unit without tax.
#[derive(Clone, Debug)]
pub struct ShippedLine {
    pub line_id: OrderLineId,
    /// ezyVet's id of the order line.
    pub item: String,
    pub product_id: String,
    pub supplier_code: String,
    pub location_id: String,
    pub units_per_outer: Decimal,
    pub price_per_unit: Decimal,
    pub tax_per_unit: Decimal,
    /// In percent, of the catalogue or the clinic ([`super::tax`]). `None`: the order line's rate applies.
    pub tax_rate: Option<Decimal>,
    /// Of the catalogue or the clinic. Empty: the site's code applies.
    pub tax_code: String,
    pub quantity: Decimal,
    pub batch: String,
    pub expiry: Option<Date>,
}

/// The goods of one shipment.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub shipped_at: OffsetDateTime,
    /// Includes tax.
    pub freight: Decimal,
    pub lines: Vec<ShippedLine>,
}

/// Returns the invoices of a parcel, with empty invoice numbers. Splits into several only if a form would have more fields
/// than PHP reads (SPSI.md 4): lines stay whole, and the first invoice carries the freight.
pub fn invoices(order: &Ordered, parcel: &Parcel, settings: &SiteSettings) -> Vec<Invoice> {
    if settings.deliver == Deliver::Supplied || parcel.lines.is_empty() {
        return Vec::new();
    }
    let head = |freight: Decimal| Invoice {
        invoice_number: String::new(),
        date: parcel.shipped_at.unix_timestamp(),
        due_date: (parcel.shipped_at + Duration::days(i64::from(settings.payment_days))).unix_timestamp(),
        comments: format!("For PO {}.", order.purchase_order_number),
        freight,
        freight_tax: freight_tax(order, freight, settings),
        ownership_id: order.ownership_id.clone(),
        lines: Vec::new(),
    };
    let room =
        (settings.max_form_fields as usize).saturating_sub(count_job_fields(settings, head(Decimal::ZERO).body()));
    let unlimited = settings.job_encoding == JobEncoding::Json || settings.max_form_fields == 0;
    let (mut invoices, mut used) = (vec![head(parcel.freight)], 0);
    for line in &parcel.lines {
        let line = invoice_line(line, settings);
        let fields = line.body().count_fields();
        if !unlimited && used > 0 && used + fields > room {
            invoices.push(head(Decimal::ZERO));
            used = 0;
        }
        used += fields;
        if let Some(invoice) = invoices.last_mut() {
            invoice.lines.push(line);
        }
    }
    invoices
}

/// Returns the stock movements of a parcel, one per stock location, in order of first appearance.
pub fn supplied(parcel: &Parcel, settings: &SiteSettings) -> Vec<Supplied> {
    let mut calls: Vec<Supplied> = Vec::new();
    if settings.deliver == Deliver::Invoice {
        return calls;
    }
    for line in &parcel.lines {
        let batch = (!line.batch.is_empty())
            .then(|| SuppliedBatch { code: line.batch.clone(), expire_at: line.expiry.map(|day| day.to_string()) });
        let supplied = match settings.supplied_unit {
            Basis::Unit => line.quantity,
            Basis::Outer => line.quantity / line.units_per_outer,
        };
        let entry = SuppliedLine {
            product_id: line.product_id.clone(),
            supplier_code: line.supplier_code.clone(),
            supplied: round(supplied, 6),
            batch,
        };
        match calls.iter_mut().find(|call| call.location_id == line.location_id) {
            Some(call) => call.lines.push(entry),
            None => calls.push(Supplied { location_id: line.location_id.clone(), lines: vec![entry] }),
        }
    }
    calls
}

fn invoice_line(line: &ShippedLine, settings: &SiteSettings) -> InvoiceLine {
    let hundred = Decimal::ONE_HUNDRED;
    let (tax, tax_rate) = match line.tax_rate {
        Some(rate) => (line.price_per_unit * rate / hundred, rate),
        None if line.price_per_unit.is_zero() => (line.tax_per_unit, Decimal::ZERO),
        None => (line.tax_per_unit, round(line.tax_per_unit / line.price_per_unit * hundred, MONEY_PLACES)),
    };
    let (quantity, factor) = match settings.invoice_unit {
        Basis::Unit => (line.quantity, Decimal::ONE),
        Basis::Outer => (line.quantity / line.units_per_outer, line.units_per_outer),
    };
    InvoiceLine {
        quantity: round(quantity, 6),
        price: round(line.price_per_unit * factor, 6),
        // Rounded last: rounding the tax of one unit first would multiply the error by the pack size.
        tax: round(tax * factor, if line.tax_rate.is_some() { TAX_PLACES } else { 6 }),
        tax_rate: tax_rate.normalize(),
        tax_code: if line.tax_code.is_empty() { settings.tax_code.clone() } else { line.tax_code.clone() },
        supplier_code: line.supplier_code.clone(),
        location_id: line.location_id.clone(),
        purchase_order_item_id: line.item.clone(),
        batch: (!line.batch.is_empty()).then(|| InvoiceBatch {
            name: line.batch.clone(),
            expiry: line.expiry.map(|day| day.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp()),
        }),
    }
}

/// Returns the freight tax at the rate of the order's freight, or at the rate of the setting if the order has none.
fn freight_tax(order: &Ordered, freight: Decimal, settings: &SiteSettings) -> Decimal {
    let net = order.freight - order.freight_tax;
    let has_own_rate = !net.is_zero() && !order.freight_tax.is_zero();
    let hundred = Decimal::ONE_HUNDRED;
    let rate =
        if has_own_rate { round(order.freight_tax / net * hundred, MONEY_PLACES) } else { settings.freight_tax_rate.0 };
    match settings.freight_tax {
        _ if freight.is_zero() => Decimal::ZERO,
        FreightTax::Percent => rate.normalize(),
        FreightTax::Amount => round(freight * rate / (hundred + rate), MONEY_PLACES),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tax::ClinicTax;
    use super::*;
    use crate::config::Amount;
    use crate::delivery::payload::Payload;
    use clap::Parser;
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        site: SiteSettings,
    }

    fn settings() -> SiteSettings {
        Defaults::parse_from(["x"]).site
    }

    pub(in crate::shipments) fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn order() -> Ordered {
        Ordered {
            purchase_order_number: "15000032".into(),
            ownership_id: "1".into(),
            freight: Decimal::ZERO,
            freight_tax: Decimal::ZERO,
        }
    }

    pub(in crate::shipments) fn line(item: &str, quantity: &str) -> ShippedLine {
        ShippedLine {
            line_id: OrderLineId(1),
            item: item.into(),
            product_id: "50002".into(),
            supplier_code: "TP1".into(),
            location_id: "3".into(),
            units_per_outer: number("10"),
            price_per_unit: number("4"),
            tax_per_unit: number("0.4"),
            tax_rate: None,
            tax_code: String::new(),
            quantity: number(quantity),
            batch: String::new(),
            expiry: None,
        }
    }

    fn parcel(lines: Vec<ShippedLine>) -> Parcel {
        Parcel { shipped_at: datetime!(2026-11-21 12:00 UTC), freight: number("5.50"), lines }
    }

    fn one(order: &Ordered, lines: Vec<ShippedLine>, settings: &SiteSettings) -> Invoice {
        let mut invoices = invoices(order, &parcel(lines), settings);
        assert_eq!(invoices.len(), 1);
        invoices.remove(0)
    }

    /// Golden test of a frozen payload: a difference here changes what clinics are invoiced.
    #[test]
    fn the_frozen_payload_of_a_taxed_clinic_does_not_change() {
        let mut lines = [line("9", "20"), ShippedLine { tax_rate: Some(number("5")), ..line("10", "1") }];
        let tax = ClinicTax { code: "GST".into(), rate: Some(number("15.000000")), overrides_product: false };
        lines.iter_mut().for_each(|line| tax.apply(line));
        let invoice = one(&order(), lines.to_vec(), &settings());
        let head = r#"{"format":"receive_invoice/1","invoice_number":"","date":1795262400,"due_date":1797854400,"comments":"For PO 15000032.","freight":"5.5","freight_tax":"0","ownership_id":"1","lines":["#;
        let first = r#"{"quantity":"20","price":"4","tax":"0.6","tax_rate":"15","tax_code":"GST","supplier_code":"TP1","location_id":"3","purchase_order_item_id":"9"}"#;
        let second = r#"{"quantity":"1","price":"4","tax":"0.2","tax_rate":"5","tax_code":"GST","supplier_code":"TP1","location_id":"3","purchase_order_item_id":"10"}"#;
        let frozen = serde_json::to_string(&Payload::ReceiveInvoice(invoice)).unwrap();
        assert_eq!(frozen, format!("{head}{first},{second}]}}"));
    }

    #[test]
    fn an_invoice_counts_units_at_the_orders_tax() {
        let invoice = one(&order(), vec![line("9", "20")], &settings());
        assert_eq!(invoice.comments, "For PO 15000032.");
        assert_eq!(invoice.due_date - invoice.date, 30 * 86_400);
        let line = &invoice.lines[0];
        assert_eq!(
            (line.quantity, line.price, line.tax, line.tax_rate),
            (20.into(), 4.into(), number("0.4"), 10.into())
        );
        assert_eq!((line.tax_code.as_str(), line.location_id.as_str()), ("S", "3"));
        assert_eq!(line.batch, None);
    }

    #[test]
    fn the_tax_of_an_outer_is_that_of_its_price() {
        let settings = SiteSettings { invoice_unit: Basis::Outer, ..settings() };
        let cheap = ShippedLine {
            price_per_unit: number("0.0033"),
            units_per_outer: number("1000"),
            tax_rate: Some(number("10")),
            ..line("10", "1000")
        };
        let lines = one(&order(), vec![line("9", "20"), cheap], &settings).lines;
        let amounts: Vec<_> = lines.iter().map(|line| [line.quantity, line.price, line.tax]).collect();
        assert_eq!(amounts, [[2.into(), 40.into(), 4.into()], [1.into(), number("3.3"), number("0.33")]]);
    }

    #[test]
    fn a_free_line_has_no_rate_and_a_return_is_negative() {
        let free = ShippedLine { price_per_unit: Decimal::ZERO, tax_per_unit: Decimal::ZERO, ..line("9", "-1") };
        let line = &one(&order(), vec![free], &settings()).lines[0];
        assert_eq!((line.quantity, line.tax_rate), ((-1).into(), Decimal::ZERO));
    }

    #[test]
    fn two_batches_are_two_lines_with_their_expiry() {
        let batch =
            |name: &str| ShippedLine { batch: name.into(), expiry: Some(date!(2028 - 01 - 01)), ..line("9", "5") };
        let invoice = one(&order(), vec![batch("A"), batch("B")], &settings());
        let batches: Vec<_> = invoice.lines.iter().filter_map(|line| line.batch.clone()).collect();
        assert_eq!(batches[0], InvoiceBatch { name: "A".into(), expiry: Some(1_830_297_600) });
        assert_eq!(batches[1].name, "B");
        let supplied = supplied(&parcel(vec![batch("A"), line("10", "1")]), &settings());
        assert_eq!(supplied[0].lines[0].batch.as_ref().unwrap().expire_at.as_deref(), Some("2028-01-01"));
        assert_eq!(supplied[0].lines[1].batch, None);
    }

    #[test]
    fn freight_tax_is_a_percentage_or_an_amount() {
        let percent = SiteSettings { freight_tax_rate: Amount(number("10")), ..settings() };
        let amount = SiteSettings { freight_tax: FreightTax::Amount, ..percent.clone() };
        assert_eq!(one(&order(), vec![line("9", "1")], &percent).freight_tax, 10.into());
        assert_eq!(one(&order(), vec![line("9", "1")], &amount).freight_tax, number("0.5"));
        let own_rate = Ordered { freight: number("23"), freight_tax: number("3"), ..order() };
        assert_eq!(one(&own_rate, vec![line("9", "1")], &percent).freight_tax, 15.into());
    }

    #[test]
    fn each_location_gets_its_own_supplied() {
        let elsewhere = ShippedLine { location_id: "4".into(), ..line("10", "7") };
        let lines = vec![line("9", "20"), elsewhere, line("11", "1")];
        let calls = supplied(&parcel(lines.clone()), &settings());
        assert_eq!(
            calls.iter().map(|c| (c.location_id.as_str(), c.lines.len())).collect::<Vec<_>>(),
            [("3", 2), ("4", 1)]
        );
        let outers = supplied(&parcel(lines.clone()), &SiteSettings { supplied_unit: Basis::Outer, ..settings() });
        assert_eq!(outers[0].lines[0].supplied, 2.into());
        let only = SiteSettings { deliver: Deliver::Invoice, ..settings() };
        assert!(supplied(&parcel(lines.clone()), &only).is_empty());
        let only = SiteSettings { deliver: Deliver::Supplied, ..settings() };
        assert!(invoices(&order(), &parcel(lines), &only).is_empty());
    }

    proptest! {
        #[test]
        fn a_split_keeps_every_line_whole_in_order_and_under_the_limit(
            batches in proptest::collection::vec(any::<bool>(), 1..300), limit in 40u32..1000,
        ) {
            let settings = SiteSettings { max_form_fields: limit, ..settings() };
            let lines: Vec<_> = batches.iter().enumerate().map(|(index, batch)| ShippedLine {
                batch: if *batch { "B".into() } else { String::new() }, ..line(&index.to_string(), "1")
            }).collect();
            let split = invoices(&order(), &parcel(lines.clone()), &settings);
            let items: Vec<_> = split.iter().flat_map(|i| &i.lines).map(|l| l.purchase_order_item_id.clone()).collect();
            prop_assert_eq!(items, lines.iter().map(|l| l.item.clone()).collect::<Vec<_>>());
            for (part, invoice) in split.iter().enumerate() {
                prop_assert!(count_job_fields(&settings, invoice.body()) <= limit as usize);
                prop_assert_eq!(invoice.freight.is_zero(), part > 0);
            }
            let json = SiteSettings { job_encoding: JobEncoding::Json, ..settings };
            prop_assert_eq!(invoices(&order(), &parcel(lines), &json).len(), 1);
        }
    }
}
