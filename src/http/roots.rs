//! Searches PEM bundles for the certificates that matter for a server's chain: roots that may have issued it, and the
//! server's own certificate, if it is pinned.
//!
//! A bundle holds more than a hundred roots, and usually only one is needed. So certificates are compared by name, and
//! only a match is decoded and parsed. Parsing all of Debian's bundle took 0.7 million instructions more, the loader of
//! rustls 6.3 million more, before names were compared in base64.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::{self, Finder};
use memchr::{memchr, memchr3};
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// How much of a bundle is in memory at a time. All of Debian's would cost 50 more page faults, for 220 KB.
const PIECE_BYTES: usize = 16 * 1024;

/// The certificates of a PEM file (RFC 7468) as DER. Like Go, skips invalid base64.
pub fn certificates(pem: impl Read) -> Vec<CertificateDer<'static>> {
    let (mut found, mut der) = (Vec::new(), Vec::new());
    each_base64(pem, |base64| {
        if decode(base64, &mut der) {
            found.push(CertificateDer::from(der.clone()));
        }
    });
    found
}

/// Passes the base64 of each certificate on. An error of `pem` counts as its end.
fn each_base64(mut pem: impl Read, mut seen: impl FnMut(&mut Vec<u8>)) {
    let (begin, end) = (Finder::new("-----BEGIN CERTIFICATE-----"), Finder::new("-----END CERTIFICATE-----"));
    let (mut piece, mut filled, mut base64) = (vec![0; PIECE_BYTES], 0, Vec::new());
    while let Ok(length @ 1..) = pem.read(&mut piece[filled..]) {
        filled += length;
        let mut rest = &piece[..filled];
        while let Some(at) = begin.find(rest) {
            rest = &rest[at..];
            let inside = &rest[begin.needle().len()..];
            let Some(length) = end.find(inside) else { break };
            join_lines(&inside[..length], &mut base64);
            seen(&mut base64);
            rest = &inside[length + end.needle().len()..];
        }
        // The next piece continues a certificate, or the line in front of one.
        let most = if rest.starts_with(begin.needle()) { usize::MAX } else { begin.needle().len() - 1 };
        let kept = rest.len().min(most);
        piece.copy_within(filled - kept..filled, 0);
        filled = kept;
        if filled == piece.len() {
            piece.resize(2 * filled, 0);
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

fn decode(base64: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    const MARK: &[u8] = b"-----BEGINCERTIFICATE-----";
    out.clear();
    if has_blanks(base64) {
        base64.retain(|byte| !byte.is_ascii_whitespace());
    }
    if STANDARD.decode_vec(&*base64, out).is_ok() {
        return true;
    }
    // Another one without an end may be in front of it.
    out.clear();
    let last = memmem::rfind(base64, MARK).map(|at| &base64[at + MARK.len()..]);
    last.is_some_and(|last| STANDARD.decode_vec(last, out).is_ok())
}

fn has_blanks(joined: &[u8]) -> bool {
    memchr3(b' ', b'\t', b'\r', joined).is_some() || memchr(b'\x0c', joined).is_some()
}

/// The three forms that `part` can have in the base64 of a longer text, by its position in a group of three bytes.
fn in_base64(part: &[u8]) -> [Finder<'static>; 3] {
    std::array::from_fn(|before| {
        let shifted = [&[0; 2][..before], part].concat();
        let encoded = STANDARD.encode(&shifted);
        // Without the characters that other bytes have a share in. An empty part is everywhere.
        let from = before + usize::from(before > 0);
        Finder::new(&encoded.as_bytes()[from..from.max(shifted.len() * 8 / 6)]).into_owned()
    })
}

/// The certificates of the trust store that matter for one chain. [`super::chain`] decides whether a candidate may
/// sign.
pub(crate) struct Roots<'a> {
    leaf: &'a CertificateDer<'a>,
    leaf_in_base64: String,
    issuers: Vec<Finder<'static>>,
    issuers_in_base64: Vec<Finder<'static>>,
    /// There is a certificate in the store.
    pub has_seen_any: bool,
    /// The server's own certificate is in the store, byte for byte.
    pub pinned: bool,
    pub anchors: Vec<TrustAnchor<'static>>,
    /// The same candidates, in the same order.
    pub found: Vec<Root>,
}

pub(crate) struct Root {
    pub der: CertificateDer<'static>,
    pub place: Rc<PathBuf>,
}

impl Root {
    pub(super) fn shown_place(&self) -> String {
        format!("in {}", self.place.display())
    }
}

impl<'a> Roots<'a> {
    /// An empty set for the chain that begins with `leaf`. A certificate that cannot be parsed has no issuer.
    pub(crate) fn for_chain(leaf: &'a CertificateDer<'a>, intermediates: &[CertificateDer<'_>]) -> Roots<'a> {
        let issuer = |der: &CertificateDer<'_>| {
            let certificate = webpki::EndEntityCert::try_from(der).ok()?;
            Some(Finder::new(certificate.issuer()).into_owned())
        };
        let issuers: Vec<_> = std::iter::once(leaf).chain(intermediates).filter_map(issuer).collect();
        Roots {
            leaf,
            leaf_in_base64: STANDARD.encode(leaf),
            issuers_in_base64: issuers.iter().flat_map(|issuer| in_base64(issuer.needle())).collect(),
            issuers,
            has_seen_any: false,
            pinned: false,
            anchors: Vec::new(),
            found: Vec::new(),
        }
    }

    pub(super) fn has_candidates(&self) -> bool {
        self.pinned || !self.found.is_empty()
    }

    /// Adds the certificates of a file that matter for the chain.
    pub(crate) fn take_all(&mut self, pem: impl Read, place: &Path) {
        let place = Rc::new(place.to_path_buf());
        let mut der = Vec::new();
        each_base64(pem, |base64| {
            self.has_seen_any = true;
            if self.may_bear_on_chain(base64) && decode(base64, &mut der) {
                self.take(&CertificateDer::from(der.as_slice()), &place);
            }
        });
    }

    /// Searching in base64 is cheaper than decoding it.
    fn may_bear_on_chain(&self, base64: &[u8]) -> bool {
        has_blanks(base64)
            || base64 == self.leaf_in_base64.as_bytes()
            || self.issuers_in_base64.iter().any(|issuer| issuer.find(base64).is_some())
    }

    /// Adds a certificate if it matters for the chain.
    pub(crate) fn take(&mut self, der: &CertificateDer<'_>, place: &Rc<PathBuf>) {
        self.has_seen_any = true;
        self.pinned |= der == self.leaf;
        // Searching for the name is cheaper than parsing every certificate.
        if self.issuers.iter().all(|issuer| issuer.find(der).is_none()) {
            return;
        }
        if let Ok(anchor) = webpki::anchor_from_trusted_cert(der)
            && self.issuers.iter().any(|issuer| issuer.needle() == anchor.subject.as_ref())
            && self.found.iter().all(|root| root.der != *der)
        {
            self.anchors.push(anchor.to_owned());
            self.found.push(Root { der: der.clone().into_owned(), place: Rc::clone(place) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Certificates that end in each place of a piece, and one that is larger than a piece.
    #[test]
    fn certificates_are_found_wherever_a_piece_ends() {
        let certificate = |length| {
            let base64 = STANDARD.encode(vec![7; length]);
            format!("text\n-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
        };
        let lengths: Vec<usize> = (0..400).chain([3 * PIECE_BYTES, 1, PIECE_BYTES]).collect();
        let pem: String = lengths.iter().map(|&length| certificate(length)).collect();
        let found: Vec<usize> = certificates(pem.as_bytes()).iter().map(|der| der.len()).collect();
        assert_eq!(found, lengths);
    }

    #[test]
    fn a_part_of_a_certificate_is_found_in_base64_wherever_it_begins() {
        let bytes: Vec<u8> = (0_u8..60).map(|number| number.wrapping_mul(97)).collect();
        for (begin, end) in (0..30).flat_map(|begin| (begin..=60).map(move |end| (begin, end))) {
            let base64 = STANDARD.encode(&bytes);
            let is_found = in_base64(&bytes[begin..end])
                .iter()
                .any(|part| part.find(base64.as_bytes()).is_some_and(|at| at / 4 <= begin / 3 + 1));
            assert!(is_found, "{begin}..{end}");
        }
    }
}
