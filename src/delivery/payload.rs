//! What a delivery brings, frozen when the goods leave: a price or a product that changes afterwards changes no invoice.
//!
//! Stored as JSON with a tag that names kind and version. A stored form is never changed: a new one gets a new tag, and
//! the golden test below keeps the old ones readable. How a payload is *sent* (job names, encoding) is the site's setting
//! at that time, because staff mend a refused delivery there.

use crate::ezyvet::BodyValue;
use crate::values;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A frozen payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Payload {
    #[serde(rename = "receive_invoice/1")]
    ReceiveInvoice(Invoice),
    #[serde(rename = "supplied/1")]
    Supplied(Supplied),
}

/// A receive invoice (SPSI.md 2). Times are epoch seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invoice {
    pub invoice_number: String,
    pub date: i64,
    pub due_date: i64,
    pub comments: String,
    /// Includes tax.
    #[serde(with = "values::text")]
    pub freight: Decimal,
    /// A percentage or an amount, as the site is set (SPSI.md 5.6).
    #[serde(with = "values::text")]
    pub freight_tax: Decimal,
    /// The header's: the business whose books are touched.
    pub ownership_id: String,
    pub lines: Vec<InvoiceLine>,
}

/// A line of an invoice: one order line, one batch at the most. Counts units or outers, as the site is set (SPSI.md 5.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// Negative for goods coming back.
    #[serde(with = "values::text")]
    pub quantity: Decimal,
    /// Of one, without tax.
    #[serde(with = "values::text")]
    pub price: Decimal,
    /// The amount on one.
    #[serde(with = "values::text")]
    pub tax: Decimal,
    /// In percent.
    #[serde(with = "values::text")]
    pub tax_rate: Decimal,
    pub tax_code: String,
    pub supplier_code: String,
    /// The stock location: the order line's `ownership_id`.
    pub location_id: String,
    /// ezyVet's id of the order line.
    pub purchase_order_item_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<InvoiceBatch>,
}

/// Where goods come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvoiceBatch {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<i64>,
}

/// Stock that arrives at one location. Uids are looked up when it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supplied {
    /// The numeric id of the location's separation.
    pub location_id: String,
    pub lines: Vec<SuppliedLine>,
}

/// A product that arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuppliedLine {
    /// ezyVet's numeric id of the clinic's product.
    pub product_id: String,
    pub supplier_code: String,
    /// Units or outers, as the site is set (SPSI.md 5.9).
    #[serde(with = "values::text")]
    pub supplied: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<SuppliedBatch>,
}

/// The batch that it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuppliedBatch {
    pub code: String,
    /// `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<String>,
}

impl Invoice {
    /// The body as ezyVet's guide writes it.
    pub fn body(&self) -> BodyValue {
        BodyValue::Fields(vec![
            ("invoice_number", BodyValue::text(&self.invoice_number)),
            ("date", BodyValue::Whole(self.date)),
            ("due_date", BodyValue::Whole(self.due_date)),
            ("comments", BodyValue::text(&self.comments)),
            ("freight", BodyValue::Number(self.freight)),
            ("freight_tax", BodyValue::Number(self.freight_tax)),
            ("ownership_id", BodyValue::id(&self.ownership_id)),
            ("line_item", BodyValue::List(self.lines.iter().map(InvoiceLine::body).collect())),
        ])
    }
}

impl InvoiceLine {
    /// The line as ezyVet's guide writes it.
    pub fn body(&self) -> BodyValue {
        let batch = self.batch.iter().map(|batch| {
            let expiry = batch.expiry.map_or(BodyValue::Absent, BodyValue::Whole);
            BodyValue::Fields(vec![("name", BodyValue::text(&batch.name)), ("expiry", expiry)])
        });
        BodyValue::Fields(vec![
            ("quantity", BodyValue::Number(self.quantity)),
            ("price", BodyValue::Number(self.price)),
            ("tax", BodyValue::Number(self.tax)),
            ("tax_rate", BodyValue::Number(self.tax_rate)),
            ("tax_code", BodyValue::text(&self.tax_code)),
            ("supplier_code", BodyValue::text(&self.supplier_code)),
            ("location_id", BodyValue::id(&self.location_id)),
            ("purchase_order_item_id", BodyValue::id(&self.purchase_order_item_id)),
            ("batch", BodyValue::List(batch.collect())),
        ])
    }
}

impl Supplied {
    /// The body, with each line's product uid from `uid`.
    pub fn body<'a>(&self, uid: impl Fn(&str) -> &'a str) -> BodyValue {
        let lines = self.lines.iter().map(|line| {
            let batch = line.batch.as_ref().map_or(BodyValue::Absent, |batch| {
                let expire_at = batch.expire_at.as_ref().map_or(BodyValue::Absent, BodyValue::text);
                BodyValue::Fields(vec![("code", BodyValue::text(&batch.code)), ("expireAt", expire_at)])
            });
            BodyValue::Fields(vec![
                ("productId", BodyValue::text(uid(&line.product_id))),
                ("supplied", BodyValue::Number(line.supplied)),
                ("batch", batch),
            ])
        });
        BodyValue::List(lines.collect())
    }
}

#[cfg(test)]
pub(in crate::delivery) mod tests {
    use super::*;

    /// What rows in the field hold. Never change these texts: add new ones.
    const INVOICE_1: &str = r#"{"format":"receive_invoice/1","invoice_number":"INV-000001","date":1795262400,"due_date":1797854400,"comments":"For PO 15000032.","freight":"4","freight_tax":"10","ownership_id":"1","lines":[{"quantity":"2","price":"4.25","tax":"0.425","tax_rate":"10","tax_code":"S","supplier_code":"TP1","location_id":"3","purchase_order_item_id":"9","batch":{"name":"B1","expiry":1830297600}},{"quantity":"-1","price":"4","tax":"0","tax_rate":"0","tax_code":"S","supplier_code":"TP2","location_id":"4","purchase_order_item_id":"10"}]}"#;
    const SUPPLIED_1: &str = r#"{"format":"supplied/1","location_id":"3","lines":[{"product_id":"50002","supplier_code":"TP1","supplied":"2","batch":{"code":"B1","expire_at":"2028-01-01"}},{"product_id":"50003","supplier_code":"TP2","supplied":"0.5"}]}"#;

    #[test]
    fn stored_payloads_stay_readable_and_are_written_the_same() {
        for text in [INVOICE_1, SUPPLIED_1] {
            let payload: Payload = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&payload).unwrap(), text);
        }
    }

    /// The stored one.
    pub(in crate::delivery) fn invoice() -> Invoice {
        let Payload::ReceiveInvoice(invoice) = serde_json::from_str(INVOICE_1).unwrap() else { panic!("not one") };
        invoice
    }

    #[test]
    fn an_invoice_is_written_as_in_ezyvets_guide() {
        assert_eq!(
            serde_json::to_string(&invoice().body()).unwrap(),
            concat!(
                r#"{"invoice_number":"INV-000001","date":1795262400,"due_date":1797854400,"comments":"For PO 15000032.","#,
                r#""freight":4,"freight_tax":10,"ownership_id":1,"line_item":["#,
                r#"{"quantity":2,"price":4.25,"tax":0.425,"tax_rate":10,"tax_code":"S","supplier_code":"TP1","#,
                r#""location_id":3,"purchase_order_item_id":9,"batch":[{"name":"B1","expiry":1830297600}]},"#,
                r#"{"quantity":-1,"price":4,"tax":0,"tax_rate":0,"tax_code":"S","supplier_code":"TP2","#,
                r#""location_id":4,"purchase_order_item_id":10}]}"#
            )
        );
    }

    #[test]
    fn supplied_is_written_with_uids() {
        let Payload::Supplied(supplied) = serde_json::from_str(SUPPLIED_1).unwrap() else { panic!("not one") };
        let body = supplied.body(|id| if id == "50002" { "product_a" } else { "product_b" });
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"[{"productId":"product_a","supplied":2,"batch":{"code":"B1","expireAt":"2028-01-01"}},{"productId":"product_b","supplied":0.5}]"#
        );
    }
}
