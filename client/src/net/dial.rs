//! A byte stream to the server: TCP, and TLS over it.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::net::address::Address;

/// The carrier of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// The way to a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) address: Arc<Address>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
}

impl Dialer {
    /// `roots` are certificates, in PEM, to trust beside the platform's.
    pub(crate) fn new(address: Address, roots: &[Vec<u8>]) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        let tls = if address.tls { Some(connector(roots)?) } else { None };
        #[cfg(not(feature = "tls"))]
        if address.tls {
            let _ = roots;
            return Err(Error::Address {
                url: address.to_string(),
                reason: "this program was built without the feature `tls`".into(),
            });
        }
        Ok(Self {
            address: Arc::new(address),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects. The caller bounds the time.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Stream>, Error> {
        let Address { host, port, .. } = &*self.address;
        let failed = |source: io::Error| Error::Connect {
            address: self.address.authority(),
            source: Arc::new(source),
        };
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        // Messages are small and answers are waited for.
        tcp.set_nodelay(true).map_err(failed)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let failed = |source: io::Error| Error::Tls {
                address: self.address.authority(),
                source: Arc::new(source),
            };
            let name = host
                .clone()
                .try_into()
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            let stream: tokio_rustls::client::TlsStream<TcpStream> =
                tls.connect(name, tcp).await.map_err(failed)?;
            return Ok(Box::new(stream));
        }
        Ok(Box::new(tcp))
    }
}

#[cfg(feature = "tls")]
fn connector(extra: &[Vec<u8>]) -> Result<tokio_rustls::TlsConnector, Error> {
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let setting = |reason: String| Error::InvalidOption { option: "root_certificate", reason };
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
