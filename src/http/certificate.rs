//! Describes a certificate for people.

use std::net::IpAddr;
use std::time::Duration;

use rsa::pkcs1::RsaPublicKey;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::{Certificate, TbsCertificate};

use crate::failure::shortened;
use crate::secret::scrub;

/// The attributes that name a CA, the preferred one first: commonName, organizationName (RFC 5280, appendix A.1).
const NAMES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("2.5.4.3"), ObjectIdentifier::new_unwrap("2.5.4.10")];

/// The issuer of a certificate decides how long its names are, so they are cut off.
const NAME_CHARS: usize = 200;

pub(crate) struct About {
    /// The issuer's whole name (RFC 4514, the most specific part first).
    pub issuer: String,
    /// The issuer's common name, or its organization if it has none.
    pub issuer_name: Option<String>,
    /// The expiry, since 1970.
    pub not_after: Duration,
}

/// The certificates that a server sent, and the server.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub leaf: &'a CertificateDer<'a>,
    pub intermediates: &'a [CertificateDer<'a>],
    pub name: &'a ServerName<'a>,
    pub now: UnixTime,
}

pub(super) fn host(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        other => other.to_str().into_owned(),
    }
}

pub(crate) fn read(der: &[u8]) -> Option<About> {
    let certificate = parse(der)?;
    Some(About {
        issuer: shortened(certificate.issuer.to_string(), NAME_CHARS),
        issuer_name: known_as(&certificate.issuer),
        not_after: certificate.validity.not_after.to_unix_duration(),
    })
}

pub(super) fn parse(der: &[u8]) -> Option<TbsCertificate> {
    Some(Certificate::from_der(der).ok()?.tbs_certificate)
}

fn known_as(name: &Name) -> Option<String> {
    NAMES.iter().find_map(|&oid| {
        let found = name.0.iter().flat_map(|part| part.0.iter()).find(|attribute| attribute.oid == oid)?;
        Some(shortened(String::from_utf8_lossy(found.value.value()).into_owned(), NAME_CHARS))
    })
}

/// Text from a certificate, quoted, with invisible characters escaped, and cut off.
pub(super) fn quoted(text: &str) -> String {
    let escaped = format!("{:?}", shortened(scrub(text), NAME_CHARS));
    format!("\"{}\"", shortened(escaped[1..escaped.len() - 1].to_owned(), NAME_CHARS))
}

pub(super) fn shown_name(name: &Name) -> String {
    quoted(&known_as(name).unwrap_or_else(|| name.to_string()))
}

pub(super) fn unsupported_signature(certificate: &TbsCertificate) -> Option<String> {
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
    Some(name.to_owned())
}

/// Why a key cannot be used: a clause that begins with a verb.
pub(super) fn unsupported_key(key: &SubjectPublicKeyInfoOwned) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::read;

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
            assert_eq!(read(der.der()).unwrap().issuer_name.as_deref(), expected);
        }
        assert!(read(b"no certificate").is_none());
    }
}
