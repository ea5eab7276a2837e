//! The order's shape for the OpenAPI document. `read.rs` reads it in all its spellings.

use serde::Serialize;
use utoipa::ToSchema;

/// A purchase order and its answer have the same shape; every scalar is a string (numbers and booleans are read too).
#[derive(Serialize, ToSchema)]
pub struct PurchaseOrderDocument {
    pub purchaseorder: PurchaseOrder,
}

/// The order. Amounts are decimals, times are epoch seconds.
#[derive(Serialize, ToSchema)]
pub struct PurchaseOrder {
    /// ezyVet's id of the order, unique within its site
    #[schema(example = "12")]
    pub id: String,
    #[schema(example = "1")]
    pub active: Option<String>,
    #[schema(example = "1514493886")]
    pub created_at: Option<String>,
    #[schema(example = "1514493886")]
    pub modified_at: Option<String>,
    #[schema(example = "1514466000")]
    pub date: Option<String>,
    #[schema(example = "2")]
    pub shipping_address_id: Option<String>,
    #[schema(example = "Please deliver before noon")]
    pub comments: Option<String>,
    /// With tax
    #[schema(example = "0")]
    pub freight: Option<String>,
    /// The tax inside `freight`
    #[schema(example = "0")]
    pub freight_tax: Option<String>,
    #[schema(example = "0.4")]
    pub tax: Option<String>,
    /// With tax; negative for goods going back
    #[schema(example = "4.4")]
    pub total: Option<String>,
    #[schema(example = "2")]
    pub client_id: Option<String>,
    #[schema(example = "10006")]
    pub supplier_id: Option<String>,
    #[schema(example = "Approved")]
    pub status: Option<String>,
    /// Empty in the request, the supplier's number in the answer
    #[schema(example = "")]
    pub supplier_order_number: Option<String>,
    #[schema(example = "")]
    pub supplier_account_number: Option<String>,
    #[schema(example = "15000032")]
    pub purchase_order_number: Option<String>,
    /// The business whose books are touched
    #[schema(example = "1")]
    pub ownership_id: Option<String>,
    /// A list, or an object with numbers as keys, as PHP makes of a list that lost an index
    #[schema(min_items = 1)]
    pub purchase_order_item_list: Vec<PurchaseOrderItem>,
}

/// A line. `quantity` = `outers` x `units_per_outer`, in units; prices and totals without tax.
#[derive(Serialize, ToSchema)]
pub struct PurchaseOrderItem {
    /// ezyVet's id of the line
    #[schema(example = "9")]
    pub id: String,
    /// ezyVet's id of the clinic's product
    #[schema(example = "50002")]
    pub product_id: Option<String>,
    /// The `code` of /products
    #[schema(example = "TP1")]
    pub supplier_code: String,
    #[schema(example = "1")]
    pub outers: Option<String>,
    #[schema(example = "1")]
    pub units_per_outer: Option<String>,
    #[schema(example = "4")]
    pub price_per_unit: String,
    #[schema(example = "0.4")]
    pub tax_per_unit: Option<String>,
    #[schema(example = "1")]
    pub quantity: String,
    #[schema(example = "4")]
    pub total: Option<String>,
    #[schema(example = "0.4")]
    pub total_tax: Option<String>,
    /// The stock location that the goods go to
    #[schema(example = "3")]
    pub ownership_id: Option<String>,
}
