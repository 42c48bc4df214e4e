//! A certificate authority for the tests, and raw TLS servers on loopback with its certificates.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::serve_at;

/// The stream of one connection.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// Issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    /// The certificates that it sends after its own.
    pub intermediates: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
    /// The certificate as PEM.
    pub pem: String,
}

/// A certificate as PEM.
pub fn pem_of(der: &CertificateDer<'static>) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The parameters of a valid certificate for these names and addresses.
pub fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("sound names");
    params.distinguished_name = named("a test server");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

impl Authority {
    /// A new authority with this name.
    pub fn new(common_name: &str) -> Authority {
        let mut params = server_params(&[]);
        params.distinguished_name = named(common_name);
        params.extended_key_usages = Vec::new();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate with these parameters.
    pub fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity::new(certificate.der().clone(), Vec::new(), key)
    }
}

impl Identity {
    /// A server with this certificate, which sends these after it.
    pub fn new(
        certificate: CertificateDer<'static>,
        intermediates: Vec<CertificateDer<'static>>,
        key: KeyPair,
    ) -> Identity {
        let pem = pem_of(&certificate);
        Identity { certificate, intermediates, key, pem }
    }

    /// A self-signed certificate.
    pub fn self_signed(params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Identity::new(certificate.der().clone(), Vec::new(), key)
    }

    /// The TLS configuration. Any certificate is sent, whether its key matches or not.
    pub fn config(&self) -> Arc<ServerConfig> {
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let key = provider.key_provider.load_private_key(key).expect("ring knows the key");
        let chain = std::iter::once(&self.certificate).chain(&self.intermediates).cloned().collect();
        let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certified));
        Arc::new(config)
    }

    /// A raw TLS server on loopback. The handshake starts when `handle` first reads.
    pub fn serve(&self, handle: impl FnMut(TlsStream) + Send + 'static) -> SocketAddr {
        self.serve_at("127.0.0.1", handle)
    }

    /// As [`Identity::serve`], on another loopback address.
    pub fn serve_at(&self, host: &str, mut handle: impl FnMut(TlsStream) + Send + 'static) -> SocketAddr {
        let config = self.config();
        serve_at(host, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a sound configuration");
            handle(StreamOwned::new(connection, stream));
        })
    }
}
