//! Checks whether one certificate may be used for its purpose, where Go's crypto/x509 is stricter than the verifier.

use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::{TbsCertificate, Version};

use super::certificate;

/// id-kp-serverAuth and anyExtendedKeyUsage (RFC 5280, 4.2.1.12).
pub(super) const FOR_SERVERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// The critical extensions that Go knows, below 2.5.29. A CA with another one is rejected.
const KNOWN_EXTENSIONS: [u32; 11] = [15, 17, 19, 30, 31, 32, 33, 35, 36, 37, 54];

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("cannot be parsed")]
    Malformed,
    #[error("is an X.509 version {0} certificate, but only version 3 is supported")]
    Version(u8),
    #[error("has a critical extension that monitoring-token does not support ({0})")]
    CriticalExtension(String),
    /// Since this time, in seconds since 1970.
    #[error("expired on {}, or the local clock is ahead", date(*.0))]
    Expired(u64),
    /// Until this time, in seconds since 1970.
    #[error("is not valid before {}, or the local clock is behind", date(*.0))]
    NotYetValid(u64),
    #[error(
        "is a CA certificate; issue it with basicConstraints=CA:FALSE, or pin it with -ca-file or SSL_CERT_FILE"
    )]
    IsCa,
    #[error("is not a CA certificate (basicConstraints is not CA:TRUE)")]
    NotCa,
    #[error("may not sign certificates (keyUsage lacks keyCertSign)")]
    KeyUsage,
    #[error("may not be used for servers (extendedKeyUsage lacks serverAuth)")]
    ExtendedKeyUsage,
    #[error(
        "does not allow this many intermediate certificates below it (path length constraint: {allowed}, found: {below})"
    )]
    PathLength { allowed: u8, below: usize },
    #[error("is signed with an algorithm that is not supported ({0})")]
    Signature(String),
    /// Why its key cannot be used: a clause that begins with a verb.
    #[error("cannot be used: its key {0}")]
    Key(String),
}

fn date(unix_seconds: u64) -> String {
    // HTTP dates end with the year 9999, which some CAs use for "never".
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST)))
}

/// Checks that a certificate may sign a server's certificate, with this number of intermediates between them. Go
/// accepts version 1 certificates as roots; as intermediates, the verifier has already refused them.
pub(super) fn check_issuer(der: &CertificateDer<'_>, below: usize, now: UnixTime) -> Result<(), Unfit> {
    let certificate = certificate::parse(der).ok_or(Unfit::Malformed)?;
    check_critical_extensions(&certificate, |arc| KNOWN_EXTENSIONS.contains(&arc))?;
    check_dates(&certificate, now)?;
    let constraints = certificate.get::<BasicConstraints>().map_err(|_| Unfit::Malformed)?;
    match constraints {
        Some((_, BasicConstraints { ca: false, .. })) => return Err(Unfit::NotCa),
        None if certificate.version == Version::V3 => return Err(Unfit::NotCa),
        Some((_, BasicConstraints { path_len_constraint: Some(allowed), .. }))
            if below > usize::from(allowed) =>
        {
            return Err(Unfit::PathLength { allowed, below });
        }
        _ => {}
    }
    let usage = certificate.get::<KeyUsage>().map_err(|_| Unfit::Malformed)?;
    if usage.is_some_and(|(_, usage)| !usage.key_cert_sign()) {
        return Err(Unfit::KeyUsage);
    }
    check_purpose(&certificate)
}

pub(super) fn check_dates(certificate: &TbsCertificate, now: UnixTime) -> Result<(), Unfit> {
    let not_before = certificate.validity.not_before.to_unix_duration().as_secs();
    let not_after = certificate.validity.not_after.to_unix_duration().as_secs();
    match now.as_secs() {
        now if now > not_after => Err(Unfit::Expired(not_after)),
        now if now < not_before => Err(Unfit::NotYetValid(not_before)),
        _ => Ok(()),
    }
}

/// Checks that a certificate may be used for servers, or to sign for servers.
pub(super) fn check_purpose(certificate: &TbsCertificate) -> Result<(), Unfit> {
    match certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => Ok(()),
        Ok(Some((_, usage))) if usage.0.iter().any(|purpose| FOR_SERVERS.contains(purpose)) => Ok(()),
        Ok(Some(_)) => Err(Unfit::ExtendedKeyUsage),
        Err(_) => Err(Unfit::Malformed),
    }
}

/// Rejects unknown critical extensions, and all that are not below 2.5.29.
pub(super) fn check_critical_extensions(
    certificate: &TbsCertificate,
    is_known: impl Fn(u32) -> bool,
) -> Result<(), Unfit> {
    let standard = ObjectIdentifier::new_unwrap("2.5.29");
    let unknown = certificate.extensions.iter().flatten().find(|extension| {
        let oid = extension.extn_id;
        let known = oid.parent() == Some(standard) && oid.arcs().last().is_some_and(&is_known);
        extension.critical && !known
    });
    unknown.map_or(Ok(()), |extension| Err(Unfit::CriticalExtension(extension.extn_id.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::roots::each_certificate;

    /// The parser of candidates must not be stricter than real CAs are.
    #[test]
    fn each_root_of_this_machine_can_be_looked_at() {
        let Ok(pem) = std::fs::read("/etc/ssl/certs/ca-certificates.crt") else { return };
        each_certificate(pem.as_slice(), |root| match check_issuer(root, 0, UnixTime::now()) {
            Ok(()) | Err(Unfit::Expired(_)) => {}
            Err(why) => {
                let name = certificate::parse(root).map(|root| root.subject.to_string());
                panic!("{name:?} {why}");
            }
        });
    }
}
