//! The integration tests: one binary, each test on a database of its own.

mod catalog_import;
mod catalogue;
mod embedded_postgres;
mod harness;
mod orders;
mod support;
mod token;
