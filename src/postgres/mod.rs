//! placeholder until the helper's lands
pub struct Embedded;
