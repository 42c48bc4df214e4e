//! Explains why a server's certificate is not trusted. Text from a certificate comes from an unauthenticated peer, so
//! each part of it is quoted, escaped and cut off.

use std::net::IpAddr;
use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::{TbsCertificate, Version};

use super::certificate::{self, Chain, quoted};
use super::fitness::{self, Unfit};
use super::roots::Roots;

const NAMES_SHOWN: usize = 3;

/// The extensions that the verifier knows in certificates sent by a server, below 2.5.29.
const VERIFIED_EXTENSIONS: [u32; 6] = [15, 17, 19, 30, 31, 37];

#[derive(Debug, thiserror::Error)]
pub(crate) enum Place {
    /// The server sent it as an intermediate.
    #[error("sent by the server")]
    Sent,
    #[error("in {}", .0.display())]
    Found(PathBuf),
}

/// Why a chain is not trusted. As text, it is a clause that follows "the certificate of URL".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("{}", of_leaf(.0))]
    Leaf(Unfit),
    /// It is for another host: a clause that begins with a verb.
    #[error("{0}")]
    Name(String),
    /// The issuer is known and its signature is valid, but it may not sign this certificate.
    #[error("is not trusted: its issuer {name}, {place}, {why}")]
    Issuer { name: String, place: Place, why: Unfit },
    /// No certificate in the trust store has the issuer's name.
    #[error("is not trusted: {}", of_unknown_authority(.name, *.is_self_signed))]
    UnknownAuthority { name: String, is_self_signed: bool, is_alone: bool },
    /// One has the issuer's name, but another key.
    #[error(
        "is not trusted: certificate signed by unknown authority: the CA {name}, {place}, has the same name but another key"
    )]
    OtherKey { name: String, place: Place },
    #[error("is not trusted: its chain {0}")]
    Path(&'static str),
}

fn of_leaf(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Key(why) => format!("cannot be used: the server's key {why}"),
        unfit => unfit.to_string(),
    }
}

fn of_unknown_authority(name: &str, is_self_signed: bool) -> String {
    if is_self_signed {
        return "it is self-signed".to_owned();
    }
    format!("certificate signed by unknown authority {name}")
}

impl Untrusted {
    pub(crate) fn issuer(der: &CertificateDer<'_>, place: Place, why: Unfit) -> Untrusted {
        let name = certificate::parse(der).map(|certificate| certificate::shown_name(&certificate.subject));
        Untrusted::Issuer { name: name.unwrap_or_default(), place, why }
    }

    pub(crate) fn wrong_name(chain: Chain<'_>) -> Untrusted {
        match certificate::parse(chain.leaf) {
            Some(certificate) => Untrusted::Name(wrong_name(&certificate, chain.name)),
            None => Untrusted::Leaf(Unfit::Malformed),
        }
    }

    pub(crate) fn diagnose(error: &Error, chain: Chain<'_>, roots: &Roots<'_>) -> Untrusted {
        if let Some(why) = unfit_leaf(chain.leaf, chain.now) {
            return Untrusted::Leaf(why);
        }
        Untrusted::Path(match error {
            Error::UnknownIssuer => return unknown_authority(chain),
            Error::NameConstraintViolation => "has a CA whose name constraints do not allow the names in it",
            Error::MaximumPathDepthExceeded => "has more than 6 intermediate certificates",
            Error::MaximumSignatureChecksExceeded
            | Error::MaximumPathBuildCallsExceeded
            | Error::MaximumNameConstraintComparisonsExceeded => "takes too many steps to verify",
            Error::CertDistrusted => "has a CA that is known to be compromised",
            _ => {
                let found = unfit_intermediate(chain).or_else(|| wrong_signature(chain, roots));
                return found.unwrap_or(Untrusted::Path("cannot be verified"));
            }
        })
    }
}

pub(super) fn unreadable(der: &CertificateDer<'_>) -> Unfit {
    let Some(certificate) = certificate::parse(der) else { return Unfit::Malformed };
    let version = match certificate.version {
        Version::V1 => return Unfit::Version(1),
        Version::V2 => return Unfit::Version(2),
        Version::V3 => Ok(()),
    };
    let known = |arc| VERIFIED_EXTENSIONS.contains(&arc);
    let checked = version.and_then(|()| fitness::check_critical_extensions(&certificate, known));
    checked.err().unwrap_or(Unfit::Malformed)
}

fn unfit_leaf(der: &CertificateDer<'_>, now: UnixTime) -> Option<Unfit> {
    let certificate = certificate::parse(der)?;
    let is_ca =
        certificate.get::<BasicConstraints>().is_ok_and(|found| found.is_some_and(|(_, found)| found.ca));
    let checked = fitness::check_dates(&certificate, now).and_then(|()| fitness::check_purpose(&certificate));
    checked.err().or(is_ca.then_some(Unfit::IsCa))
}

/// The certificates from the server, from its own to the last one whose issuer it also sent.
fn path(chain: Chain<'_>) -> Vec<(&CertificateDer<'_>, TbsCertificate)> {
    let sent: Vec<_> =
        chain.intermediates.iter().filter_map(|der| Some((der, certificate::parse(der)?))).collect();
    let Some(leaf) = certificate::parse(chain.leaf) else { return Vec::new() };
    let mut path = vec![(chain.leaf, leaf)];
    while let Some((_, last)) = path.last() {
        let next = sent
            .iter()
            .find(|(der, next)| next.subject == last.issuer && path.iter().all(|(before, _)| before != der));
        let Some(next) = next else { break };
        path.push(next.clone());
    }
    path
}

fn unknown_authority(chain: Chain<'_>) -> Untrusted {
    let path = path(chain);
    let Some((_, last)) = path.last() else { return Untrusted::Leaf(Unfit::Malformed) };
    Untrusted::UnknownAuthority {
        name: certificate::shown_name(&last.issuer),
        is_self_signed: path.len() == 1 && last.issuer == last.subject,
        is_alone: path.len() == 1,
    }
}

fn unfit_intermediate(chain: Chain<'_>) -> Option<Untrusted> {
    path(chain).into_iter().skip(1).enumerate().find_map(|(below, (der, _))| {
        let why = match EndEntityCert::try_from(der) {
            Ok(_) => fitness::check_issuer(der, below, chain.now).err()?,
            Err(_) => unreadable(der),
        };
        Some(Untrusted::issuer(der, Place::Sent, why))
    })
}

fn wrong_signature(chain: Chain<'_>, roots: &Roots<'_>) -> Option<Untrusted> {
    let path = path(chain);
    // The certificates from the server usually fit together, so the step to the trust store is checked first.
    let mut other_key = None;
    if let Some(why) =
        path.first().and_then(|(_, leaf)| certificate::unsupported_key(&leaf.subject_public_key_info))
    {
        return Some(Untrusted::Leaf(Unfit::Key(why)));
    }
    for (at, (der, certificate)) in path.iter().enumerate() {
        // A root that was sent along.
        if at > 0 && certificate.issuer == certificate.subject {
            continue;
        }
        if let Some(algorithm) = certificate::unsupported_signature(certificate) {
            let why = Unfit::Signature(algorithm);
            return Some(match at {
                0 => Untrusted::Leaf(why),
                _ => Untrusted::issuer(der, Place::Sent, why),
            });
        }
        let sent = path.get(at + 1).map(|(der, _)| (*der, Place::Sent));
        let found = roots.found.iter().map(|root| (&root.der, Place::Found(root.place.to_path_buf())));
        for (der, place) in sent.into_iter().chain(found) {
            let Some(issuer) = certificate::parse(der).filter(|issuer| issuer.subject == certificate.issuer)
            else {
                continue;
            };
            if let Some(why) = certificate::unsupported_key(&issuer.subject_public_key_info) {
                return Some(Untrusted::issuer(der, place, Unfit::Key(why)));
            }
            other_key = Some(Untrusted::OtherKey { name: certificate::shown_name(&issuer.subject), place });
        }
    }
    other_key
}

fn wrong_name(certificate: &TbsCertificate, name: &ServerName<'_>) -> String {
    let host = certificate::host(name);
    let address = host.parse::<IpAddr>().ok();
    let entry = if address.is_some() { format!("IP:{host}") } else { format!("DNS:{host}") };
    let advice = format!("issue it with subjectAltName={entry}");
    let listed = match certificate.get::<SubjectAltName>() {
        Ok(Some((_, listed))) => listed.0,
        Ok(None) => {
            return format!("has no subject alternative name (a common name does not count); {advice}");
        }
        Err(_) => return format!("is not valid for {host}: its subject alternative name cannot be parsed"),
    };
    if address.is_some() && listed.iter().any(|listed| is_dns_name_of(listed, address)) {
        return format!("lists {host} as a DNS name, not as an IP address; {advice}");
    }
    let names: Vec<String> = listed.iter().filter_map(shown_entry).collect();
    if names.is_empty() {
        return format!(
            "is not valid for {host}: its subject alternative name has no DNS name or IP address; {advice}"
        );
    }
    let more = match names.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    format!("is not valid for {host}, only for {shown}{more}")
}

fn is_dns_name_of(listed: &GeneralName, address: Option<IpAddr>) -> bool {
    matches!(listed, GeneralName::DnsName(name)
        if name.as_str().trim_matches(['[', ']']).parse::<IpAddr>().ok() == address)
}

/// An entry of a subject alternative name that is compared with the host.
fn shown_entry(listed: &GeneralName) -> Option<String> {
    match listed {
        GeneralName::DnsName(name) => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._*".contains(c);
            let quoted = quoted(name.as_str());
            Some(if name.as_str().chars().all(is_plain) {
                quoted.trim_matches('"').to_owned()
            } else {
                quoted
            })
        }
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            Some(address.map_or_else(|_| "an invalid IP address".to_owned(), |address| address.to_string()))
        }
        _ => None,
    }
}
