//! A client that says what the handshake showed it.

use std::net::SocketAddr;
use std::sync::Arc;

use tls::Fingerprint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, kx_group};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::client::runtime;
use crate::gate::Gate;

/// A client that keeps its sessions.
#[derive(Clone)]
pub(crate) struct Visitor(Arc<ClientConfig>);

pub(crate) struct Visit {
    runtime: Runtime,
    stream: TlsStream<TcpStream>,
}

impl Visitor {
    /// Trusts these authorities; shows a certificate with its key (PEM) where it is asked.
    pub(crate) fn new(authorities: &[&str], own: Option<(&str, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        for pem in authorities {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        }
        let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP384R1];
        let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        Self(Arc::new(config))
    }

    pub(crate) fn visit(&self, gate: &Gate) -> std::io::Result<Visit> {
        self.visit_from(gate, "127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn visit_from(&self, gate: &Gate, from: SocketAddr) -> std::io::Result<Visit> {
        let runtime = runtime();
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(from)?;
            let tcp = socket.connect(gate.address).await?;
            let name = ServerName::try_from("127.0.0.1").unwrap();
            TlsConnector::from(Arc::clone(&self.0)).connect(name, tcp).await
        })?;
        Ok(Visit { runtime, stream })
    }
}

impl Visit {
    /// The status line of an answer. In TLS 1.3 a refused certificate shows only now.
    pub(crate) fn get(&mut self) -> std::io::Result<String> {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: pve1\r\n\r\n").await?;
            let mut answer = [0; 4096];
            let count = stream.read(&mut answer).await?;
            let text = String::from_utf8_lossy(answer.get(..count).unwrap()).into_owned();
            Ok(text.lines().next().unwrap_or_default().to_owned())
        })
    }

    pub(crate) fn certificate(&self) -> Fingerprint {
        let leaf = &self.stream.get_ref().1.peer_certificates().unwrap()[0];
        Fingerprint::of(leaf)
    }

    pub(crate) fn resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Version, suite and key exchange.
    pub(crate) fn agreed(&self) -> String {
        let state = self.stream.get_ref().1;
        let version = state.protocol_version().unwrap();
        let suite = state.negotiated_cipher_suite().unwrap().suite();
        let group = state.negotiated_key_exchange_group().unwrap().name();
        format!("{version:?} {suite:?} {group:?}")
    }
}
