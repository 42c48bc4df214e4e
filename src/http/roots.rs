//! Finds in PEM bundles, by the names of the issuers in the chain that a server has sent, the roots that may
//! have issued it. A bundle holds a hundred roots and more, of which one is wanted, so it is searched and
//! not taken apart.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memmem::Finder};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::read::{self, Until};

/// A bundle that is larger is none (`/dev/zero`, say).
pub const MAX_BUNDLE_BYTES: usize = 16 * 1024 * 1024;

/// How long a bundle that is a pipe is waited for.
const PIPE_PATIENCE: Duration = Duration::from_secs(1);

/// A bundle of roots, if it can be read. One that is a pipe (`SSL_CERT_FILE`) is not waited for long: it is
/// read in the middle of a handshake, where nothing else can end the wait.
pub fn read_bundle(path: &Path) -> Option<Vec<u8>> {
    if std::fs::metadata(path).is_ok_and(|about| about.is_file()) {
        return std::fs::read(path).ok();
    }
    let pipe =
        read::open(path).and_then(|file| read::all(file, MAX_BUNDLE_BYTES, &Until::in_time(PIPE_PATIENCE)));
    pipe.ok().map(|bytes| bytes.to_vec())
}

/// Shows each certificate in a PEM file (RFC 7468) as DER, those that are no base64 left out, as Go does.
pub fn each_certificate(pem: &[u8], mut seen: impl FnMut(&CertificateDer<'_>)) {
    let (begin, end) = (Finder::new("-----BEGIN CERTIFICATE-----"), Finder::new("-----END CERTIFICATE-----"));
    let (mut base64, mut der) = (Vec::new(), Vec::new());
    let mut rest = pem;
    while let Some(at) = begin.find(rest) {
        rest = &rest[at + begin.needle().len()..];
        let Some(length) = end.find(rest) else { return };
        let (text, after) = rest.split_at(length);
        rest = &after[end.needle().len()..];
        join_lines(text, &mut base64);
        if decode(&base64, &mut der) || {
            // Blanks within a line are rare.
            base64.retain(|byte| !byte.is_ascii_whitespace());
            decode(&base64, &mut der)
        } {
            seen(&CertificateDer::from(der.as_slice()));
        }
    }
}

fn join_lines(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len() - 1) + 1;
        let (line, after) = rest.split_at(end);
        out.extend_from_slice(line.trim_ascii());
        rest = after;
    }
}

fn decode(base64: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    STANDARD.decode_vec(base64, out).is_ok()
}

/// The names that issued the certificates of a chain, which is how their roots are found.
pub struct Issuers(Vec<Finder<'static>>);

impl Issuers {
    /// Those of a chain; a certificate that cannot be parsed names none.
    pub fn of<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> Issuers {
        let certificates = chain.filter_map(|der| webpki::EndEntityCert::try_from(der).ok());
        Issuers(certificates.map(|certificate| Finder::new(certificate.issuer()).into_owned()).collect())
    }

    /// Takes this certificate as a root if its name is one of these.
    pub fn take(&self, der: &CertificateDer<'_>, anchors: &mut RootCertStore) {
        // Searching for the name is cheaper than taking every certificate apart.
        if self.0.iter().all(|issuer| issuer.find(der).is_none()) {
            return;
        }
        if let Ok(anchor) = webpki::anchor_from_trusted_cert(der)
            && self.0.iter().any(|issuer| issuer.needle() == anchor.subject.as_ref())
        {
            anchors.roots.push(anchor.to_owned());
        }
    }
}
