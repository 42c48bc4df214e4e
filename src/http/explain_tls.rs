//! Explains a failed TLS handshake.

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use super::certificate;
use super::explain::Circumstances;
use super::fitness::Unfit;
use super::untrusted::Untrusted;
use crate::failure::Reason;

pub(super) const WANTS_CERTIFICATE: &str = "it asks for a client certificate, which is not supported";

/// Explains a failed handshake with a server; `at` names the server.
pub(super) fn explain(error: &rustls::Error, at: &str, seen: &Circumstances<'_>) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => explain_certificate(why, at, seen),
        rustls::Error::InvalidMessage(_) => {
            format!("{at} does not speak TLS on this port; use http://, or correct the port")
        }
        rustls::Error::AlertReceived(alert) => {
            let why = explain_alert(*alert, seen.attempt.wants_certificate);
            format!("{at} refused the TLS handshake: {why}")
        }
        rustls::Error::PeerIncompatible(why) => {
            format!("{at} and monitoring-token have {} in common", explain_incompatible(why))
        }
        other => format!("the TLS handshake with {at} failed: {}", explain_other(other)),
    }
}

pub(super) fn reason(error: &rustls::Error) -> Reason {
    let rustls::Error::InvalidCertificate(why) = error else { return Reason::TlsFailed };
    let CertificateError::Other(OtherError(other)) = why else { return Reason::TlsCertificate };
    let Some(untrusted) = other.downcast_ref::<Untrusted>() else { return Reason::TlsCertificate };
    match untrusted {
        Untrusted::Leaf(unfit) => reason_of_unfit(unfit),
        Untrusted::Name(_) => Reason::TlsName,
        Untrusted::Issuer { why, .. } => reason_of_unfit(why),
        Untrusted::UnknownAuthority { .. } | Untrusted::OtherKey { .. } | Untrusted::Path(_) => {
            Reason::TlsUntrusted
        }
    }
}

fn reason_of_unfit(unfit: &Unfit) -> Reason {
    match unfit {
        Unfit::Expired(_) | Unfit::NotYetValid(_) => Reason::TlsExpired,
        _ => Reason::TlsCertificate,
    }
}

fn explain_certificate(why: &CertificateError, at: &str, seen: &Circumstances<'_>) -> String {
    let untrusted = match why {
        CertificateError::Other(OtherError(error)) => error.downcast_ref::<Untrusted>(),
        CertificateError::BadSignature => {
            return format!("{at} could not prove that it holds the private key of its certificate");
        }
        _ => None,
    };
    let Some(untrusted) = untrusted else {
        return format!("the TLS handshake with {at} failed: its certificate cannot be used");
    };
    // If trust is the problem, the clause names the issuer itself.
    let issuer = seen
        .seen
        .as_ref()
        .filter(|_| matches!(untrusted, Untrusted::Leaf(_) | Untrusted::Name(_) | Untrusted::Path(_)))
        .and_then(|seen| certificate::read(&seen.certificate)?.issuer_name)
        .map(|name| format!(" (issuer {})", certificate::quoted(&name)))
        .unwrap_or_default();
    let what = format!("the certificate of {at}{issuer} {untrusted}");
    match untrusted {
        Untrusted::UnknownAuthority { is_self_signed, is_alone, .. } => {
            let searched = seen.places.describe();
            let or = if *is_alone && !is_self_signed {
                ", or let the server send its intermediate certificates"
            } else {
                ""
            };
            format!("{what}, not found in {searched}; trust it with -ca-file or SSL_CERT_FILE{or}")
        }
        Untrusted::OtherKey { .. } => format!("{what}; trust the right one with -ca-file or SSL_CERT_FILE"),
        _ => what,
    }
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
            "no cipher suite, key exchange or signature algorithm in common; a certificate with a P-521 key or an RSA key below 2048 bits is not supported",
        ),
        AlertDescription::InsufficientSecurity => ("insufficient_security", "it asks for stronger ciphers"),
        AlertDescription::ProtocolVersion => ("protocol_version", "it supports neither TLS 1.2 nor TLS 1.3"),
        AlertDescription::UnrecognisedName => ("unrecognized_name", "it does not know the host name"),
        AlertDescription::CertificateRequired => ("certificate_required", WANTS_CERTIFICATE),
        AlertDescription::BadCertificate => ("bad_certificate", WANTS_CERTIFICATE),
        AlertDescription::AccessDenied => ("access_denied", "it does not allow this client"),
        AlertDescription::InternalError => ("internal_error", "something failed in the server"),
        AlertDescription::NoApplicationProtocol => ("no_application_protocol", "it does not speak HTTP/1.1"),
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
        rustls::Error::PeerMisbehaved(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => "it does not follow the TLS protocol",
        rustls::Error::FailedToGetRandomBytes => "the system random number generator failed",
        rustls::Error::FailedToGetCurrentTime => "the system clock cannot be read",
        _ => "it cannot be completed",
    }
}
