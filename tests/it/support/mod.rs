//! What the tests stand on: databases, and the real binary.

pub mod binary;
pub mod database;
pub mod ezyvet;
