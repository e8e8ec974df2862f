//! JSON Schemas of the wire, for clients in other languages.
//!
//! Messages are described by the types of [`messages`] and [`runs`], the
//! configuration by the rows of [`crate::config::fields`]. The documents are kept
//! in `docs/schema/`; `cargo run -p claude-relay-protocol --features schema
//! --example schemas` writes them anew.

pub mod config;
pub mod messages;
pub mod runs;

use schemars::{JsonSchema, Schema, schema_for};

/// Returns each schema with the name of its file in `docs/schema/`.
#[must_use]
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("config.json", config::schema()),
        ("client-message.json", schema_for!(messages::Client)),
        ("server-message.json", schema_for!(messages::Server)),
        ("run-client-message.json", schema_for!(runs::Client)),
        ("run-server-message.json", schema_for!(runs::Server)),
    ]
}

/// Returns a schema as the text of its file.
///
/// # Errors
///
/// Returns an error if it is no JSON, which a schema always is.
pub fn text(schema: &Schema) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(schema)? + "\n")
}

/// A field that is always there and may be null.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Nullable<T> {
    /// A value.
    Value(T),
    /// None.
    Null,
}
