pub mod budget;
pub mod policy;
