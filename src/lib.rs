//! spsi-partner: the supplier's side of ezyVet's Standard Product Supplier Integration (SPSI).
//!
//! ezyVet calls `http`, which serves `auth`, `catalog` and `orders`. `delivery` calls ezyVet with invoices and stock movements.
//! Postgres is the only source of truth: processes hold caches, but no state of their own. `app` connects the parts.

pub mod app;
pub mod audit;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod clinics;
pub mod clock;
pub mod config;
pub mod db;
pub mod delivery;
pub mod demo;
pub mod events;
pub mod exports;
pub mod ezyvet;
pub mod http;
pub mod ids;
pub mod orders;
pub mod postgres;
pub mod refresh;
pub mod sandbox;
pub mod secret;
pub mod seed;
pub mod shipments;
pub mod shutdown;
pub mod staff;
pub mod telemetry;
pub mod values;
pub mod webhooks;
