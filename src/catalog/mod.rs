//! Products, categories, prices and who may see them.

pub mod export;
pub mod import;
