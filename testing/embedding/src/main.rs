//! A program with a relay in it. With an argument, that is the executable of the
//! supervisor; without one it is this program.
//!
//! It has a child of its own, which the relay must leave alone.

use std::process::ExitCode;

use claude_relay_server::Relay;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    if let Some(code) = claude_relay_server::run_as_supervisor(std::env::args_os()) {
        return code;
    }
    // Several threads, and a future that is not on the first one.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { tokio::spawn(host()).await.expect("no panic") })
}

async fn host() -> ExitCode {
    let own = tokio::process::Command::new("sleep").arg("1000").spawn();
    let mut own = own.expect("a child of its own");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let builder = Relay::builder().args(["--demo", "--stop-grace=1s"]);
    let builder = match std::env::args().nth(1) {
        Some(supervisor) => builder.supervisor(supervisor),
        None => builder.supervisor_is_this_program(),
    };
    // It ends with its stdin.
    let shutdown = async { drop(tokio::io::stdin().read(&mut [0]).await) };
    let served = builder.serve(listener, shutdown).await;
    println!("{served:?}");
    assert!(own.try_wait().expect("it is our child").is_none(), "the relay has ended our child");
    own.kill().await.expect("it is our child");
    let children = std::fs::read_to_string("/proc/self/task/self/children").unwrap_or_default();
    println!("children:{children}");
    ExitCode::SUCCESS
}
