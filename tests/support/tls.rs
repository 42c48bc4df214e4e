//! A certificate authority of the tests' own, and raw TLS servers on loopback with certificates from it.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::serve;

/// The stream of one connection.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// Issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    /// The certificate as PEM.
    pub pem: String,
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The parameters of a sound certificate for a server of these names and addresses.
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
    /// A fresh one of this name.
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

    /// Issues what `params` asks for.
    pub fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate: certificate.der().clone(), key, pem: certificate.pem() }
    }
}

impl Identity {
    /// One that is nobody's but its own.
    pub fn self_signed(params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Identity { certificate: certificate.der().clone(), key, pem: certificate.pem() }
    }

    /// How a server with it is set up.
    pub fn config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("the key fits");
        Arc::new(config)
    }

    /// A raw TLS server on loopback. The handshake is made when `handle` first reads.
    pub fn serve(&self, mut handle: impl FnMut(TlsStream) + Send + 'static) -> SocketAddr {
        let config = self.config();
        serve(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a sound configuration");
            handle(StreamOwned::new(connection, stream));
        })
    }
}
