pub mod address;
pub mod body;
pub mod problem;
mod span;
