//! The trusted roots: the system's, found as Go's `crypto/x509` finds them, and `-ca-file`; and the TLS configuration
//! that uses them.
//!
//! When the server's chain has arrived, the roots that may have issued it are searched for ([`super::roots`]);
//! [`super::chain`] decides whether they may be used.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};

use super::attempt::Progress;
use super::certificate;
use super::certificate::Chain;
use super::chain;
use super::fitness::Unfit;
use super::roots::{self, MAX_BUNDLE_BYTES, Roots};
use super::untrusted::Untrusted;
use crate::failure::{Failure, Reason, Stage, system_error};
use crate::read::{self, ReadError, Until};

/// The bundles that Go tries on Linux (`crypto/x509/root_linux.go`, Go 1.26); the first readable one is used.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The directories of single roots that Go reads on Linux; all are used.
const SYSTEM_DIRS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

#[derive(Clone, Debug)]
pub struct TrustStore {
    /// `-ca-file`, in addition to the others.
    pub extra: Option<PathBuf>,
    /// PEM text given in place of `-ca-file`, with its origin.
    pub extra_pem: Option<(String, Vec<u8>)>,
    /// Bundles; the first readable one is used.
    pub files: Vec<PathBuf>,
    pub dirs: Vec<PathBuf>,
}

impl Default for TrustStore {
    fn default() -> TrustStore {
        TrustStore {
            extra: None,
            extra_pem: None,
            files: SYSTEM_FILES.map(PathBuf::from).into(),
            dirs: SYSTEM_DIRS.map(PathBuf::from).into(),
        }
    }
}

impl TrustStore {
    /// Reads `-ca-file`, and `SSL_CERT_FILE` if it is a pipe. The others are read when they are needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedTrust, Failure> {
        let extra_roots = match (&self.extra, &self.extra_pem) {
            (Some(path), _) => Some(read_ca_file(path, until)?),
            (None, Some((origin, pem))) => Some(certificates(pem, &|why| {
                let message = format!("the CA certificate in {origin} {why}");
                Failure::failed(Stage::Exchange, Reason::CaFileInvalid, message)
            })?),
            (None, None) => None,
        };
        // The system's own bundles are several, and regular files.
        let piped = match self.files.as_slice() {
            [named] => roots::read_pipe(named, until)?,
            _ => None,
        };
        Ok(LoadedTrust { extra_roots: extra_roots.unwrap_or_default(), piped, places: self })
    }

    /// The places that were searched, for messages, and the error if none could be read.
    pub fn describe(&self) -> String {
        let shown = |path: &Path, why: Option<String>| match why {
            Some(why) => format!("{} ({why})", path.display()),
            None => path.display().to_string(),
        };
        // A single file comes from SSL_CERT_FILE; several are possible places of a bundle.
        let bundle = match self.files.as_slice() {
            [named] => Some(shown(named, roots::unreadable(named))),
            system => system
                .iter()
                .find(|file| roots::unreadable(file).is_none())
                .map(|file| file.display().to_string()),
        };
        let dirs = self.dirs.iter().filter_map(|dir| match dir.read_dir() {
            Ok(_) => Some(shown(dir, None)),
            Err(_) if SYSTEM_DIRS.iter().any(|system| Path::new(system) == dir) => None,
            Err(_) => Some(shown(dir, Some("which cannot be read".to_owned()))),
        });
        let extra = self.extra.as_deref().map(|path| shown(path, None));
        let extra = extra.or_else(|| Some(self.extra_pem.as_ref()?.0.clone()));
        let places: Vec<String> = extra.into_iter().chain(bundle).chain(dirs).collect();
        if places.is_empty() { "any place that was searched".to_owned() } else { places.join(", ") }
    }
}

/// The places of the roots, and the files that have been read already.
#[derive(Clone, Debug, Default)]
pub struct LoadedTrust {
    pub places: TrustStore,
    extra_roots: Vec<CertificateDer<'static>>,
    /// The content of `SSL_CERT_FILE`, if it was a pipe.
    piped: Option<Vec<u8>>,
}

impl LoadedTrust {
    /// Adds the certificates that matter for a chain from `-ca-file` and the first readable bundle.
    fn search_files(&self, roots: &mut Roots<'_>) {
        if let Some(path) = &self.places.extra {
            let place = Rc::new(path.clone());
            self.extra_roots.iter().for_each(|der| roots.take(der, &place));
        }
        if let (Some(pem), [path]) = (&self.piped, self.places.files.as_slice()) {
            return roots.take_all(pem.as_slice(), path);
        }
        let mut files = self.places.files.iter();
        if let Some((pem, path)) =
            files.find_map(|path| Some((roots::open_bundle(path, MAX_BUNDLE_BYTES as u64)?, path)))
        {
            roots.take_all(pem, path);
        }
    }

    fn search_dirs(&self, roots: &mut Roots<'_>) {
        for dir in &self.places.dirs {
            roots::each_bundle(dir, |path, pem| roots.take_all(pem, path));
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub certificate: Vec<u8>,
    pub trusted: bool,
}

#[derive(Debug)]
pub struct Verifier {
    pub trust: LoadedTrust,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Seen>>,
}

impl Verifier {
    pub fn new(trust: LoadedTrust) -> Verifier {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Verifier { trust, provider, seen: Mutex::new(None) }
    }

    pub fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Go reads files and directories first; here, the directories are read only if the files are not enough.
    fn verify(&self, chain: Chain<'_>) -> Result<(), Untrusted> {
        let mut roots = Roots::for_chain(chain.leaf, chain.intermediates);
        let algorithms = self.provider.signature_verification_algorithms.all;
        self.trust.search_files(&mut roots);
        chain::verify(chain, &roots, algorithms).or_else(|why| {
            let known = (roots.found.len(), roots.pinned);
            self.trust.search_dirs(&mut roots);
            if known == (roots.found.len(), roots.pinned) {
                return Err(why);
            }
            chain::verify(chain, &roots, algorithms)
        })
    }
}

/// Why the server's signature is invalid: its type of key may not be supported.
fn explain_signature(der: &CertificateDer<'_>, error: rustls::Error) -> rustls::Error {
    let key = certificate::parse(der).map(|certificate| certificate.subject_public_key_info);
    match key.and_then(|key| certificate::unsupported_key(&key)) {
        Some(why) => Untrusted::Leaf(Unfit::Key(why)).into(),
        None => error,
    }
}

impl From<Untrusted> for rustls::Error {
    fn from(why: Untrusted) -> rustls::Error {
        CertificateError::Other(OtherError(Arc::new(why))).into()
    }
}

fn read_ca_file(path: &Path, until: &Until<'_>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let what = format!("the CA file {}", path.display());
    let wrong = |why: String| {
        Failure::failed(Stage::Exchange, Reason::CaFileInvalid, format!("{what} {why}; set -ca-file"))
    };
    let read = read::open(path).and_then(|file| read::all(file, MAX_BUNDLE_BYTES, until));
    let pem = read.map_err(|error| match error {
        ReadError::Io(error) => wrong(format!("cannot be read: {}", system_error(&error))),
        ReadError::TooLarge => wrong(format!("is larger than {} MiB", MAX_BUNDLE_BYTES / 1024 / 1024)),
        ReadError::Ended(ended) => ended.failure(Stage::Exchange, &what),
    })?;
    certificates(&pem, &wrong)
}

fn certificates(
    pem: &[u8],
    wrong: &dyn Fn(String) -> Failure,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let mut certificates = Vec::new();
    roots::each_certificate(pem, |der| certificates.push(der.clone().into_owned()));
    if certificates.is_empty() {
        return Err(wrong("holds no PEM certificates".to_owned()));
    }
    // A certificate that cannot be parsed would be ignored silently.
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
        let result = self.verify(Chain { leaf: end_entity, intermediates, name: server_name, now });
        let seen = Seen { certificate: end_entity.to_vec(), trusted: result.is_ok() };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        result?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
            .map_err(|error| explain_signature(cert, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
            .map_err(|error| explain_signature(cert, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn client_config(verifier: &Arc<Verifier>, progress: &Arc<Progress>) -> ClientConfig {
    let provider = Arc::clone(&verifier.provider);
    let watcher = Arc::new(Watcher(Arc::clone(progress)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(&watcher) as Arc<dyn ResolvesClientCert>);
    // With it, a server that speaks only HTTP/2 sends an alert.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(watcher);
    config
}

/// Notes what happens in a handshake: rustls asks for a session to resume when it begins, and for a client certificate
/// when the server wants one. There is neither.
#[derive(Debug)]
struct Watcher(Arc<Progress>);

impl ResolvesClientCert for Watcher {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.note(|attempt| attempt.wants_certificate = true);
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

impl ClientSessionStore for Watcher {
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.handshake();
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
