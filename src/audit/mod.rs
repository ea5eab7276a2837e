//! The audit trail: who did what, when and why. Entries are written in the transaction of the change and never altered.

mod store;

pub use store::{Entry, Filter, list, list_of_subject, record};
