//! Writes the seeds of one target into a directory, for `fuzz/run`.
//!
//! ```text
//! cargo run -p claude-relay-fuzz --example write_seeds -- route fuzz/corpus/route
//! ```

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, directory] = &arguments[..] else {
        return Err(std::io::Error::other("two arguments are needed: TARGET DIRECTORY"));
    };
    std::fs::create_dir_all(directory)?;
    for (number, seed) in claude_relay_fuzz::seeds(target).iter().enumerate() {
        std::fs::write(Path::new(directory).join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
