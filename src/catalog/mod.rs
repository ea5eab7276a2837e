//! TODO

pub mod query;
