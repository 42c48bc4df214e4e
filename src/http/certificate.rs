//! What a certificate says of itself, for people.

use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::name::Name;

/// The attributes by which a CA is known, the best first: commonName, organizationName (RFC 5280, appendix A.1).
const NAMES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("2.5.4.3"), ObjectIdentifier::new_unwrap("2.5.4.10")];

/// Who made a certificate, and for how long.
pub struct About {
    /// The issuer's whole name (RFC 4514, the most particular part first).
    pub issuer: String,
    /// The issuer's common name, or else its organisation.
    pub issuer_name: Option<String>,
    /// When it expires, since 1970.
    pub not_after: Duration,
}

/// Reads a DER certificate; `None` if it is none.
pub fn read(der: &[u8]) -> Option<About> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    Some(About {
        issuer: certificate.issuer.to_string(),
        issuer_name: NAMES.iter().find_map(|&name| attribute(&certificate.issuer, name)),
        not_after: certificate.validity.not_after.to_unix_duration(),
    })
}

/// The first attribute of that type.
fn attribute(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let found = name.0.iter().flat_map(|part| part.0.iter()).find(|attribute| attribute.oid == oid)?;
    Some(String::from_utf8_lossy(found.value.value()).into_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::read;

    #[test]
    fn an_issuer_is_known_by_its_common_name_or_else_by_its_organisation() {
        // Longer than a length of one byte tells.
        let long = "x".repeat(200);
        for (names, expected) in [
            (&[(DnType::OrganizationName, "Org"), (DnType::CommonName, "The CA")][..], Some("The CA")),
            (&[(DnType::CountryName, "CH"), (DnType::OrganizationName, "Org")], Some("Org")),
            (&[(DnType::CommonName, &long)], Some(long.as_str())),
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
