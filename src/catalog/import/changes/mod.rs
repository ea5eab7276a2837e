//! The difference that an import makes: shown before it is applied, and kept so that it can be rolled back.

pub(in crate::catalog) mod store;
