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
