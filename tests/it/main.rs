//! The integration tests: one binary, each test on a database of its own.

mod catalog_import;
mod catalogue;
mod cli;
mod embedded_postgres;
mod harness;
mod no_token;
mod orders;
mod support;
mod token;
mod trickle;
