//! The way to a server through the proxy that the environment names.

use crate::support::program::{Told, bare, run};
use claude_relay_testing::connect_proxy::ConnectProxy;
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::socks_proxy::SocksProxy;

const RELAY: &str = "http://relay.invalid:3000";

async fn ask(variables: &[(&str, &str)]) -> Told {
    let mut command = bare();
    command.args(["--url", RELAY, "hello there"]).envs(variables.iter().copied());
    run(&mut command).await
}

#[tokio::test]
async fn every_connection_goes_through_the_proxy_of_the_environment() {
    let relay = RelayProcess::demo(&["--allow-host", "relay.invalid"]).await;
    // "user" and "p@ss".
    let proxy = ConnectProxy::start(relay.port, Some("Basic dXNlcjpwQHNz")).await;
    let address = format!("http://user:p%40ss@127.0.0.1:{}", proxy.port);
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let (code, stdout, stderr) = ask(&[(variable, &address)]).await;
        assert!(code == 0 && stdout.contains("hello there"), "{variable}: {stderr}");
    }
    assert!(proxy.requests().len() >= 8, "an answer took less than two connections");
    for request in proxy.requests() {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("CONNECT", "relay.invalid:3000")
        );
    }
    let socks = SocksProxy::start(relay.port, Some(("user", "p@ss"))).await;
    let by_socks = format!("socks5h://user:p%40ss@127.0.0.1:{}", socks.port);
    let (code, stdout, stderr) = ask(&[("ALL_PROXY", &by_socks)]).await;
    assert!(code == 0 && stdout.contains("hello there"), "{stderr}");
    assert!(socks.targets().len() >= 2);
    assert!(socks.targets().iter().all(|target| target == "relay.invalid:3000"));
    // An address of this machine is reached directly.
    let before = proxy.requests().len();
    let mut command = bare();
    command.args(["--url", &relay.url, "hello"]).env("ALL_PROXY", &address);
    let (code, _, stderr) = run(&mut command).await;
    assert_eq!((code, proxy.requests().len()), (0, before), "{stderr}");
}

#[tokio::test]
async fn a_proxy_that_is_of_no_use_is_told_with_what_to_do() {
    let proxy = ConnectProxy::start(1, Some("Basic dXNlcjpwQHNz")).await;
    let address = format!("http://user:hunter2@127.0.0.1:{}", proxy.port);
    let anonymous = format!("http://127.0.0.1:{}", proxy.port);
    for (variables, code, says) in [
        (&[("HTTP_PROXY", &*address)][..], 3, "refuses the user and password of HTTP_PROXY (407)"),
        (&[("HTTP_PROXY", &*anonymous)], 3, "http://USER:PASSWORD@HOST:PORT"),
        (&[("HTTP_PROXY", "socks4://127.0.0.1:1080")], 2, "HTTP_PROXY: a proxy of the kind socks4"),
        (&[("ALL_PROXY", "nonsense://")], 2, "ALL_PROXY: it is not the address of a proxy"),
        (
            &[("HTTP_PROXY", "http://127.0.0.1:1")],
            3,
            "no way through the proxy http://127.0.0.1:1 (HTTP_PROXY)",
        ),
        // Directly, where the name is not known.
        (
            &[("HTTP_PROXY", &*address), ("NO_PROXY", "*.invalid")],
            3,
            "cannot connect to relay.invalid",
        ),
    ] {
        let (exit, _, stderr) = ask(variables).await;
        assert_eq!(exit, code, "{variables:?}: {stderr}");
        assert!(stderr.contains(says) && !stderr.contains("hunter2"), "{variables:?}: {stderr}");
    }
}
