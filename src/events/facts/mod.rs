//! Records events about stored rows: orders, shipments, deliveries, invoices, sites. The rows are read in the statement
//! that inserts the event, in the caller's transaction and after the caller's change.

mod store;

pub use store::{record_delivery, record_invoice_differs, record_order, record_shipment, record_site_unreachable};
