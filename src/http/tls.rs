//! TLS: the configuration, the verifier of certificates, and why a handshake failed.
//!
//! When the server's chain has arrived, the roots that may have issued it are searched for ([`super::trust`]);
//! [`super::chain`] decides whether they may be used.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, InvalidMessage,
    OtherError, PeerIncompatible, SignatureScheme,
};

use super::attempt::Progress;
use super::certificate::{self, Flaw};
use super::chain::Chain;
use super::roots::Roots;
use super::trust::{LoadedTrust, TrustStore};
use crate::failure::Reason;
use crate::until::Until;

pub(super) const WANTS_CERTIFICATE: &str = "it asks for a client certificate, which is not supported";
pub(super) const ONLY_HTTP2: &str =
    "speaks only HTTP/2, which is not supported; use an endpoint that speaks HTTP/1.1";

#[derive(Debug)]
pub(super) struct Verifier {
    trust: LoadedTrust,
    provider: Arc<CryptoProvider>,
    trusted: Mutex<Option<Vec<u8>>>,
}

impl Verifier {
    pub(super) fn new(trust: LoadedTrust) -> Verifier {
        let mut provider = rustls::crypto::ring::default_provider();
        // Go's first choice. SHA-384 would take 6 % of the instructions of a run over https.
        let suites = &mut provider.cipher_suites;
        if let Some(at) =
            suites.iter().position(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256)
        {
            suites.swap(0, at);
        }
        Verifier { trust, provider: Arc::new(provider), trusted: Mutex::new(None) }
    }

    /// The certificate of the last handshake, of the proxy or of the server, if it was trusted.
    pub(super) fn trusted(&self) -> Option<Vec<u8>> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Go reads files and directories first; here, the directories are read only if the files are not enough.
    fn verify(&self, chain: Chain<'_>) -> Result<(), Flaw> {
        let mut roots = Roots::for_chain(chain.leaf, chain.intermediates);
        let algorithms = self.provider.signature_verification_algorithms.all;
        let verify = |roots: &Roots<'_>| chain.verify(roots, algorithms, &self.trust.places);
        self.trust.search_files(&mut roots);
        if roots.has_candidates() && verify(&roots).is_ok() {
            return Ok(());
        }
        self.trust.search_dirs(&mut roots);
        verify(&roots)
    }
}

/// Verifies the certificates that a server with this name sends, its own first. The error is a clause of the message.
pub fn verify_chain(
    trust: TrustStore,
    sent: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), String> {
    let (leaf, intermediates) = sent.split_first().ok_or("sent no certificate")?;
    let trust = trust.load(&Until::in_time(Duration::ZERO)).map_err(|failure| failure.message)?;
    let result = Verifier::new(trust).verify(Chain { leaf, intermediates, name, now });
    result.map_err(|flaw| flaw.to_string())
}

/// Why the server's signature is invalid: its type of key may not be supported.
fn explain_signature(der: &CertificateDer<'_>, error: rustls::Error) -> rustls::Error {
    match certificate::parse(der)
        .ok()
        .and_then(|leaf| certificate::unsupported_key(&leaf, "the server's key"))
    {
        Some(flaw) => rejection(certificate::of_leaf(der, flaw)),
        None => error,
    }
}

fn rejection(flaw: Flaw) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(flaw))).into()
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
        let trusted = result.is_ok().then(|| end_entity.to_vec());
        *self.trusted.lock().unwrap_or_else(PoisonError::into_inner) = trusted;
        result.map_err(rejection)?;
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

/// Notes what happens in a handshake: rustls asks for a session to resume when it begins, for a client certificate when
/// the server wants one, and stores something at the end. There is neither.
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
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {
        self.0.end_proxy_handshake();
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.handshake();
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {
        self.0.end_proxy_handshake();
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: rustls::client::Tls13ClientSessionValue) {}
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        None
    }
}

/// Explains a failed handshake with a server; `at` names the server.
pub(super) fn explain(error: &rustls::Error, at: &str, wants_certificate: bool) -> (Reason, String) {
    let why = match error {
        rustls::Error::InvalidCertificate(why) => return explain_certificate(why, at),
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::UnknownProtocolVersion,
        ) => format!("{at} does not speak TLS on this port; use http://, or correct the port"),
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => format!("{at} {ONLY_HTTP2}"),
        rustls::Error::AlertReceived(alert) => {
            let why = explain_alert(*alert, wants_certificate);
            format!("{at} refused the TLS handshake: {why}")
        }
        rustls::Error::PeerIncompatible(why) => {
            format!("{at} and monitoring-token have {} in common", explain_incompatible(why))
        }
        other => format!("the TLS handshake with {at} failed: {}", explain_other(other)),
    };
    (Reason::TlsFailed, why)
}

fn explain_certificate(error: &CertificateError, at: &str) -> (Reason, String) {
    if let CertificateError::Other(OtherError(error)) = error
        && let Some(flaw) = error.downcast_ref::<Flaw>()
    {
        return (flaw.reason, format!("the certificate of {at} {flaw}"));
    }
    let why = match error {
        CertificateError::BadSignature => {
            format!("{at} could not prove that it holds the private key of its certificate")
        }
        _ => format!("the TLS handshake with {at} failed: its certificate cannot be used"),
    };
    (Reason::TlsCertificate, why)
}

/// An alert with its name in RFC 8446, and its meaning for a client.
fn explain_alert(alert: AlertDescription, wants_certificate: bool) -> String {
    let (name, meaning) = match alert {
        // TLS 1.2 has no other alert for it.
        AlertDescription::HandshakeFailure if wants_certificate => ("handshake_failure", WANTS_CERTIFICATE),
        AlertDescription::UnsupportedCertificate => ("unsupported_certificate", WANTS_CERTIFICATE),
        AlertDescription::CertificateUnknown => ("certificate_unknown", WANTS_CERTIFICATE),
        AlertDescription::HandshakeFailure => (
            "handshake_failure",
            "no cipher suite, key exchange or signature algorithm in common; monitoring-token does not support CBC ciphers, the key exchanges P-521 and X25519MLKEM768, or a certificate with a P-521 key or an RSA key below 2048 bits",
        ),
        AlertDescription::InsufficientSecurity => ("insufficient_security", "it asks for stronger ciphers"),
        AlertDescription::ProtocolVersion => ("protocol_version", "it supports neither TLS 1.2 nor TLS 1.3"),
        AlertDescription::UnrecognisedName => ("unrecognized_name", "it does not know the host name"),
        AlertDescription::CertificateRequired => ("certificate_required", WANTS_CERTIFICATE),
        AlertDescription::BadCertificate => ("bad_certificate", WANTS_CERTIFICATE),
        AlertDescription::AccessDenied => ("access_denied", "it does not allow this client"),
        AlertDescription::InternalError => ("internal_error", "something failed in the server"),
        other => return format!("alert {}", u8::from(other)),
    };
    format!("{name} ({meaning})")
}

fn explain_incompatible(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "no TLS version (TLS 1.2 and 1.3 are supported)",
        PeerIncompatible::NoCipherSuitesInCommon => "no TLS cipher suite",
        PeerIncompatible::NoKxGroupsInCommon => "no TLS key exchange",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => "no TLS signature algorithm",
        _ => "no TLS version or cipher",
    }
}

fn explain_other(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::NoCertificatesPresented => "it sent no certificate",
        rustls::Error::DecryptError => "a message was altered on the way, or is not encrypted as agreed",
        rustls::Error::PeerSentOversizedRecord => "it sent a record that is too large",
        rustls::Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => "it sent more than 64 KiB of certificates",
        rustls::Error::PeerMisbehaved(_)
        | rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => "it does not follow the TLS protocol",
        rustls::Error::FailedToGetRandomBytes => "the system random number generator failed",
        rustls::Error::FailedToGetCurrentTime => "the system clock cannot be read",
        _ => "it cannot be completed",
    }
}
