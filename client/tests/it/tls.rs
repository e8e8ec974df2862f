//! https and wss.

use std::sync::Arc;

use claude_relay_client::{ConnectError, RequestError};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{client, line, n, refused, soon};
use claude_relay_testing::fake_relay::{CONNECTED, Peer};

/// A relay behind TLS. Gives its URL and certificate.
async fn relay() -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let mut peer = Peer { stream };
                let Some(request) = peer.request().await else { return };
                if request.path == "/health" {
                    return peer.health().await;
                }
                peer.upgrade(&request).await;
                peer.text(CONNECTED).await;
                let message = peer.message().await.unwrap();
                assert!(message.len() > 1 << 20);
                for seq in 1..=1000 {
                    peer.line(seq).await;
                }
                peer.idle().await;
            });
        }
    });
    (url, cert.pem())
}

#[tokio::test]
async fn a_trusted_certificate_is_enough_for_everything() {
    let (url, certificate) = relay().await;
    let builder = client(&url).token("secret").root_certificate(certificate);
    let client = soon(builder.start()).await.unwrap();
    soon(client.send("x".repeat(1 << 20))).await.unwrap();
    let mut messages = client.messages();
    for seq in 1..=1000 {
        assert_eq!(n(&line(&mut messages).await), seq);
    }
    soon(client.stop()).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (url, _) = relay().await;
    let (_, other) = relay().await;
    let error = refused(client(&url).root_certificate(other)).await;
    assert!(matches!(error, ConnectError::Request(RequestError::Tls { .. })), "{error:?}");
    assert!(!error.is_transient());
    let error = refused(client(&url).root_certificate("no PEM at all")).await;
    assert!(
        matches!(
            error,
            ConnectError::Request(RequestError::Tls { .. } | RequestError::InvalidOption { .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            Peer { stream }.raw("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = refused(client(&url)).await;
    assert!(matches!(error, ConnectError::Request(RequestError::Tls { .. })), "{error:?}");
}
