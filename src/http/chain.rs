//! Decides whether a server's certificate chain is trusted, by the rules of Go's `crypto/x509`.
//!
//! rustls-webpki builds the paths and checks signatures, dates, names, name constraints and path lengths; but a trust
//! anchor is only a name and a key for it, and it ignores keyUsage. This module checks for each candidate path whether
//! each CA may sign the next certificate; if one root is rejected, others with the same name are still tried.

use std::cell::RefCell;

use rustls::pki_types::{SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};

use super::certificate::{self, Chain};
use super::fitness::{FOR_SERVERS, Unfit, check_dates, check_issuer, check_purpose};
use super::roots::Roots;
use super::untrusted::{Place, Untrusted, unreadable};

pub(crate) fn verify(
    chain: Chain<'_>,
    roots: &Roots<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Untrusted> {
    let leaf = EndEntityCert::try_from(chain.leaf).map_err(|_| Untrusted::Leaf(unreadable(chain.leaf)))?;
    if roots.pinned {
        verify_pinned(chain)?;
    } else {
        verify_path(chain, &leaf, roots, algorithms)?;
    }
    leaf.verify_is_valid_for_subject_name(chain.name).map_err(|_| Untrusted::wrong_name(chain))
}

/// A certificate in the trust store is trusted for its own server, whoever signed it.
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
    // The reason for rejecting the first path whose signatures are valid.
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

fn check_issuers(path: &VerifiedPath<'_>, roots: &Roots<'_>, now: UnixTime) -> Result<(), Untrusted> {
    let mut below = 0;
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        check_issuer(&der, below, now).map_err(|why| Untrusted::issuer(&der, Place::Sent, why))?;
        below += 1;
    }
    // Two candidates may differ only in their dates, so they are compared by their place in the list.
    let at = roots.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
    let Some(root) = at.and_then(|at| roots.found.get(at)) else {
        return Err(Untrusted::Path("ends at no trust anchor"));
    };
    check_issuer(&root.der, below, now)
        .map_err(|why| Untrusted::issuer(&root.der, Place::Found(root.place.to_path_buf()), why))
}

/// Extended key usage as in Go: absent, or for servers or any purpose, on each certificate of the path.
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
        // The details are found again when the message is written.
        if is_absent { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}
