pub mod budget;
pub mod payload;
pub mod policy;
