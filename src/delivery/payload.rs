//! The content of a delivery, frozen when the goods leave: later changes of prices or products change no invoice.
//!
//! Stored as JSON with a tag that names kind and version. A stored format never changes: a new format gets a new tag, and
//! the golden test below keeps the old formats readable. How a payload is *sent* (job names, encoding) is decided by the
//! site's settings when it is sent, because staff correct a refused delivery there.

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
    /// A percentage or an amount, by the site's setting `freight_tax` (SPSI.md 5.6).
    #[serde(with = "values::text")]
    pub freight_tax: Decimal,
    /// The business whose books the invoice changes: `ownership_id` of the order.
    pub ownership_id: String,
    pub lines: Vec<InvoiceLine>,
}

/// A line of an invoice: one order line and at most one batch. Counts units or outers, by the site's setting `invoice_unit`
/// (SPSI.md 5.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// Negative for goods coming back.
    #[serde(with = "values::text")]
    pub quantity: Decimal,
    /// Price of one, without tax.
    #[serde(with = "values::text")]
    pub price: Decimal,
    /// Tax on one, an amount.
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

/// The production batch of an invoice line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvoiceBatch {
    pub name: String,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<i64>,
}

/// Stock that arrives at one location. Uids are looked up when the delivery is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supplied {
    /// The numeric id of the location's separation.
    pub location_id: String,
    pub lines: Vec<SuppliedLine>,
}

/// A product of a `supplied` call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuppliedLine {
    /// ezyVet's numeric id of the clinic's product.
    pub product_id: String,
    pub supplier_code: String,
    /// Units or outers, by the site's setting `supplied_unit` (SPSI.md 5.9).
    #[serde(with = "values::text")]
    pub supplied: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<SuppliedBatch>,
}

/// The production batch of a `supplied` line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuppliedBatch {
    pub code: String,
    /// `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<String>,
}

impl Invoice {
    /// Returns the body in the format of ezyVet's guide.
    pub fn body(&self) -> BodyValue {
        BodyValue::Fields(vec![
            ("invoice_number", BodyValue::text(&self.invoice_number)),
            ("date", BodyValue::Number(self.date.into())),
            ("due_date", BodyValue::Number(self.due_date.into())),
            ("comments", BodyValue::text(&self.comments)),
            ("freight", BodyValue::Number(self.freight)),
            ("freight_tax", BodyValue::Number(self.freight_tax)),
            ("ownership_id", BodyValue::id(&self.ownership_id)),
            ("line_item", BodyValue::List(self.lines.iter().map(InvoiceLine::body).collect())),
        ])
    }
}

impl InvoiceLine {
    /// Returns the line in the format of ezyVet's guide.
    pub fn body(&self) -> BodyValue {
        let batch = self.batch.iter().map(|batch| {
            let expiry = batch.expiry.map_or(BodyValue::Absent, |expiry| BodyValue::Number(expiry.into()));
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
    /// Returns the product ids of the lines.
    pub fn product_ids(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.product_id.clone()).collect()
    }

    /// Returns the body. `uid` maps a product id to its uid.
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

    /// Stored payloads of every released format. Never change these texts: add new ones.
    const INVOICE_1: &str = r#"{"format":"receive_invoice/1","invoice_number":"INV-000001","date":1795262400,"due_date":1797854400,"comments":"For PO 15000032.","freight":"4","freight_tax":"10","ownership_id":"1","lines":[{"quantity":"2","price":"4.25","tax":"0.425","tax_rate":"10","tax_code":"S","supplier_code":"TP1","location_id":"3","purchase_order_item_id":"9","batch":{"name":"B1","expiry":1830297600}},{"quantity":"-1","price":"4","tax":"0","tax_rate":"0","tax_code":"S","supplier_code":"TP2","location_id":"4","purchase_order_item_id":"10"}]}"#;
    const SUPPLIED_1: &str = r#"{"format":"supplied/1","location_id":"3","lines":[{"product_id":"50002","supplier_code":"TP1","supplied":"2","batch":{"code":"B1","expire_at":"2028-01-01"}},{"product_id":"50003","supplier_code":"TP2","supplied":"0.5"}]}"#;

    #[test]
    fn a_stored_payload_is_read_and_written_unchanged() {
        for text in [INVOICE_1, SUPPLIED_1] {
            let payload: Payload = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&payload).unwrap(), text);
        }
    }

    pub(in crate::delivery) fn invoice() -> Invoice {
        let Payload::ReceiveInvoice(invoice) = serde_json::from_str(INVOICE_1).unwrap() else {
            panic!("not an invoice")
        };
        invoice
    }

    #[test]
    fn an_invoice_is_written_in_the_format_of_ezyvets_guide() {
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
    fn a_supplied_is_written_with_uids() {
        let Payload::Supplied(supplied) = serde_json::from_str(SUPPLIED_1).unwrap() else { panic!("not a supplied") };
        let body = supplied.body(|id| if id == "50002" { "product_a" } else { "product_b" });
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"[{"productId":"product_a","supplied":2,"batch":{"code":"B1","expireAt":"2028-01-01"}},{"productId":"product_b","supplied":0.5}]"#
        );
    }
}
