//! The documented shape of an order, for the OpenAPI document. [`super::read`] accepts it in every way that clients write it.

use serde::Serialize;
use utoipa::ToSchema;

/// The field that holds the order.
pub(super) const ROOT: &str = "purchaseorder";
/// The field of the order that holds its lines.
pub(super) const LINES: &str = "purchase_order_item_list";

/// A purchase order and its answer have the same shape; every scalar is a string (numbers and booleans are read too).
#[derive(Serialize, ToSchema)]
pub struct PurchaseOrderDocument {
    pub purchaseorder: PurchaseOrder,
}

/// The order. Amounts are decimals, times are epoch seconds.
#[derive(Serialize, ToSchema)]
pub struct PurchaseOrder {
    /// ezyVet's id of the order, unique within its site
    #[schema(example = "900001", min_length = 1, max_length = 1000, pattern = r"\S")]
    pub id: String,
    #[schema(example = "1", max_length = 1000)]
    pub active: Option<String>,
    #[schema(example = "1514493886", max_length = 1000)]
    pub created_at: Option<String>,
    #[schema(example = "1514493886", max_length = 1000)]
    pub modified_at: Option<String>,
    #[schema(example = "1514466000", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub date: Option<String>,
    #[schema(example = "2", max_length = 1000)]
    pub shipping_address_id: Option<String>,
    #[schema(example = "Please deliver before noon", max_length = 1000)]
    pub comments: Option<String>,
    /// With tax
    #[schema(example = "0", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub freight: Option<String>,
    /// The tax inside `freight`
    #[schema(example = "0", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub freight_tax: Option<String>,
    #[schema(example = "0.47", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub tax: Option<String>,
    /// With tax; negative for goods going back
    #[schema(example = "5.12", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub total: Option<String>,
    #[schema(example = "2", max_length = 1000)]
    pub client_id: Option<String>,
    #[schema(example = "10006", max_length = 1000)]
    pub supplier_id: Option<String>,
    #[schema(example = "Approved", max_length = 1000)]
    pub status: Option<String>,
    /// Empty in the request, the supplier's number in the answer
    #[schema(example = "", max_length = 1000)]
    pub supplier_order_number: Option<String>,
    #[schema(example = "", max_length = 1000)]
    pub supplier_account_number: Option<String>,
    #[schema(example = "15900001", max_length = 1000)]
    pub purchase_order_number: Option<String>,
    /// The business whose books are touched
    #[schema(example = "1", max_length = 1000)]
    pub ownership_id: Option<String>,
    /// A list, or an object with numbers as keys, as PHP makes of a list that lost an index
    #[schema(min_items = 1)]
    pub purchase_order_item_list: Vec<PurchaseOrderItem>,
}

/// A line. `quantity` = `outers` x `units_per_outer`, in units; prices and totals without tax.
#[derive(Serialize, ToSchema)]
pub struct PurchaseOrderItem {
    /// ezyVet's id of the line
    #[schema(example = "9", min_length = 1, max_length = 1000, pattern = r"\S")]
    pub id: String,
    /// ezyVet's id of the clinic's product
    #[schema(example = "50002", max_length = 1000)]
    pub product_id: Option<String>,
    /// The `code` of /products
    #[schema(example = "00052124-01", max_length = 1000)]
    pub supplier_code: String,
    #[schema(example = "1", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub outers: Option<String>,
    #[schema(example = "30", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub units_per_outer: Option<String>,
    #[schema(example = "0.155", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)\s*$")]
    pub price_per_unit: String,
    #[schema(example = "0.0155", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub tax_per_unit: Option<String>,
    #[schema(example = "30", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)\s*$")]
    pub quantity: String,
    #[schema(example = "4.65", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub total: Option<String>,
    #[schema(example = "0.47", pattern = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)?\s*$")]
    pub total_tax: Option<String>,
    /// The stock location that the goods go to
    #[schema(example = "3", max_length = 1000)]
    pub ownership_id: Option<String>,
}
