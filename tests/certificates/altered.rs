//! Certificates with a part that is missing, empty, cut off or there twice. Anyone can send them, with no proof of who
//! they are.

use std::time::Duration;

use monitoring_token::http::{TrustStore, verify_chain};
use rustls::pki_types::{ServerName, UnixTime};

use crate::support::chains::{self, Der};
use crate::support::job::Folder;
use crate::support::tls::pem_of;

const BIT_STRING: u8 = 3;
const OCTET_STRING: u8 = 4;
const CONSTRUCTED: u8 = 0x20;

/// Tag, content and length of the element that `der` begins with (X.690, 8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x83 => {
            let digits = usize::from(first - 0x80);
            (rest.get(..digits)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), 2 + digits)
        }
        _ => return None,
    };
    Some((tag, der.get(header..header + length)?, header + length))
}

fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    match content.len() {
        0..0x80 => [&[tag, length[3]], content].concat(),
        0x80..0x100 => [&[tag, 0x81, length[3]], content].concat(),
        _ => [&[tag, 0x82, length[2], length[3]], content].concat(),
    }
}

type Alteration = fn(u8, &[u8]) -> Vec<u8>;

/// In place of an element with this tag and content.
const ALTERATIONS: [Alteration; 6] = [
    |tag, _| encoded(tag, &[]),
    |_, _| Vec::new(),
    |tag, content| [encoded(tag, content), encoded(tag, content)].concat(),
    |tag, content| encoded(tag ^ 1, content),
    |tag, content| encoded(tag, content.split_last().map_or(&[], |(_, rest)| rest)),
    |tag, content| encoded(tag, &content.iter().map(|byte| !byte).collect::<Vec<_>>()),
];

/// `der` with one element altered, at any depth. `left` is how many others are in front of it.
fn alter(der: &[u8], left: &mut Option<usize>, alteration: Alteration) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), der);
    while let (Some(count), Some((tag, content, length))) = (*left, element(rest)) {
        rest = &rest[length..];
        if count == 0 {
            *left = None;
            out.extend(alteration(tag, content));
            continue;
        }
        *left = Some(count - 1);
        let inside = match (tag, content) {
            (BIT_STRING, [_unused, inside @ ..]) => inside,
            _ if tag & CONSTRUCTED != 0 || tag == OCTET_STRING => content,
            _ => &[],
        };
        let before = &content[..content.len() - inside.len()];
        out.extend(encoded(tag, &[before, &alter(inside, left, alteration)].concat()));
    }
    out.extend(rest);
    out
}

/// Most alterations lead to the same few errors, so only one in this many is tried, except for empty elements.
const STEP: usize = 32;

fn altered(der: &Der) -> impl Iterator<Item = Der> + '_ {
    let all =
        (0..).flat_map(|at| ALTERATIONS.into_iter().enumerate().map(move |(kind, how)| (at, kind, how)));
    let tried = all.filter(|(at, kind, _)| *kind == 0 || (at * ALTERATIONS.len() + kind) % STEP == 1);
    tried.map_while(|(at, _, how)| {
        let mut left = Some(at);
        let der = alter(der, &mut left, how);
        left.is_none().then(|| der.into())
    })
}

fn store(folder: &Folder, name: &str, roots: &[Der]) -> TrustStore {
    let file = folder.path(name);
    std::fs::write(&file, roots.iter().map(pem_of).collect::<String>()).unwrap();
    TrustStore { extra: None, extra_pem: None, files: vec![file], dirs: Vec::new() }
}

/// A certificate without an issuer once ended the program, and the token of an `exec` was left.
#[test]
fn no_altered_certificate_stops_the_program_or_changes_the_verdict_on_a_sound_one() {
    let folder = Folder::new();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let mut tried = 0;
    for case in chains::all().into_iter().step_by(5) {
        let Ok(name) = ServerName::try_from(case.host.trim_matches(['[', ']'])) else { continue };
        let verify = |roots: &TrustStore, sent: &[Der]| {
            let result = verify_chain(roots.clone(), sent, &name, now);
            let words = result.as_ref().err().map_or("", String::as_str);
            assert!(words.len() < 1500 && !words.contains(char::is_control), "{}: {words}", case.name);
            result.is_ok()
        };
        let roots = store(&folder, "roots.pem", &case.roots);
        let server = &case.server;
        let sent: Vec<Der> =
            [&server.certificate].into_iter().chain(&server.intermediates).cloned().collect();
        let is_trusted = verify(&roots, &sent);
        for (at, one) in sent.iter().enumerate().take(3) {
            for other in altered(one) {
                let also = [&sent[..], std::slice::from_ref(&other)].concat();
                assert_eq!(verify(&roots, &also), is_trusted, "{}", case.name);
                verify(&roots, &[&sent[..at], &[other], &sent[at + 1..]].concat());
                tried += 1;
            }
        }
        for (at, root) in case.roots.iter().enumerate() {
            for other in altered(root) {
                let others = [&case.roots[..at], &[other], &case.roots[at + 1..]].concat();
                verify(&store(&folder, "altered.pem", &others), &sent);
                tried += 1;
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}
