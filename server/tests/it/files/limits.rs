//! Bounds: the size of a file, how many at once, uploads that end early.

use super::Fixture;
use crate::support::http;
use claude_relay_testing::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: u64 = 64 << 20;

#[tokio::test]
async fn a_file_over_the_limit_is_refused_before_its_body() {
    let fixture = Fixture::start();
    let address = fixture.relay.address();
    let head = format!(
        "PUT /files/large HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        LIMIT + 1
    );
    let refused = http::exchange(address, head.as_bytes(), false).await;
    assert_eq!((refused.status, fixture.names().len()), (413, 0));

    let sparse = std::fs::File::create(fixture.place("sparse")).unwrap();
    sparse.set_len(LIMIT + 1).unwrap();
    assert_eq!(fixture.get("sparse").await.status, 413);
    assert_eq!(fixture.delete("sparse").await.status, 204);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let fixture = Fixture::start();
    let address = fixture.relay.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT /files/large HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
        for _ in 0..=LIMIT >> 20 {
            if writer.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
    let mut answer = [0; 12];
    wait::within("an answer", reader.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    sending.abort();
    wait::until("the temporary file to go", || fixture.names().is_empty().then_some(())).await;
}

#[tokio::test]
async fn eight_files_go_at_once_and_one_that_is_cut_leaves_nothing() {
    let fixture = Fixture::start();
    let address = fixture.relay.address();
    let mut open = Vec::new();
    for n in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head =
            format!("PUT /files/{n} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\n\r\nhalf");
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
        wait::until("the upload to begin", || (fixture.names().len() == n + 1).then_some(())).await;
    }
    for response in [fixture.get("").await, fixture.put("ninth", "x").await] {
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    }
    let mut whole = open.pop().unwrap();
    drop(open);
    wait::until("the others to go", || (fixture.names().len() == 1).then_some(())).await;
    whole.write_all(b"!").await.unwrap();
    let mut answer = [0; 12];
    wait::within("an answer", whole.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(fixture.content("7"), "half!");
    assert_eq!(fixture.names(), ["7"]);
    assert_eq!(fixture.get("7").await.body, "half!");
}

#[tokio::test]
async fn a_reader_that_goes_gives_its_place_back() {
    let fixture = Fixture::start();
    let address = fixture.relay.address();
    let large = std::fs::File::create(fixture.place("large")).unwrap();
    large.set_len(LIMIT).unwrap();
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /files/large HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        wait::within("an answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        open.push(stream);
    }
    assert_eq!(fixture.get("").await.status, 503);
    drop(open);
    wait::within("a place", async {
        while fixture.get("").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
