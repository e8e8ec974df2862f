use claude_relay_protocol::Secret;
use claude_relay_testing::tcp_service::TcpService;
use claude_relay_testing::wait;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::*;

/// A server that tells of every listing that it goes on, each time with two names.
async fn endless() -> TcpService {
    TcpService::start(|stream| async move {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                <NextContinuationToken>on</NextContinuationToken>\
                <Contents><Key>p/a</Key><LastModified>2026-11-29T00:00:00.000Z</LastModified>\
                <Size>1</Size></Contents>\
                <CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes></ListBucketResult>";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_listing_without_an_end_is_given_up() {
    let server = endless().await;
    let access = BucketAccess {
        region: "us-east-1".to_owned(),
        key_id: "id".to_owned(),
        secret: Secret::new("secret".to_owned()),
        token: None,
        endpoint: Some(format!("http://127.0.0.1:{}", server.port)),
    };
    let mut bucket = Bucket::new("bucket", "", &access).unwrap();
    bucket.max_names = 7;
    let listed = wait::within("the end of a listing", bucket.list("p")).await;
    let refused = listed.unwrap_err();
    assert!(matches!(&refused, StoreError::TooLarge(path) if path == "p"), "{refused}");
}
