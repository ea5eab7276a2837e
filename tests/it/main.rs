//! The integration tests: one binary, and a database for each test.

mod architecture;
mod catalog_changes;
mod catalog_import;
mod catalog_roll_back;
mod catalogue;
mod catalogue_queries;
mod chaos;
mod cli;
mod deliveries;
mod embedded_postgres;
mod generated;
mod harness;
mod no_token;
mod orders;
mod orders_intake;
mod orders_staff;
mod orders_stock;
mod pooler;
mod reference;
mod staff_access;
mod staff_catalogue;
mod support;
mod token;
mod trickle;
mod webhooks;
