//! Reads ezyVet's answers.

pub use super::wire::{entries, text};

use super::wire::{Page, page};
use serde_json::Value;

/// A part of a site: the whole database, a business, a division or a stock location.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Separation {
    pub id: String,
    pub uid: String,
    pub name: String,
    /// As ezyVet spells it; the letter case varies.
    #[serde(rename = "type")]
    pub kind: String,
    pub parent: Option<String>,
}

/// An invoice that exists in ezyVet: its job was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInvoice {
    pub is_active: bool,
    /// The whole invoice, as ezyVet shows it.
    pub document: Value,
}

/// A product of the inventory system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryProduct {
    pub uid: String,
    pub code: String,
    pub name: String,
}

/// Reads a page of separations. Returns `None` if the body is not a list.
pub fn separations(body: &str) -> Option<Page<Separation>> {
    page(body, "separation", |item| {
        Some(Separation {
            id: text(item, "id")?,
            uid: text(item, "uid")?,
            name: text(item, "name").unwrap_or_default(),
            kind: text(item, "separation_type").or_else(|| text(item, "type")).unwrap_or_default(),
            parent: text(item, "parent"),
        })
    })
}

/// Returns the invoices of a list that have exactly this number, because a site ignores filters that it does not know.
/// Returns `None` if the body is not a list.
pub fn invoices(body: &str, invoice_number: &str) -> Option<Vec<StoredInvoice>> {
    let found = page(body, "receiveinvoice", |item| {
        text(item, "invoice_number").filter(|number| number == invoice_number)?;
        let is_active = text(item, "active").is_none_or(|active| active != "0");
        Some(StoredInvoice { is_active, document: item.clone() })
    });
    found.map(|page| page.items)
}

/// Returns the code of the product with this id. Returns `None` if the answer does not show it.
pub fn product_code(body: &str, product_id: &str) -> Option<String> {
    let read = |item: &Value| Some((text(item, "id"), text(item, "code")?));
    let listed = page(body, "product", read).map(|page| page.items).unwrap_or_default();
    let bare = || serde_json::from_str(body).ok().and_then(|value: Value| read(&value));
    let matches = |id: &Option<String>| id.as_deref().is_none_or(|id| id == product_id);
    listed.into_iter().chain(bare()).find(|(id, _)| matches(id)).map(|(_, code)| code)
}

/// Reads a page of inventory products. Returns `None` if the body is not a list.
pub fn inventory_products(body: &str) -> Option<Page<InventoryProduct>> {
    page(body, "product", |item| {
        Some(InventoryProduct {
            uid: text(item, "id").filter(|uid| !uid.is_empty())?,
            code: text(item, "code").unwrap_or_default(),
            name: text(item, "name").unwrap_or_default(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_is_found_only_by_its_exact_number() {
        let body = r#"{"items":[{"receiveinvoice":{"id":1,"invoice_number":"INV-1","active":"1"}},
                                {"receiveinvoice":{"id":"2","invoice_number":"INV-10","active":0}}]}"#;
        let active = |number| invoices(body, number).unwrap().iter().map(|found| found.is_active).collect::<Vec<_>>();
        assert_eq!(active("INV-1"), [true]);
        assert_eq!(active("INV-10"), [false]);
        assert_eq!(active("INV"), [false; 0]);
        assert!(invoices("oops", "INV").is_none());
    }

    #[test]
    fn the_code_of_a_product_is_read_from_every_shape_of_answer() {
        for body in [
            r#"{"items":[{"product":{"id":"7","code":"TP1"}}]}"#,
            r#"{"product":{"id":7,"code":"TP1"}}"#,
            r#"{"id":7,"code":"TP1"}"#,
            r#"{"items":[{"id":6,"code":"X"},{"id":7,"code":"TP1"}]}"#,
        ] {
            assert_eq!(product_code(body, "7").as_deref(), Some("TP1"), "{body}");
        }
        assert_eq!(product_code(r#"{"items":[]}"#, "7"), None);
        assert_eq!(product_code(r#"{"items":[{"product":{"id":"8","code":"TP1"}}]}"#, "7"), None);
    }

    #[test]
    fn separations_and_inventory_products_are_read() {
        let body = r#"{"items":[{"separation":{"id":"3","uid":"ownershipSeparation_c","name":"Main","type":"x","separation_type":"Location","parent":2}}],"meta":{}}"#;
        let page = separations(body).unwrap();
        assert_eq!((page.items[0].kind.as_str(), page.items[0].parent.as_deref()), ("Location", Some("2")));
        let body =
            r#"{"data":[{"id":"product_9","name":"T","code":"TP1","unitType":"box"}],"meta":{"items_page_total":1}}"#;
        assert_eq!(inventory_products(body).unwrap().items[0].uid, "product_9");
    }
}
