//! The fake of E2B's API as a program, for `scripts/bench-first-token`: its port
//! 3000 is the port of a relay, in each sandbox of another one.
//!
//!   cargo run --example fake_e2b --features e2b -- RELAY_PORT...
//!
//! It prints its address and serves until its stdin closes.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use claude_relay_testing::e2b::FakeE2b;
use tokio::task::spawn_blocking;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut relays = Vec::new();
    for port in std::env::args().skip(1) {
        relays.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?)));
    }
    if relays.is_empty() {
        return Err("RELAY_PORT is missing".into());
    }
    let fake = FakeE2b::start().await;
    fake.forward_each(3000, relays);
    writeln!(io::stdout(), "{}", fake.url())?;
    spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
