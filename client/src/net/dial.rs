//! A byte stream to the server: TCP, a tunnel through a proxy, and TLS over it.

use std::io;
use std::sync::Arc;

use claude_relay_protocol::proxy::ProxyVariables;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::RequestError;
use crate::net::address::Address;
use crate::net::proxy::Proxy;

/// The carrier of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// The way to a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: Arc<Address>,
    proxy: Option<Arc<Proxy>>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
}

impl Dialer {
    /// `roots` are certificates, in PEM, to trust beside the platform's.
    pub(crate) fn new(
        address: Address,
        roots: &[Vec<u8>],
        variables: &ProxyVariables,
    ) -> Result<Self, RequestError> {
        let proxy = Proxy::on_the_way(variables, &address)?;
        let needs_tls = address.tls || proxy.as_ref().is_some_and(Proxy::has_tls);
        #[cfg(feature = "tls")]
        let tls = if needs_tls { Some(connector(roots)?) } else { None };
        #[cfg(not(feature = "tls"))]
        if needs_tls {
            let _ = roots;
            return Err(RequestError::Address {
                url: address.to_string(),
                reason: "this program was built without the feature `tls`".into(),
            });
        }
        Ok(Self {
            address: Arc::new(address),
            proxy: proxy.map(Arc::new),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects. The caller bounds the time.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>, RequestError> {
        let address = &*self.address;
        let stream = match &self.proxy {
            Some(proxy) => self.tunnel(proxy).await?,
            None => tcp(&address.host, address.port).await.map_err(|source| {
                RequestError::Connect { address: address.authority(), source: Arc::new(source) }
            })?,
        };
        if !address.tls {
            return Ok(stream);
        }
        self.encrypt(&address.host, stream).await.map_err(|source| RequestError::Tls {
            address: address.authority(),
            source: Arc::new(source),
        })
    }

    /// A stream to the server through the proxy.
    async fn tunnel(&self, proxy: &Proxy) -> Result<Box<dyn Stream>, RequestError> {
        let failed = |error| proxy.unreachable(&error);
        let mut stream = tcp(&proxy.host, proxy.port).await.map_err(failed)?;
        if proxy.has_tls() {
            stream = self.encrypt(&proxy.host, stream).await.map_err(failed)?;
        }
        proxy.tunnel(stream, &self.address).await
    }

    /// TLS with `host` over a stream.
    #[cfg(feature = "tls")]
    async fn encrypt(&self, host: &str, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        let Some(tls) = &self.tls else { return Ok(stream) };
        let name = host.to_owned().try_into();
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    /// Never needed: [`new`](Self::new) refuses addresses with TLS.
    #[cfg(not(feature = "tls"))]
    async fn encrypt(&self, _host: &str, _stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((host, port)).await?;
    // Messages are small and answers are waited for.
    tcp.set_nodelay(true)?;
    Ok(Box::new(tcp))
}

#[cfg(feature = "tls")]
fn connector(extra: &[Vec<u8>]) -> Result<tokio_rustls::TlsConnector, RequestError> {
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let setting =
        |reason: String| RequestError::InvalidOption { option: "root_certificate", reason };
    let mut roots = RootCertStore::empty();
    let platform = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(platform.certs);
    for pem in extra {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| setting(format!("it is not PEM: {error:?}")))?;
            roots.add(certificate).map_err(|error| setting(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(setting(
            "no certificate to trust was found on this system: install its certificates \
             (often the package `ca-certificates`), or set SSL_CERT_FILE"
                .into(),
        ));
    }
    // Named expressly: a process-wide default may be missing or another one.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| setting(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)))
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use std::time::Duration;

    use claude_relay_testing::connect_proxy::{ConnectProxy, serve};
    use claude_relay_testing::fake_relay::{FakeRelay, Peer};
    use claude_relay_testing::socks_proxy::SocksProxy;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// A server's end of TLS for `host`, and its certificate.
    fn acceptor(host: &str) -> (TlsAcceptor, Vec<u8>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([host.to_owned()]).expect("a name");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a certificate with its key");
        (TlsAcceptor::from(Arc::new(config)), cert.pem().into_bytes())
    }

    /// Says `hello` to everybody, over TLS if there is an acceptor.
    async fn server(tls: Option<TlsAcceptor>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let sent = match &tls {
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(mut stream) => stream.write_all(b"hello").await,
                        Err(error) => Err(error),
                    },
                    None => tcp.write_all(b"hello").await,
                };
                sent.expect("the client trusts it");
            }
        });
        port
    }

    /// Dials through a proxy, and reads what the server says.
    async fn dial(url: &str, roots: &[Vec<u8>], proxy: &str) -> Result<String, RequestError> {
        let proxy = Some(("ALL_PROXY", proxy.to_owned()));
        let variables = ProxyVariables { all: proxy, ..ProxyVariables::default() };
        let dialer = Dialer::new(Address::parse(url)?, roots, &variables)?;
        let dial = async {
            let mut stream = dialer.dial().await?;
            let mut said = [0; 5];
            stream
                .read_exact(&mut said)
                .await
                .map_err(|error| RequestError::Interrupted { source: Arc::new(error) })?;
            Ok(String::from_utf8_lossy(&said).into_owned())
        };
        tokio::time::timeout(Duration::from_secs(30), dial).await.expect("it hangs")
    }

    #[tokio::test]
    async fn a_server_is_reached_through_a_proxy_with_and_without_tls() {
        let (tls, certificate) = acceptor("relay.invalid");
        for (url, tls) in
            [("https://relay.invalid:8443", Some(tls)), ("http://relay.invalid:8443", None)]
        {
            let proxy = ConnectProxy::start(server(tls).await, Some("Basic dTpwQHNz")).await;
            let address = format!("http://u:p%40ss@127.0.0.1:{}", proxy.port);
            let said = dial(url, std::slice::from_ref(&certificate), &address).await.unwrap();
            assert_eq!(said, "hello");
            let [request] = &proxy.requests()[..] else { panic!("one request") };
            assert_eq!(request.path, "relay.invalid:8443");
            assert_eq!(request.header("host"), Some("relay.invalid:8443"));
        }
    }

    #[tokio::test]
    async fn a_proxy_may_itself_want_tls() {
        let (proxy_tls, proxy_certificate) = acceptor("localhost");
        let (server_tls, server_certificate) = acceptor("relay.invalid");
        let to = server(Some(server_tls)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy =
            format!("https://localhost:{}", listener.local_addr().expect("an address").port());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(stream) = proxy_tls.accept(tcp).await {
                    serve(Peer { stream }, to, None, |_| {}).await;
                }
            }
        });
        let roots = [proxy_certificate, server_certificate.clone()];
        assert_eq!(dial("wss://relay.invalid", &roots, &proxy).await.unwrap(), "hello");
        let error = dial("wss://relay.invalid", &[server_certificate], &proxy).await.unwrap_err();
        assert!(matches!(error, RequestError::Proxy { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_proxy_that_opens_no_tunnel_is_told() {
        let wants_user = ConnectProxy::start(1, Some("Basic eDp5")).await;
        let gone = ConnectProxy::start(1, None).await;
        let no_proxy =
            FakeRelay::start(|_, _, mut peer| async move { peer.raw("what?\r\n").await });
        let (no_proxy, refuses) = (no_proxy.await, ConnectProxy::start(1, None).await);
        let closed = gone.port;
        drop(gone);
        for (proxy, reason) in [
            (format!("http://127.0.0.1:{}", wants_user.port), "wants a user and a password (407)"),
            (format!("http://a:b@127.0.0.1:{}", wants_user.port), "refuses the user and password"),
            (format!("http://127.0.0.1:{}", refuses.port), "answers 502 Bad Gateway to CONNECT"),
            (no_proxy.url.clone(), "invalid HTTP"),
        ] {
            let error = dial("https://relay.invalid", &[], &proxy).await.unwrap_err();
            let told = error.to_string();
            assert!(told.contains(reason) && told.contains("ALL_PROXY"), "{proxy}: {told}");
            assert!(!told.contains("a:b"), "{told}");
        }
        let proxy = format!("http://127.0.0.1:{closed}");
        let error = dial("https://relay.invalid", &[], &proxy).await.unwrap_err();
        assert!(matches!(error, RequestError::Proxy { .. }), "{error:?}");
        assert!(error.is_transient(), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_is_reached_through_socks_with_its_name_looked_up_there() {
        let (tls, certificate) = acceptor("relay.invalid");
        let to = server(Some(tls)).await;
        let proxy = SocksProxy::start(to, Some(("u", "p@ss"))).await;
        let by = |login: &str| format!("socks5h://{login}127.0.0.1:{}", proxy.port);
        let roots = [certificate];
        assert_eq!(dial("wss://relay.invalid", &roots, &by("u:p%40ss@")).await.unwrap(), "hello");
        assert_eq!(proxy.targets(), ["relay.invalid:443"]);
        let open = SocksProxy::start(server(None).await, None).await;
        for (url, target) in [
            ("http://relay.invalid:3000", "relay.invalid:3000"),
            ("http://10.1.2.3:3000", "10.1.2.3:3000"),
            ("http://[fd00::1]:3000", "[fd00::1]:3000"),
        ] {
            // Without a need the login is not sent.
            let by = format!("socks5h://u:p@127.0.0.1:{}", open.port);
            assert_eq!(dial(url, &[], &by).await.unwrap(), "hello");
            assert_eq!(open.targets().pop().as_deref(), Some(target));
        }
        let here = format!("socks5://127.0.0.1:{}", open.port);
        assert_eq!(dial("http://10.1.2.3:3000", &[], &here).await.unwrap(), "hello");
        let unknown = dial("http://relay.invalid:3000", &[], &here).await.unwrap_err();
        assert!(matches!(unknown, RequestError::Connect { .. }), "{unknown:?}");
    }

    #[tokio::test]
    async fn a_socks_proxy_that_opens_no_way_is_told() {
        let closed = SocksProxy::start(1, None).await;
        let wants = SocksProxy::start(1, Some(("u", "p"))).await;
        let long = "x".repeat(256);
        for (login, port, reason) in [
            ("", closed.port, "it answers CONNECT with: the connection is refused"),
            ("", wants.port, "it wants a user and a password"),
            ("u:wrong@", wants.port, "it refuses the user and password"),
            (&*format!("{long}:p@"), wants.port, "longer than SOCKS allows"),
        ] {
            let proxy = format!("socks5h://{login}127.0.0.1:{port}");
            let error = dial("https://relay.invalid", &[], &proxy).await.unwrap_err();
            let told = error.to_string();
            assert!(told.contains(reason) && told.contains("ALL_PROXY"), "{proxy}: {told}");
            assert!(!told.contains("wrong"), "{told}");
        }
    }
}
