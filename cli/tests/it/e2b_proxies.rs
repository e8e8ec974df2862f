//! The way to E2B through a proxy, with a certificate of one's own: to its API, to
//! the files of a sandbox and to the server in it.

use std::sync::Arc;

use claude_relay_testing::connect_proxy::ConnectProxy;
use claude_relay_testing::e2b::API_KEY;
use claude_relay_testing::socks_proxy::SocksProxy;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::cloud::CloudFixture;
use crate::support::program::{Told, bare, run};

const API: &str = "api.e2b.invalid";
const SANDBOXES: &str = "sandboxes.e2b.invalid";

/// The cloud behind TLS, under names that only a proxy knows.
struct Edge {
    cloud: CloudFixture,
    port: u16,
    server: JoinHandle<()>,
}

impl Edge {
    async fn start() -> Self {
        let cloud = CloudFixture::with(&["--no-auth", "--allow-host", SANDBOXES]).await;
        let names = [API.to_owned(), SANDBOXES.to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        std::fs::write(cloud.folder.path().join("ca.pem"), cert.pem()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = cloud.fake.url().replace("http://", "");
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    // Either side may end it.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { cloud, port, server }
    }

    async fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Told {
        let mut command = bare();
        command
            .args(arguments)
            .envs([
                ("E2B_API_KEY", API_KEY.to_owned()),
                ("E2B_API_URL", format!("https://{API}")),
                ("E2B_SANDBOX_URL", format!("https://{SANDBOXES}")),
                ("ANTHROPIC_API_KEY", "sk-ant-made-up".to_owned()),
            ])
            .envs(variables.iter().copied())
            .current_dir(self.cloud.folder.path());
        run(&mut command).await
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The words for a name that this machine does not know.
const DIRECT: &str = "no answer from api.e2b.invalid: failed to lookup";

const ASK: [&str; 4] = ["--e2b", "--ca-certificate", "ca.pem", "through it"];

#[tokio::test]
async fn every_connection_to_the_cloud_goes_through_the_proxy_of_the_environment() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let edge = Edge::start().await;
        let proxy = ConnectProxy::start(edge.port, Some("Basic dXNlcjpwQHNz")).await;
        let address = format!("http://user:p%40ss@127.0.0.1:{}", proxy.port);
        let (code, stdout, stderr) = edge.run(&[(variable, &address)], &ASK).await;
        assert!(code == 0 && stdout.contains("through it"), "{variable}: {code} {stderr}");
        for host in [API, SANDBOXES] {
            let target = format!("{host}:443");
            assert!(proxy.requests().iter().any(|request| request.path == target), "{target}");
        }
        edge.cloud.fake.finish();
    }
    let edge = Edge::start().await;
    let socks = SocksProxy::start(edge.port, Some(("user", "p@ss"))).await;
    let address = format!("socks5h://user:p%40ss@127.0.0.1:{}", socks.port);
    let (code, stdout, stderr) = edge.run(&[("ALL_PROXY", &address)], &ASK).await;
    assert!(code == 0 && stdout.contains("through it"), "{code} {stderr}");
    edge.cloud.fake.finish();
}

#[tokio::test]
async fn a_proxy_that_is_of_no_use_is_told_and_nothing_goes_past_it() {
    let edge = Edge::start().await;
    let proxy = ConnectProxy::start(edge.port, Some("Basic dXNlcjpwQHNz")).await;
    let wrong = format!("http://user:hunter2@127.0.0.1:{}", proxy.port);
    for (variables, code, says) in [
        (&[("HTTPS_PROXY", "socks4://127.0.0.1:1080")][..], 2, "a proxy of the kind socks4"),
        (&[("ALL_PROXY", "nonsense://")], 2, "it is not the address of a proxy"),
        (&[("HTTPS_PROXY", &*wrong)], 3, "(407): HTTPS_PROXY gives them"),
        (&[("HTTPS_PROXY", "http://127.0.0.1:1")], 3, "http://127.0.0.1:1 (HTTPS_PROXY)"),
        // Directly, where the name is not known.
        (&[("HTTPS_PROXY", &*wrong), ("NO_PROXY", "*.e2b.invalid")], 3, DIRECT),
        (&[("HTTPS_PROXY", &*wrong), ("NO_PROXY", "x, *.e2b.invalid:443")], 3, DIRECT),
    ] {
        for arguments in [&ASK[..], &["--ca-certificate", "ca.pem", "e2b", "ls"]] {
            let (exit, _, stderr) = edge.run(variables, arguments).await;
            let is_told = stderr.contains(says) && !stderr.contains("hunter2");
            assert!(exit == code && is_told, "{variables:?} {arguments:?}: {exit} {stderr}");
        }
    }
    edge.cloud.fake.finish();
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_with_what_to_do() {
    let edge = Edge::start().await;
    let proxy = ConnectProxy::start(edge.port, None).await;
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let direct = format!("https://localhost:{}", edge.port);
    for variables in [("HTTPS_PROXY", &*address), ("E2B_API_URL", &*direct)] {
        for arguments in [&["--e2b", "hi"][..], &["e2b", "ls"]] {
            let (code, _, stderr) = edge.run(&[variables], arguments).await;
            let is_told = stderr.contains("--ca-certificate");
            assert!(code == 3 && is_told, "{variables:?}: {code} {stderr}");
        }
    }
    edge.cloud.fake.finish();
}
