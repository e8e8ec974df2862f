//! JSON as bytes: proven, searched, and never built.

pub mod scan;
