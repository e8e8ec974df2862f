//! Writes the JSON Schemas of the wire into a directory, by default
//! `docs/schema` of this repository.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema");
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or(repository.into()));
    for (name, schema) in claude_relay_protocol::schema::all() {
        std::fs::write(directory.join(name), claude_relay_protocol::schema::text(&schema)?)?;
    }
    Ok(())
}
