//! JSON as bytes: validated and searched, without building values.

pub mod line;
pub mod scan;
