//! Decides whether a server's certificate chain is trusted, as Go's `crypto/x509` decides. rustls-webpki builds the
//! paths and checks signatures, dates, names, name constraints and path lengths; it takes a trust anchor as a bare
//! name and key and ignores keyUsage. What each CA on a path may sign is therefore checked here, for each
//! candidate path: a root that is rejected does not keep another one of the same name from being tried.

use std::cell::RefCell;
use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::{TbsCertificate, Version};

use super::certificate;
use super::roots::Roots;
use super::untrusted::{Place, Unfit, Untrusted};

/// id-kp-serverAuth and anyExtendedKeyUsage (RFC 5280, 4.2.1.12).
const FOR_SERVERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// The critical extensions that Go knows, below 2.5.29. A CA with another one is rejected.
const KNOWN_EXTENSIONS: [u32; 11] = [15, 17, 19, 30, 31, 32, 33, 35, 36, 37, 54];

/// What a server has sent, and where it was reached.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub leaf: &'a CertificateDer<'a>,
    pub intermediates: &'a [CertificateDer<'a>],
    pub name: &'a ServerName<'a>,
    pub now: UnixTime,
}

/// Checks a chain against what the trust store has for it.
pub(crate) fn verify(
    chain: Chain<'_>,
    roots: &Roots<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Untrusted> {
    let leaf = EndEntityCert::try_from(chain.leaf).map_err(|_| Untrusted::unreadable_leaf(chain))?;
    if roots.pinned {
        verify_pinned(chain)?;
    } else {
        verify_path(chain, &leaf, roots, algorithms)?;
    }
    leaf.verify_is_valid_for_subject_name(chain.name).map_err(|_| Untrusted::wrong_name(chain))
}

/// A certificate that is in the trust store counts for itself, whoever signed it.
fn verify_pinned(chain: Chain<'_>) -> Result<(), Untrusted> {
    let certificate = certificate::parse(chain.leaf).ok_or(Untrusted::Leaf(Unfit::Malformed))?;
    check_dates(&certificate, chain.now).and_then(|()| check_purpose(&certificate)).map_err(Untrusted::Leaf)
}

fn verify_path(
    chain: Chain<'_>,
    leaf: &EndEntityCert<'_>,
    roots: &Roots<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Untrusted> {
    // Why the first path whose signatures are right was rejected.
    let rejected: RefCell<Option<Untrusted>> = RefCell::new(None);
    let check = |path: &VerifiedPath<'_>| {
        check_issuers(path, roots, chain.now).map_err(|why| {
            rejected.borrow_mut().get_or_insert(why);
            Error::UnknownIssuer
        })
    };
    let verified = leaf.verify_for_usage(
        algorithms,
        &roots.anchors,
        chain.intermediates,
        chain.now,
        ForServers,
        None,
        Some(&check),
    );
    let Err(error) = verified else { return Ok(()) };
    Err(rejected.take().unwrap_or_else(|| Untrusted::diagnose(&error, chain, roots)))
}

/// Whether each CA on a path may sign what it has signed.
fn check_issuers(path: &VerifiedPath<'_>, roots: &Roots<'_>, now: UnixTime) -> Result<(), Untrusted> {
    let mut below = 0;
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        check_issuer(&der, below, now).map_err(|why| Untrusted::issuer(&der, Place::Sent, why))?;
        below += 1;
    }
    // Two candidates may be equal but for their dates, so that only their place in the list tells them apart.
    let at = roots.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
    let Some(root) = at.and_then(|at| roots.found.get(at)) else {
        return Err(Untrusted::Path("ends at no trust anchor"));
    };
    check_issuer(&root.der, below, now)
        .map_err(|why| Untrusted::issuer(&root.der, Place::Found(root.place.to_path_buf()), why))
}

/// Whether a certificate may sign a server's, with so many intermediates between them. Go takes a version 1
/// certificate for a root; as an intermediate the verifier has refused it before.
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

/// Whether it may be used for servers, or to sign for servers.
pub(super) fn check_purpose(certificate: &TbsCertificate) -> Result<(), Unfit> {
    match certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => Ok(()),
        Ok(Some((_, usage))) if usage.0.iter().any(|purpose| FOR_SERVERS.contains(purpose)) => Ok(()),
        Ok(Some(_)) => Err(Unfit::ExtendedKeyUsage),
        Err(_) => Err(Unfit::Malformed),
    }
}

/// Rejects critical extensions below 2.5.29 whose last number is not known, and all others.
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

/// Extended key usage as Go has it: absent, or for servers or anything, on each certificate of the path.
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut is_absent = true;
        for purpose in purposes {
            is_absent = false;
            let purpose = purpose?;
            if FOR_SERVERS.iter().any(|oid| purpose == KeyPurposeId::new(oid.as_bytes())) {
                return Ok(());
            }
        }
        // The details are found out again where they are put into words.
        if is_absent { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}

/// The host as people write it.
pub(super) fn host(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        other => other.to_str().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::roots::each_certificate;

    /// The parser that looks at a candidate must not be stricter than the CAs of the world are.
    #[test]
    fn each_root_of_this_machine_can_be_looked_at() {
        let Ok(pem) = std::fs::read("/etc/ssl/certs/ca-certificates.crt") else { return };
        each_certificate(&pem, |root| match check_issuer(root, 0, UnixTime::now()) {
            Ok(()) | Err(Unfit::Expired(_)) => {}
            Err(why) => {
                let name = certificate::parse(root).map(|root| root.subject.to_string());
                panic!("{name:?} {why}");
            }
        });
    }
}
