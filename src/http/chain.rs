//! Decides whether a server's certificate chain is trusted, by the rules of Go's `crypto/x509`, and says why if it is
//! not.
//!
//! rustls-webpki builds the paths and checks signatures, dates, names, name constraints and path lengths; but a trust
//! anchor is only a name and a key for it, and it ignores keyUsage. This module checks for each candidate path whether
//! each CA may sign the next certificate; if one root is rejected, others with the same name are still tried.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};

use super::certificate::{
    self, FOR_SERVERS, Flaw, TbsCertificate, check_dates, check_issuer, check_not_ca, check_purpose,
    key_identifiers, parse, shown_name,
};
use super::roots::Roots;
use super::trust::TrustStore;
use crate::failure::Reason;

const SENT: &str = "sent by the server";

/// The certificates that a server sent, and the server.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    pub leaf: &'a CertificateDer<'a>,
    pub intermediates: &'a [CertificateDer<'a>],
    pub name: &'a ServerName<'a>,
    pub now: UnixTime,
}

impl<'a> Chain<'a> {
    /// The error follows "the certificate of URL"; `places` is for its text.
    pub(super) fn verify(
        self,
        roots: &Roots<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        places: &TrustStore,
    ) -> Result<(), Flaw> {
        let unreadable = |_| self.of_leaf(certificate::unreadable(self.leaf));
        let leaf = EndEntityCert::try_from(self.leaf).map_err(unreadable)?;
        if roots.pinned {
            self.verify_pinned().map_err(|flaw| self.of_leaf(flaw))?;
        } else {
            self.verify_path(&leaf, roots, algorithms, places)?;
        }
        let is_for = |name: &ServerName<'_>| leaf.verify_is_valid_for_subject_name(name).is_ok();
        if is_for(self.name) || other_form(self.name).is_some_and(|name| is_for(&name)) {
            return Ok(());
        }
        match parse(self.leaf) {
            Ok(leaf) if certificate::lists_domain_of(&leaf, self.name) => Ok(()),
            Ok(leaf) => Err(self.of_leaf(certificate::wrong_name(&leaf, self.name))),
            Err(flaw) => Err(self.of_leaf(flaw)),
        }
    }

    /// A certificate in the trust store is trusted for its own server, whoever signed it.
    fn verify_pinned(self) -> Result<(), Flaw> {
        let certificate = parse(self.leaf)?;
        check_dates(&certificate, self.now)?;
        check_purpose(&certificate)
    }

    fn verify_path(
        self,
        leaf: &EndEntityCert<'_>,
        roots: &Roots<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        places: &TrustStore,
    ) -> Result<(), Flaw> {
        // The reason for rejecting the first path whose signatures are valid.
        let rejected: RefCell<Option<Flaw>> = RefCell::new(None);
        let check = |path: &VerifiedPath<'_>| {
            self.check_issuers(path, roots).map_err(|why| {
                rejected.borrow_mut().get_or_insert(why);
                Error::UnknownIssuer
            })
        };
        let verify = |intermediates| {
            let usage = ForServers { left: Cell::new(MAX_CERTIFICATES_TRIED) };
            leaf.verify_for_usage(
                algorithms,
                &roots.anchors,
                intermediates,
                self.now,
                usage,
                None,
                Some(&check),
            )
        };
        let Err(error) = verify(self.intermediates) else { return Ok(()) };
        if is_given_up(&error) && verify(&self.path_by_keys(roots)).is_ok() {
            return Ok(());
        }
        Err(rejected.take().unwrap_or_else(|| self.diagnose(&error, roots, places)))
    }

    /// The intermediates of the shortest path to a root by key identifiers (RFC 5280, 4.2.1.1 and 4.2.1.2). The verifier
    /// compares only names, and of a CA that was renewed several times under its name, it tries too many certificates.
    fn path_by_keys(self, roots: &Roots<'_>) -> Vec<CertificateDer<'a>> {
        let is_sound = |der: &CertificateDer<'_>| check_issuer(der, 0, self.now).is_ok();
        let ends = roots.found.iter().filter(|root| is_sound(&root.der));
        let ends: Vec<_> = ends.filter_map(|root| key_identifiers(&root.der).0).collect();
        let sent = self.intermediates.iter().filter(|der| is_sound(der));
        let mut left: Vec<_> = sent.map(|der| (der, key_identifiers(der))).collect();
        let mut paths = VecDeque::from([(Vec::new(), key_identifiers(self.leaf).1)]);
        while let Some((path, issuer)) = paths.pop_front() {
            if issuer.as_ref().is_some_and(|issuer| ends.contains(issuer)) {
                return path;
            }
            for (der, (_, next)) in left.extract_if(.., |(_, (own, _))| own.is_some() && *own == issuer) {
                paths.push_back(([&path[..], std::slice::from_ref(der)].concat(), next));
            }
        }
        Vec::new()
    }

    fn check_issuers(self, path: &VerifiedPath<'_>, roots: &Roots<'_>) -> Result<(), Flaw> {
        let mut below = 0;
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            check_issuer(&der, below, self.now).map_err(|flaw| of_issuer(&der, SENT, &flaw))?;
            below += 1;
        }
        // Two candidates may differ only in their dates, so they are compared by their place in the list.
        let at = roots.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let Some(root) = at.and_then(|at| roots.found.get(at)) else {
            return Err(self.unverified("ends at no trust anchor"));
        };
        check_issuer(&root.der, below, self.now)
            .map_err(|flaw| of_issuer(&root.der, &root.shown_place(), &flaw))
    }

    fn of_leaf(self, flaw: Flaw) -> Flaw {
        certificate::of_leaf(self.leaf, flaw)
    }

    fn unverified(self, what: &str) -> Flaw {
        self.of_leaf(untrusted(format!("its chain {what}")))
    }

    fn diagnose(self, error: &Error, roots: &Roots<'_>, places: &TrustStore) -> Flaw {
        let path = self.path();
        let Some((_, leaf)) = path.first() else { return certificate::unreadable(self.leaf) };
        let checked =
            check_dates(leaf, self.now).and_then(|()| check_purpose(leaf)).and_then(|()| check_not_ca(leaf));
        if let Err(flaw) = checked {
            return self.of_leaf(flaw);
        }
        self.unverified(match error {
            Error::UnknownIssuer => return unknown_authority(&path, roots, places),
            Error::NameConstraintViolation => "has a CA whose name constraints do not allow the names in it",
            Error::MaximumPathDepthExceeded => "has more than 6 intermediate certificates",
            error if is_given_up(error) => "takes too many steps to verify",
            Error::CertDistrusted => "has a CA that is known to be compromised",
            _ => {
                let found = self.unfit_intermediate(&path).or_else(|| self.wrong_signature(&path, roots));
                return found.unwrap_or_else(|| self.unverified("cannot be verified"));
            }
        })
    }

    /// The certificates from the server, from its own to the last one whose issuer it also sent.
    fn path(self) -> Vec<Parsed<'a>> {
        let sent: Vec<Parsed<'a>> =
            self.intermediates.iter().filter_map(|der| Some((der, parse(der).ok()?))).collect();
        let mut path: Vec<Parsed<'a>> = parse(self.leaf).map(|leaf| (self.leaf, leaf)).into_iter().collect();
        while let Some((_, last)) = path.last() {
            let next = sent.iter().find(|(der, next)| {
                next.subject == last.issuer && path.iter().all(|(before, _)| before != der)
            });
            let Some(next) = next else { break };
            path.push(next.clone());
        }
        path
    }

    fn unfit_intermediate(self, path: &[Parsed<'_>]) -> Option<Flaw> {
        path.iter().skip(1).enumerate().find_map(|(below, (der, _))| {
            let flaw = match EndEntityCert::try_from(*der) {
                Ok(_) => check_issuer(der, below, self.now).err()?,
                Err(_) => certificate::unreadable(der),
            };
            Some(of_issuer(der, SENT, &flaw))
        })
    }

    fn wrong_signature(self, path: &[Parsed<'_>], roots: &Roots<'_>) -> Option<Flaw> {
        if let Some(flaw) = certificate::unsupported_key(&path.first()?.1, "the server's key") {
            return Some(self.of_leaf(flaw));
        }
        // The certificates from the server usually fit together, so the step to the trust store counts most.
        let mut other_key = None;
        for (at, (der, certificate)) in path.iter().enumerate() {
            // A root that was sent along.
            if at > 0 && certificate.issuer == certificate.subject {
                continue;
            }
            if let Some(flaw) = certificate::unsupported_signature(certificate) {
                return Some(if at == 0 { self.of_leaf(flaw) } else { of_issuer(der, SENT, &flaw) });
            }
            let sent = path.get(at + 1).map(|(der, _)| (*der, SENT.to_owned()));
            let found = roots.found.iter().map(|root| (&root.der, root.shown_place()));
            for (der, place) in sent.into_iter().chain(found) {
                let Some(issuer) = parse(der).ok().filter(|issuer| issuer.subject == certificate.issuer)
                else {
                    continue;
                };
                if let Some(flaw) = certificate::unsupported_key(&issuer, "its key") {
                    return Some(of_issuer(der, &place, &flaw));
                }
                other_key = Some(untrusted(format!(
                    "certificate signed by unknown authority: the CA {}, {place}, has the same name but another key; trust the right one with -ca-file or SSL_CERT_FILE",
                    shown_name(&issuer.subject)
                )));
            }
        }
        other_key
    }
}

fn is_given_up(error: &Error) -> bool {
    use Error::{
        MaximumNameConstraintComparisonsExceeded, MaximumPathBuildCallsExceeded,
        MaximumSignatureChecksExceeded,
    };
    matches!(
        error,
        MaximumSignatureChecksExceeded
            | MaximumPathBuildCallsExceeded
            | MaximumNameConstraintComparisonsExceeded
    )
}

type Parsed<'a> = (&'a CertificateDer<'a>, TbsCertificate);

fn untrusted(why: impl std::fmt::Display) -> Flaw {
    Flaw { reason: Reason::TlsUntrusted, clause: format!("is not trusted: {why}") }
}

/// An IPv4 address in the form of IPv6, or the other way round: Go takes them for the same.
fn other_form(name: &ServerName<'_>) -> Option<ServerName<'static>> {
    let ServerName::IpAddress(address) = name else { return None };
    let other = match IpAddr::from(*address) {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => IpAddr::V4(address.to_ipv4_mapped()?),
    };
    Some(ServerName::from(other))
}

/// The issuer is known and its signature is valid, but it may not sign this certificate.
fn of_issuer(der: &CertificateDer<'_>, place: &str, flaw: &Flaw) -> Flaw {
    let name = parse(der).map(|it| format!(" {}", shown_name(&it.subject))).unwrap_or_default();
    Flaw { reason: flaw.reason, clause: format!("is not trusted: its issuer{name}, {place}, {flaw}") }
}

/// No certificate in the trust store has the name of the issuer.
fn unknown_authority(path: &[Parsed<'_>], roots: &Roots<'_>, places: &TrustStore) -> Flaw {
    let Some((_, last)) = path.last() else { return Flaw::malformed() };
    let is_alone = path.len() == 1;
    let (why, or) = if is_alone && last.issuer == last.subject {
        ("it is self-signed".to_owned(), "")
    } else {
        let why = format!("certificate signed by unknown authority {}", shown_name(&last.issuer));
        if !roots.has_seen_any {
            return untrusted(format!("{why}, and {}", places.describe_empty()));
        }
        (why, if is_alone { ", or configure the server to send its intermediate certificates" } else { "" })
    };
    let searched = places.describe();
    untrusted(format!("{why}, not found in {searched}; trust it with -ca-file or SSL_CERT_FILE{or}"))
}

/// As many as Go checks signatures. A handshake has no deadline, and certificates whose names form a circle, which any
/// server may send, would keep the verifier busy for up to a minute.
const MAX_CERTIFICATES_TRIED: u32 = 100;

/// Extended key usage as in Go: absent, or for servers or any purpose, on each certificate of the path. The verifier asks
/// for it whenever it adds a certificate to a path.
struct ForServers {
    left: Cell<u32>,
}

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let left = self.left.get().checked_sub(1).ok_or(Error::MaximumPathBuildCallsExceeded)?;
        self.left.set(left);
        let mut is_absent = true;
        for purpose in purposes {
            is_absent = false;
            let purpose = purpose?;
            if FOR_SERVERS.iter().any(|oid| purpose == KeyPurposeId::new(oid.as_bytes())) {
                return Ok(());
            }
        }
        // The details are found again when the message is written.
        if is_absent { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}
