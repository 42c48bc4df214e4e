//! Whom we trust over TLS: the system's roots, found as Go's `crypto/x509` finds them, and `-ca-file`.
//!
//! The roots are looked for only once the server's chain has arrived, and only those that could have
//! issued it are loaded. The check itself is rustls's own, with nothing added and nothing left out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::roots::{Issuers, MAX_BUNDLE_BYTES, each_certificate, read_bundle};
use super::{Progress, Step};
use crate::error::{Failure, Stage};
use crate::read::{self, ReadError, Until};

/// Where Go looks for a bundle of roots on Linux (`crypto/x509/root_linux.go`, Go 1.26); the first that
/// can be read is taken.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where Go looks for single roots; all are read.
const SYSTEM_DIRS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The places that hold the roots.
#[derive(Clone, Debug)]
pub struct TrustStore {
    /// `-ca-file`, on top of the others.
    pub extra: Option<PathBuf>,
    /// Bundles; the first that can be read counts.
    pub files: Vec<PathBuf>,
    /// Directories of single files, whatever these are called.
    pub dirs: Vec<PathBuf>,
}

impl Default for TrustStore {
    fn default() -> TrustStore {
        TrustStore {
            extra: None,
            files: SYSTEM_FILES.map(PathBuf::from).into(),
            dirs: SYSTEM_DIRS.map(PathBuf::from).into(),
        }
    }
}

impl TrustStore {
    /// Reads `-ca-file`. The other places are read when they are needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedTrust, Failure> {
        let extra_roots = self.extra.as_deref().map(|path| read_ca_file(path, until)).transpose()?;
        Ok(LoadedTrust { extra_roots: extra_roots.unwrap_or_default(), places: self })
    }

    /// In words, for messages: the places that were searched, and those that could not be.
    pub fn describe(&self) -> String {
        let bundle = self.files.iter().find(|file| read::open(file).is_ok());
        let unreadable = |path: &Path| format!("{} (which cannot be read)", path.display());
        let bundle = bundle.map(|path| path.display().to_string());
        // One file comes from SSL_CERT_FILE; several are places where a bundle may be.
        let bundle = bundle.or_else(|| match self.files.as_slice() {
            [named] => Some(unreadable(named)),
            _ => None,
        });
        let dirs = self.dirs.iter().filter_map(|dir| match dir.read_dir() {
            Ok(_) => Some(dir.display().to_string()),
            Err(_) if SYSTEM_DIRS.iter().any(|system| Path::new(system) == dir) => None,
            Err(_) => Some(unreadable(dir)),
        });
        let places: Vec<String> =
            self.extra.iter().map(|path| path.display().to_string()).chain(bundle).chain(dirs).collect();
        if places.is_empty() { "any place that was searched".to_owned() } else { places.join(", ") }
    }
}

/// The places that hold the roots, and what `-ca-file` holds.
#[derive(Clone, Debug, Default)]
pub struct LoadedTrust {
    places: TrustStore,
    extra_roots: Vec<CertificateDer<'static>>,
}

impl LoadedTrust {
    /// The places that hold the roots.
    pub fn places(&self) -> &TrustStore {
        &self.places
    }
}

/// What was seen of the server's certificate, for `check` and for messages.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The server's own certificate, DER.
    pub certificate: Vec<u8>,
    /// Whether the check passed.
    pub trusted: bool,
}

/// Checks the server's certificate.
#[derive(Debug)]
pub struct Verifier {
    trust: LoadedTrust,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Seen>>,
}

impl Verifier {
    /// A verifier that trusts these roots.
    pub fn new(trust: LoadedTrust) -> Verifier {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Verifier { trust, provider, seen: Mutex::new(None) }
    }

    /// The certificate of the last handshake.
    pub fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The places that hold the roots.
    pub fn places(&self) -> &TrustStore {
        &self.trust.places
    }

    fn check(
        &self,
        anchors: RootCertStore,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if anchors.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(anchors.into(), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(chain.0, chain.1, name, &[], now)
    }
}

fn read_ca_file(path: &Path, until: &Until<'_>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let what = format!("the CA file {}", path.display());
    let wrong = |why: String| Failure::ours(Stage::Exchange, format!("{what} {why}; set -ca-file"));
    let read = read::open(path).and_then(|file| read::all(file, MAX_BUNDLE_BYTES, until));
    let pem = read.map_err(|error| match error {
        ReadError::Io(error) => wrong(format!("cannot be read: {error}")),
        ReadError::TooLarge => wrong(format!("is larger than {} MiB", MAX_BUNDLE_BYTES / 1024 / 1024)),
        ReadError::Ended(ended) => ended.failure(Stage::Exchange, &what),
    })?;
    let mut certificates = Vec::new();
    each_certificate(&pem, |der| certificates.push(der.clone().into_owned()));
    if certificates.is_empty() {
        return Err(wrong("holds no PEM certificates".to_owned()));
    }
    // One that cannot be parsed would silently not count.
    match certificates.iter().position(|cert| webpki::anchor_from_trusted_cert(cert).is_err()) {
        Some(at) => Err(wrong(format!("holds a certificate that cannot be parsed (number {})", at + 1))),
        None => Ok(certificates),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let issuers = Issuers::of(std::iter::once(end_entity).chain(intermediates));
        let mut anchors = RootCertStore::empty();
        let chain = (end_entity, intermediates);
        self.trust.extra_roots.iter().for_each(|root| issuers.take(root, &mut anchors));
        if let Some(bundle) = self.trust.places.files.iter().find_map(|file| read_bundle(file)) {
            each_certificate(&bundle, |root| issuers.take(root, &mut anchors));
        }
        let mut result = self.check(anchors.clone(), chain, server_name, now);
        if matches!(result, Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))) {
            for entry in
                self.trust.places.dirs.iter().filter_map(|dir| dir.read_dir().ok()).flatten().flatten()
            {
                // A pipe in the directory would keep us waiting; links to files are what it is full of.
                if std::fs::metadata(entry.path()).is_ok_and(|about| about.is_file())
                    && let Ok(pem) = std::fs::read(entry.path())
                {
                    each_certificate(&pem, |root| issuers.take(root, &mut anchors));
                }
            }
            result = self.check(anchors, chain, server_name, now);
        }
        let seen = Seen { certificate: end_entity.to_vec(), trusted: result.is_ok() };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS configuration of the client.
///
/// # Panics
/// Never: ring supports the protocol versions that are asked for.
pub fn client_config(verifier: Arc<Verifier>, progress: Arc<Progress>) -> ClientConfig {
    let provider = Arc::clone(&verifier.provider);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::store(Arc::new(HandshakeBegins(progress)));
    config
}

/// There is one connection, so nothing to resume; but rustls asks for a hint when a handshake begins,
/// and that is how we know that it has begun.
#[derive(Debug)]
struct HandshakeBegins(Arc<Progress>);

impl ClientSessionStore for HandshakeBegins {
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.reach(Step::Handshake);
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: rustls::client::Tls13ClientSessionValue) {}
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        None
    }
}
