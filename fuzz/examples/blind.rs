//! Fuzzes without a fuzzer: changes the inputs of the corpora at random, with
//! any Rust, for so many seconds each. It does not see which of them lead
//! somewhere new (`fuzz/run` does), but it is fast and needs nothing.
//!
//! ```text
//! cargo run -p claude-relay-fuzz --example blind -- 10
//! ```

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use claude_relay_fuzz::TARGETS;

fn main() -> std::io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    for (name, target) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs = Vec::new();
        for entry in std::fs::read_dir(corpus)? {
            inputs.push(std::fs::read(entry?.path())?);
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut runs = 0_u64;
        while Instant::now() < end {
            let input = random.change(&inputs);
            // The panic has been printed by then; what led to it has not.
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                writeln!(
                    std::io::stderr(),
                    "{name} failed on {:?}",
                    input.escape_ascii().to_string()
                )?;
                std::process::exit(1);
            }
            runs += 1;
        }
        writeln!(std::io::stdout(), "{name}: {runs} runs")?;
    }
    Ok(())
}

/// Xorshift: good enough to be arbitrary.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    /// One of the inputs with a few changes: bytes replaced, put in, taken out,
    /// pieces of another put in, a piece repeated.
    fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        const LIKELY: &[u8] = b"{}[]\":,\\/u0dtfn.-eE+@%#? \n\r\t\0\x80\xc0\xed\xf0\xff1";
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let length = self.below(16).min(input.len() - at);
            match self.below(6) {
                0 if at < input.len() => input[at] = LIKELY[self.below(LIKELY.len())],
                1 => input.insert(at, LIKELY[self.below(LIKELY.len())]),
                2 => drop(input.drain(at..at + length)),
                3 => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(40)).min(other.len());
                    input.splice(at..at, other[from..to].iter().copied());
                }
                4 => {
                    let piece = input[at..at + length].to_vec();
                    input.splice(at..at, piece);
                }
                _ if at < input.len() => input[at] = self.below(256) as u8,
                _ => {}
            }
        }
        input
    }
}
