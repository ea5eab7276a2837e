//! The integration tests: one binary, each test on a database of its own.

mod catalog_import;
mod embedded_postgres;
mod harness;
mod support;
mod token;
