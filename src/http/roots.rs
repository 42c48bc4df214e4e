//! Searches PEM bundles for the certificates that matter for a server's chain: roots that may have issued it, and the
//! server's own certificate, if it is pinned.
//!
//! A bundle holds more than a hundred roots, and usually only one is needed. So certificates are compared by their
//! subject, which is found in base64, and only a match is decoded and parsed. Searching Debian's bundle for the names took
//! 0.5 million instructions more (12 % of a run over https), and parsing all of it with rustls 7 million more.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::{self, Finder};
use memchr::{memchr, memchr_iter, memchr2, memchr3};
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// How much of a bundle is in memory at a time. All of Debian's would cost 50 more page faults, for 220 KB.
const PIECE_BYTES: usize = 16 * 1024;

/// How many characters of a certificate are searched for its subject. In Debian's bundle, each begins within 400.
const HEAD_CHARS: usize = 512;
/// The usual length of a line (RFC 7468, 2).
const LINE_CHARS: usize = 64;

/// The certificates of a PEM file (RFC 7468) as DER. Like Go, skips invalid base64.
pub fn certificates(pem: impl Read) -> Vec<CertificateDer<'static>> {
    let (mut found, mut base64, mut der) = (Vec::new(), Vec::new(), Vec::new());
    each_text(pem, |text| {
        if decode(text, &mut base64, &mut der) {
            found.push(CertificateDer::from(der.clone()));
        }
    });
    found
}

/// Passes on what is between the first and the last line of each certificate. An error of `pem` counts as its end.
fn each_text(mut pem: impl Read, mut seen: impl FnMut(&[u8])) {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let begin = Finder::new("-----BEGIN CERTIFICATE-----");
    let (mut piece, mut filled) = (vec![0; PIECE_BYTES], 0);
    while let Ok(length @ 1..) = pem.read(&mut piece[filled..]) {
        filled += length;
        let mut rest = &piece[..filled];
        while let Some(at) = begin.find(rest) {
            rest = &rest[at..];
            let inside = &rest[begin.needle().len()..];
            let end = memchr_iter(b'-', inside).find(|&at| inside[at..].starts_with(END));
            let Some(length) = end else { break };
            seen(&inside[..length]);
            rest = &inside[length + END.len()..];
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

/// If the lines do not have the usual length, whitespace may be left between some of them.
fn join_lines(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = text;
    while !rest.is_empty() {
        let end = match rest.get(LINE_CHARS) {
            Some(b'\n') => LINE_CHARS + 1,
            _ => memchr(b'\n', rest).unwrap_or(rest.len() - 1) + 1,
        };
        let (line, after) = rest.split_at(end);
        out.extend_from_slice(line.trim_ascii());
        rest = after;
    }
}

fn decode(text: &[u8], base64: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    const MARK: &[u8] = b"-----BEGINCERTIFICATE-----";
    join_lines(text, base64);
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
    memchr3(b' ', b'\t', b'\n', joined).is_some() || memchr2(b'\r', b'\x0c', joined).is_some()
}

/// Where the subject of a certificate is in its DER (RFC 5280, 4.1). `base64` is its beginning; `None` if more is needed.
fn subject(base64: &[u8]) -> Option<Range<usize>> {
    const VERSION: u8 = 0xa0;
    let (_certificate, content) = element(base64, 0)?;
    let (_to_be_signed, content) = element(base64, content.start)?;
    let mut at = content.start;
    if let (VERSION, version) = element(base64, at)? {
        at = version.end;
    }
    for _ in ["serial number", "signature algorithm", "issuer", "validity"] {
        at = element(base64, at)?.1.end;
    }
    Some(element(base64, at)?.1)
}

/// The tag of the element at this place of some DER, and where its content is.
fn element(base64: &[u8], at: usize) -> Option<(u8, Range<usize>)> {
    let bits = groups(base64, &(at..at + 4))?
        .iter()
        .try_fold(0, |bits, &symbol| Some(bits << 6 | u64::from(value(symbol)?)))?;
    let [tag, first, second, third, ..] = (bits << (16 + at % 3 * 8)).to_be_bytes();
    let (header, length) = match first {
        ..=0x7f => (2, u16::from(first)),
        0x81 => (3, second.into()),
        0x82 => (4, u16::from_be_bytes([second, third])),
        _ => return None,
    };
    Some((tag, at + header..at + header + usize::from(length)))
}

/// The bits that a character of base64 stands for. For so few of them, the decoder takes four times as long.
fn value(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The groups of four characters that hold these bytes.
fn groups<'a>(base64: &'a [u8], bytes: &Range<usize>) -> Option<&'a [u8]> {
    base64.get(bytes.start / 3 * 4..bytes.end.div_ceil(3) * 4)
}

/// The certificates of the trust store that matter for one chain. [`super::chain`] decides whether a candidate may
/// sign.
pub(crate) struct Roots<'a> {
    leaf: &'a CertificateDer<'a>,
    leaf_in_base64: String,
    /// The names of the issuers in the chain.
    issuers: Vec<Vec<u8>>,
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
            Some(certificate.issuer().to_vec())
        };
        Roots {
            leaf,
            leaf_in_base64: STANDARD.encode(leaf),
            issuers: std::iter::once(leaf).chain(intermediates).filter_map(issuer).collect(),
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
        let (mut base64, mut der) = (Vec::new(), Vec::new());
        each_text(pem, |text| {
            self.has_seen_any = true;
            if self.may_matter(text, &mut base64) && decode(text, &mut base64, &mut der) {
                self.take(&CertificateDer::from(der.as_slice()), &place);
            }
        });
    }

    /// False if the subject is another one. Finding it in base64 is cheaper than decoding all.
    fn may_matter(&self, text: &[u8], head: &mut Vec<u8>) -> bool {
        join_lines(&text[..text.len().min(HEAD_CHARS)], head);
        // Another one without an end may be in front of it.
        if memchr(b'-', text).is_some()
            || has_blanks(head)
            || self.leaf_in_base64.as_bytes().starts_with(head)
        {
            return true;
        }
        let Some(subject) = subject(head) else { return true };
        let mut issuers = self.issuers.iter().filter(|issuer| issuer.len() == subject.len()).peekable();
        if issuers.peek().is_none() {
            return false;
        }
        let found = groups(head, &subject).and_then(|groups| STANDARD.decode(groups).ok());
        found.is_none_or(|found| issuers.any(|issuer| found[subject.start % 3..].starts_with(issuer)))
    }

    /// Adds a certificate if it matters for the chain.
    pub(crate) fn take(&mut self, der: &CertificateDer<'_>, place: &Rc<PathBuf>) {
        self.has_seen_any = true;
        self.pinned |= der == self.leaf;
        // Searching for the name is cheaper than parsing every certificate.
        if self.issuers.iter().all(|issuer| memmem::find(der, issuer).is_none()) {
            return;
        }
        if let Ok(anchor) = webpki::anchor_from_trusted_cert(der)
            && self.issuers.iter().any(|issuer| issuer == anchor.subject.as_ref())
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
    fn a_root_is_found_by_its_subject_wherever_that_begins_and_ends() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = |name: usize, serial: usize| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, "x".repeat(name));
            params.serial_number = Some(vec![1; serial].into());
            params.self_signed(&key).unwrap().der().clone()
        };
        for name in (1..700).step_by(11) {
            let (leaf, root, other) =
                (certificate(name, 20), certificate(name, name % 19 + 1), certificate(name + 1, 9));
            let pem = |der: &[u8], width, end: &str| {
                let base64 = STANDARD.encode(der);
                let lines = base64.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap());
                let lines = lines.collect::<Vec<_>>().join(end);
                format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
            };
            for (width, end) in
                [(64, "\n"), (64, "\r\n"), (76, "\n"), (12, "\n"), (7, " \n\t"), (9999, ""), (64, " ")]
            {
                let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
                let pem = [&other, &root, &other].map(|der| pem(der, width, end)).join(cut);
                let mut roots = Roots::for_chain(&leaf, &[]);
                roots.take_all(pem.as_bytes(), Path::new("roots"));
                let found: Vec<_> = roots.found.iter().map(|root| &root.der).collect();
                assert_eq!(found, [&root], "{name} {width} {end:?}");
            }
            let (subject, anchor) = (
                subject(&STANDARD.encode(&root).into_bytes()),
                webpki::anchor_from_trusted_cert(&root).unwrap(),
            );
            assert_eq!(&root[subject.unwrap()], anchor.subject.as_ref());
        }
    }
}
