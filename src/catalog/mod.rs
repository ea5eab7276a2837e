//! TODO

pub mod answer;
mod bits;
pub mod fold;
mod micros;
pub mod prices;
pub mod product;
pub mod query;
#[cfg(test)]
mod samples;
pub mod search;
pub mod snapshot;
pub mod view;
