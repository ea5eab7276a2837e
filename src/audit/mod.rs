//! Who did what, when, why: written in the transaction of the deed, never changed.

mod store;

pub use store::{Entry, list, record};
