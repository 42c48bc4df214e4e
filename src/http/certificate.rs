//! One certificate: what it says, and what it may be used for. The checks are those in which Go's crypto/x509 is stricter
//! than the verifier.
//!
//! Text from a certificate comes from an unauthenticated peer, so each part of it is quoted, escaped and cut off.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use rsa::pkcs1::RsaPublicKey;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::Version;
use x509_cert::certificate::{CertificateInner, Profile, TbsCertificateInner};
use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::{self, Decode as _, ErrorKind, Reader as _, SliceReader, Tag};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::failure::Reason;
use crate::secret::{scrub, shortened};

/// id-kp-serverAuth and anyExtendedKeyUsage (RFC 5280, 4.2.1.12).
pub(super) const FOR_SERVERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// The critical extensions that Go knows, below 2.5.29. A CA with another one is rejected.
const KNOWN_EXTENSIONS: [u32; 11] = [15, 17, 19, 30, 31, 32, 33, 35, 36, 37, 54];

/// The extensions that the verifier knows in certificates sent by a server, below 2.5.29.
const VERIFIED_EXTENSIONS: [u32; 6] = [15, 17, 19, 30, 31, 37];

/// The attributes that name a CA, the preferred one first: commonName, organizationName (RFC 5280, appendix A.1).
const NAMES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("2.5.4.3"), ObjectIdentifier::new_unwrap("2.5.4.10")];

/// The issuer of a certificate decides how long its names are, so they are cut off.
const NAME_CHARS: usize = 200;
const NAMES_SHOWN: usize = 3;

/// Serial numbers may be longer than RFC 5280 allows, as in Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnySerial;

impl Profile for AnySerial {
    fn check_serial_number(_: &SerialNumber<AnySerial>) -> der::Result<()> {
        Ok(())
    }
}

pub(super) type TbsCertificate = TbsCertificateInner<AnySerial>;

/// Why a certificate is not accepted: a clause that begins with a verb.
#[derive(Debug, thiserror::Error)]
#[error("{clause}")]
pub(super) struct Flaw {
    pub reason: Reason,
    pub clause: String,
}

impl Flaw {
    /// The certificate cannot be used for this purpose.
    fn unfit(clause: impl Into<String>) -> Flaw {
        Flaw { reason: Reason::TlsCertificate, clause: clause.into() }
    }

    pub(super) fn malformed() -> Flaw {
        Flaw::unfit("cannot be parsed")
    }
}

/// The issuer's whole name (RFC 4514, the most specific part first), and the expiry since 1970.
pub(crate) fn issuer_and_expiry(der: &[u8]) -> Option<(String, Duration)> {
    let TbsCertificate { issuer, validity, .. } = parse(der).ok()?;
    Some((shortened(issuer.to_string(), NAME_CHARS), validity.not_after.to_unix_duration()))
}

pub(super) fn parse(der: &[u8]) -> Result<TbsCertificate, Flaw> {
    let certificate = CertificateInner::from_der(der).map_err(|error| match error.kind() {
        ErrorKind::Value { tag: Tag::UtcTime | Tag::GeneralizedTime } => {
            Flaw::unfit("has a date that cannot be read (dates before 1970 are not supported)")
        }
        _ => Flaw::malformed(),
    })?;
    Ok(certificate.tbs_certificate)
}

/// The common name, or the organization if there is none.
fn known_as(name: &Name) -> Option<String> {
    NAMES.iter().find_map(|&oid| {
        let found = name.0.iter().flat_map(|part| part.0.iter()).find(|attribute| attribute.oid == oid)?;
        Some(shortened(String::from_utf8_lossy(found.value.value()).into_owned(), NAME_CHARS))
    })
}

/// Text from a certificate, quoted, with invisible characters escaped, and cut off.
fn quoted(text: &str) -> String {
    let escaped = format!("{:?}", shortened(scrub(text), NAME_CHARS));
    format!("\"{}\"", shortened(escaped[1..escaped.len() - 1].to_owned(), NAME_CHARS))
}

pub(super) fn shown_name(name: &Name) -> String {
    quoted(&known_as(name).unwrap_or_else(|| name.to_string()))
}

/// A flaw of a server's own certificate, which is shown with its issuer.
pub(super) fn of_leaf(der: &CertificateDer<'_>, flaw: Flaw) -> Flaw {
    match parse(der).ok().and_then(|leaf| known_as(&leaf.issuer)) {
        Some(name) => Flaw { clause: format!("(issuer {}) {flaw}", quoted(&name)), ..flaw },
        None => flaw,
    }
}

/// Checks that a certificate may sign a server's certificate, with this number of intermediates between them. Go
/// accepts version 1 certificates as roots; as intermediates, the verifier has already refused them.
pub(super) fn check_issuer(der: &CertificateDer<'_>, below: usize, now: UnixTime) -> Result<(), Flaw> {
    let certificate = parse(der)?;
    check_critical_extensions(&certificate, &KNOWN_EXTENSIONS)?;
    check_dates(&certificate, now)?;
    let (is_ca, longest) = constraints(&certificate).map_err(|_| Flaw::malformed())?;
    if !is_ca {
        return Err(Flaw::unfit("is not a CA certificate (basicConstraints is not CA:TRUE)"));
    }
    if let Some(allowed) = longest.filter(|&allowed| below as u64 > allowed) {
        return Err(Flaw::unfit(format!(
            "does not allow this many intermediate certificates below it (path length constraint: {allowed}, found: {below})"
        )));
    }
    let usage = certificate.get::<KeyUsage>().map_err(|_| Flaw::malformed())?;
    if usage.is_some_and(|(_, usage)| !usage.key_cert_sign()) {
        return Err(Flaw::unfit("is not allowed to sign certificates (keyUsage lacks keyCertSign)"));
    }
    check_purpose(&certificate)
}

/// True if the certificate says that it is a CA's, and the most intermediates below it. A version without extensions
/// does not say it. (x509-cert reads no path length above 255.)
fn constraints(certificate: &TbsCertificate) -> der::Result<(bool, Option<u64>)> {
    let mut found = certificate.extensions.iter().flatten().filter(|it| it.extn_id == BasicConstraints::OID);
    let Some(extension) = found.next() else { return Ok((certificate.version != Version::V3, None)) };
    SliceReader::new(extension.extn_value.as_bytes())?
        .sequence(|reader| Ok((Option::decode(reader)?.unwrap_or(false), Option::decode(reader)?)))
}

/// The identifiers of its key and of its issuer's.
pub(super) fn key_identifiers(der: &CertificateDer<'_>) -> (Option<OctetString>, Option<OctetString>) {
    let Ok(certificate) = parse(der) else { return (None, None) };
    let own = certificate.get::<SubjectKeyIdentifier>().ok().flatten().map(|(_, it)| it.0);
    let issuer = certificate.get::<AuthorityKeyIdentifier>().ok().flatten();
    (own, issuer.and_then(|(_, it)| it.key_identifier))
}

pub(super) fn check_dates(certificate: &TbsCertificate, now: UnixTime) -> Result<(), Flaw> {
    let not_before = certificate.validity.not_before.to_unix_duration().as_secs();
    let not_after = certificate.validity.not_after.to_unix_duration().as_secs();
    let clause = match now.as_secs() {
        now if now > not_after => format!("expired on {}, or the local clock is ahead", date(not_after)),
        now if now < not_before => {
            format!("is not valid before {}, or the local clock is behind", date(not_before))
        }
        _ => return Ok(()),
    };
    Err(Flaw { reason: Reason::TlsExpired, clause })
}

fn date(unix_seconds: u64) -> String {
    // HTTP dates end with the year 9999, which some CAs use for "never".
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST)))
}

/// Checks that a certificate may be used for servers, or to sign for servers.
pub(super) fn check_purpose(certificate: &TbsCertificate) -> Result<(), Flaw> {
    match certificate.get::<ExtendedKeyUsage>() {
        Ok(None) => Ok(()),
        Ok(Some((_, usage))) if usage.0.iter().any(|purpose| FOR_SERVERS.contains(purpose)) => Ok(()),
        Ok(Some(_)) => Err(Flaw::unfit("is not meant for servers (extendedKeyUsage lacks serverAuth)")),
        Err(_) => Err(Flaw::malformed()),
    }
}

/// Checks that a server's certificate is not a CA certificate, because the verifier rejects those.
pub(super) fn check_not_ca(certificate: &TbsCertificate) -> Result<(), Flaw> {
    match certificate.get::<BasicConstraints>() {
        Ok(Some((_, BasicConstraints { ca: true, .. }))) => Err(Flaw::unfit(
            "is a CA certificate; issue it with basicConstraints=CA:FALSE, or pin it with -ca-file or SSL_CERT_FILE",
        )),
        _ => Ok(()),
    }
}

/// Rejects unknown critical extensions, and all that are not below 2.5.29.
fn check_critical_extensions(certificate: &TbsCertificate, known: &[u32]) -> Result<(), Flaw> {
    let standard = ObjectIdentifier::new_unwrap("2.5.29");
    let unknown = certificate.extensions.iter().flatten().find(|extension| {
        let oid = extension.extn_id;
        let is_known =
            oid.parent() == Some(standard) && oid.arcs().last().is_some_and(|arc| known.contains(&arc));
        extension.critical && !is_known
    });
    unknown.map_or(Ok(()), |extension| {
        let oid = extension.extn_id;
        Err(Flaw::unfit(format!("has a critical extension that monitoring-token does not support ({oid})")))
    })
}

/// Why the verifier cannot read a certificate that a server sent.
pub(super) fn unreadable(der: &CertificateDer<'_>) -> Flaw {
    let certificate = match parse(der) {
        Ok(certificate) => certificate,
        Err(flaw) => return flaw,
    };
    if certificate.version != Version::V3 {
        let version = certificate.version as u8 + 1;
        return Flaw::unfit(format!(
            "is an X.509 version {version} certificate, but only version 3 is supported; issue it again as version 3"
        ));
    }
    check_critical_extensions(&certificate, &VERIFIED_EXTENSIONS).err().unwrap_or_else(Flaw::malformed)
}

pub(super) fn unsupported_signature(certificate: &TbsCertificate) -> Option<Flaw> {
    let oid = certificate.signature.oid.to_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.10"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.113549.1.1.12"
        | "1.2.840.113549.1.1.13"
        | "1.2.840.10045.4.3.2"
        | "1.2.840.10045.4.3.3"
        | "1.3.101.112" => return None,
        "1.2.840.113549.1.1.2" => "MD2 with RSA",
        "1.2.840.113549.1.1.4" => "MD5 with RSA",
        "1.2.840.113549.1.1.5" => "SHA-1 with RSA",
        "1.2.840.113549.1.1.14" => "SHA-224 with RSA",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.2" => "DSA",
        "1.3.101.113" => "Ed448",
        other => other,
    };
    Some(Flaw::unfit(format!("is signed with an algorithm that is not supported ({name})")))
}

/// A flaw if a key of this type or size cannot be used; `whose` names the key.
pub(super) fn unsupported_key(certificate: &TbsCertificate, whose: &str) -> Option<Flaw> {
    let why = why_unsupported(&certificate.subject_public_key_info)?;
    Some(Flaw::unfit(format!("cannot be used: {whose} {why}")))
}

fn why_unsupported(key: &SubjectPublicKeyInfoOwned) -> Option<String> {
    let parameters = key.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let curve = curve.map(|oid| oid.to_string()).unwrap_or_default();
    let kind = key.algorithm.oid.to_string();
    let name = match (kind.as_str(), curve.as_str()) {
        ("1.2.840.113549.1.1.1", _) => return unsupported_rsa(key),
        // P-256, P-384 and Ed25519.
        ("1.2.840.10045.2.1", "1.2.840.10045.3.1.7" | "1.3.132.0.34") | ("1.3.101.112", _) => return None,
        ("1.2.840.10045.2.1", "1.3.132.0.35") => "EC P-521",
        ("1.2.840.10045.2.1", "1.3.132.0.10") => "EC secp256k1",
        ("1.2.840.10045.2.1", _) => "EC on another curve",
        ("1.2.840.113549.1.1.10", _) => "RSA-PSS",
        ("1.2.840.10040.4.1", _) => "DSA",
        ("1.3.101.113", _) => "Ed448",
        (other, _) => other,
    };
    Some(format!("is of a type that is not supported ({name}); use RSA, EC P-256, EC P-384 or Ed25519"))
}

/// ring verifies RSA signatures of 2048 to 8192 bits.
fn unsupported_rsa(key: &SubjectPublicKeyInfoOwned) -> Option<String> {
    let Ok(public) = RsaPublicKey::from_der(key.subject_public_key.raw_bytes()) else {
        return Some("cannot be parsed".to_owned());
    };
    let modulus = public.modulus.as_bytes();
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    match bits {
        ..2048 => Some(format!("is too short (RSA with {bits} bits; at least 2048 are required)")),
        2048..=8192 => None,
        _ => Some(format!("is too long (RSA with {bits} bits; at most 8192 are supported)")),
    }
}

/// True if the certificate lists `*.DOMAIN`, as in Go even for a top-level domain, as private networks have. The verifier
/// wants two labels after the wildcard.
pub(super) fn lists_domain_of(certificate: &TbsCertificate, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else { return false };
    let Some((_, domain)) = host.as_ref().trim_end_matches('.').split_once('.') else { return false };
    let is_wildcard = |listed: &GeneralName| {
        matches!(listed, GeneralName::DnsName(name)
            if name.as_str().strip_prefix("*.").is_some_and(|it| it.eq_ignore_ascii_case(domain)))
    };
    let listed = certificate.get::<SubjectAltName>().ok().flatten();
    listed.is_some_and(|(_, listed)| listed.0.iter().any(is_wildcard))
}

/// The certificate is for other hosts.
pub(super) fn wrong_name(certificate: &TbsCertificate, name: &ServerName<'_>) -> Flaw {
    let host = name.to_str();
    let flaw = |clause| Flaw { reason: Reason::TlsName, clause };
    let address = host.parse::<IpAddr>().ok();
    let entry = if address.is_some() { format!("IP:{host}") } else { format!("DNS:{host}") };
    let advice = format!("issue it with subjectAltName={entry}");
    let listed = match certificate.get::<SubjectAltName>() {
        Ok(Some((_, listed))) => listed.0,
        Ok(None) => {
            return flaw(format!("has no subject alternative name (a common name does not count); {advice}"));
        }
        Err(_) => {
            return flaw(format!("is not valid for {host}: its subject alternative name cannot be parsed"));
        }
    };
    if address.is_some() && listed.iter().any(|listed| is_dns_name_of(listed, address)) {
        return flaw(format!("lists {host} as a DNS name, not as an IP address; {advice}"));
    }
    let names: Vec<String> = listed.iter().filter_map(shown_entry).collect();
    if names.is_empty() {
        return flaw(format!(
            "is not valid for {host}: its subject alternative name has no DNS name or IP address; {advice}"
        ));
    }
    let more = match names.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    flaw(format!("is not valid for {host}, only for {shown}{more}; use a name that it lists, or {advice}"))
}

fn is_dns_name_of(listed: &GeneralName, address: Option<IpAddr>) -> bool {
    matches!(listed, GeneralName::DnsName(name)
        if name.as_str().trim_matches(['[', ']']).parse::<IpAddr>().ok() == address)
}

/// An entry of a subject alternative name that is compared with the host.
fn shown_entry(listed: &GeneralName) -> Option<String> {
    match listed {
        GeneralName::DnsName(name) => {
            let is_plain = name.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "-._*".contains(c));
            let quoted = quoted(name.as_str());
            Some(if is_plain { quoted.trim_matches('"').to_owned() } else { quoted })
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;
    use crate::http::roots::certificates;

    #[test]
    fn an_issuer_is_known_by_its_common_name_or_else_by_its_organization() {
        // Longer than one length byte can say.
        let long = "x".repeat(200);
        let too_long = "x".repeat(201);
        let cut = "x".repeat(200) + "…";
        for (names, expected) in [
            (&[(DnType::OrganizationName, "Org"), (DnType::CommonName, "The CA")][..], Some("The CA")),
            (&[(DnType::CountryName, "CH"), (DnType::OrganizationName, "Org")], Some("Org")),
            (&[(DnType::CommonName, &long)], Some(long.as_str())),
            (&[(DnType::CommonName, &too_long)], Some(cut.as_str())),
            (&[(DnType::CountryName, "CH")], None),
        ] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, name) in names {
                params.distinguished_name.push(kind.clone(), *name);
            }
            let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(known_as(&parse(der.der()).unwrap().issuer).as_deref(), expected);
        }
        assert!(issuer_and_expiry(b"no certificate").is_none());
    }

    /// The parser of candidates must not be stricter than real CAs are.
    #[test]
    fn each_root_of_this_machine_can_be_looked_at() {
        let Ok(pem) = std::fs::read("/etc/ssl/certs/ca-certificates.crt") else { return };
        for root in certificates(pem.as_slice()) {
            match check_issuer(&root, 0, UnixTime::now()) {
                Ok(()) | Err(Flaw { reason: Reason::TlsExpired, .. }) => {}
                Err(why) => panic!("{:?} {why}", parse(&root).map(|root| root.subject.to_string())),
            }
        }
    }
}
