//! TLS for the listeners, with a certificate that a test has made; and a TLS front for any other server on loopback.
//! Never makes or checks a certificate.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A server's certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate first, then those between it and the authority.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

impl TlsFiles {
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let unusable = |problem: &dyn std::fmt::Display| io::Error::other(format!("{self:?}: {problem}"));
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|problem| unusable(&problem))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|problem| unusable(&problem))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|problem| unusable(&problem))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Takes TLS connections and passes what is in them on to a plain port of loopback. Dropping it stops it.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl TlsFront {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When the files cannot be used or no port can be had.
    pub fn start(files: &TlsFiles, backend: u16) -> io::Result<Self> {
        let acceptor = files.acceptor()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("tls-front".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = relay(listener, acceptor, backend) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { address, _stop: stop })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn relay(listener: TcpListener, acceptor: TlsAcceptor, backend: u16) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut inner) = acceptor.accept(stream).await else { return };
            let Ok(mut plain) = TcpStream::connect((Ipv4Addr::LOCALHOST, backend)).await else { return };
            // Either side may end it at any time.
            let _ = tokio::io::copy_bidirectional(&mut inner, &mut plain).await;
        });
    }
}
