mod decide;
mod form;
pub mod number;
pub mod read;
