//! The examples, run as a reader would.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::soon;
use claude_relay_testing::relay_process::{RelayProcess, build_example};

async fn command(name: &'static str, url: &str) -> Command {
    let program = tokio::task::spawn_blocking(move || build_example("claude-relay-client", name))
        .await
        .unwrap();
    let mut command = Command::new(program);
    command.arg(url).env_clear().kill_on_drop(true);
    command
}

#[tokio::test]
async fn hello_stream_and_approve() {
    let relay = RelayProcess::demo(&[]).await;
    for (name, says) in [
        ("hello", "You said: “Hello! Who are you?”"),
        ("stream", "You said: “Use a tool, please.”"),
        ("approve", "Bash is not allowed here"),
    ] {
        let output = soon(command(name, &relay.url).await.output()).await.unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {stderr}");
        assert!(stdout.contains(says), "{name}: {stdout}");
        if name == "stream" {
            assert!(stderr.contains("[Bash"), "{stderr}");
        }
    }
}

#[tokio::test]
async fn the_web_backend_forwards_to_several_browsers() {
    let relay = RelayProcess::demo(&[]).await;
    let mut backend = command("web_backend", &relay.url)
        .await
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(backend.stdout.take().unwrap()).lines();
    let line = soon(lines.next_line()).await.unwrap().unwrap();
    let address = line.strip_prefix("listening on http://").unwrap().to_owned();

    let mut browsers = Vec::new();
    for _ in 0..2 {
        let mut browser = TcpStream::connect(&address).await.unwrap();
        browser.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut browser = BufReader::new(browser).lines();
        // The head has come: it is subscribed.
        while !soon(browser.next_line()).await.unwrap().unwrap().is_empty() {}
        browsers.push(browser);
    }
    let mut ask = TcpStream::connect(&address).await.unwrap();
    ask.write_all(
        b"POST /ask HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await
    .unwrap();
    let mut answer = String::new();
    soon(ask.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    for browser in &mut browsers {
        loop {
            let line = soon(browser.next_line()).await.unwrap().unwrap();
            if line.contains("\"result\"") {
                assert!(line.starts_with("data: {\"type\":\"sdk_message\""), "{line}");
                break;
            }
        }
    }
}
