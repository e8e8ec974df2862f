//! Long messages, which go in parts with a ping behind each.

use std::time::Duration;

use claude_relay_client::Decision;
use claude_relay_testing::fake_relay::{CONTINUATION, FakeRelay, PING, PONG, Peer, TEXT};
use tokio::net::TcpStream;

use crate::support::{client, soon};

/// The most open permission requests, and the most decisions that wait.
const MAX_OPEN: usize = 256;

/// A time in which nothing is to happen.
const HOUR: Duration = Duration::from_secs(3600);

/// Waits for the first part of a message and for the ping behind it.
async fn first_part(peer: &mut Peer<TcpStream>) -> Vec<u8> {
    let part = peer.receive().await.unwrap();
    assert!(part.opcode == TEXT && !part.is_last, "{} {}", part.opcode, part.is_last);
    let ping = peer.receive().await.unwrap();
    assert_eq!(ping.opcode, PING);
    ping.payload
}

#[tokio::test]
async fn a_message_in_parts_does_not_wait_for_answers_behind_a_full_queue_of_decisions() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        let ping = first_part(&mut peer).await;
        // The first of them stay open, each of the others is denied.
        for number in 1..=2 * MAX_OPEN {
            let asked = format!(
                r#"{{"type":"permission_request","seq":{number},"requestId":"r{number}","tool":"Bash","input":{{}},"context":{{}}}}"#
            );
            peer.text(&asked).await;
        }
        peer.frame(0x80 | PONG, &ping).await;
        while let Some(received) = peer.receive().await {
            match received.opcode {
                CONTINUATION if received.is_last => break,
                PING => peer.frame(0x80 | PONG, &received.payload).await,
                _ => {}
            }
        }
        peer.idle().await;
    })
    .await;
    // Nothing else moves the connection on.
    let builder = client(&fake.url)
        .keep_alive(HOUR, HOUR)
        .on_permission(|_| std::future::pending::<Decision>());
    let client = soon(builder.start()).await.unwrap();
    soon(client.send("x".repeat(600 << 10))).await.unwrap();
}

#[tokio::test]
async fn a_message_in_parts_goes_on_where_the_newest_ping_alone_is_answered() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        first_part(&mut peer).await;
        // The next ping is the heartbeat's, and the only one that is answered.
        while let Some(received) = peer.receive().await {
            match received.opcode {
                CONTINUATION if received.is_last => break,
                PING => peer.frame(0x80 | PONG, &received.payload).await,
                _ => {}
            }
        }
        while let Some(received) = peer.receive().await {
            if received.opcode == PING {
                peer.frame(0x80 | PONG, &received.payload).await;
            }
        }
    })
    .await;
    let builder = client(&fake.url).keep_alive(Duration::from_millis(100), HOUR);
    let client = soon(builder.start()).await.unwrap();
    soon(client.send("x".repeat(300 << 10))).await.unwrap();
}
