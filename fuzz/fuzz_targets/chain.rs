//! The certificates that a server sends, one after the other as DER.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::{TrustStore, verify_chain};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

fuzz_target!(|der: &[u8]| {
    let mut rest = der;
    let mut sent = Vec::new();
    // A sequence with a length of two bytes, as in nearly all certificates.
    while let Some((&[0x30, 0x82, high, low], _)) = rest.split_first_chunk() {
        let length = 4 + usize::from(u16::from_be_bytes([high, low]));
        let (one, after) = rest.split_at(length.min(rest.len()));
        sent.push(CertificateDer::from(one));
        rest = after;
    }
    let pem = include_bytes!("../corpus/root.pem").to_vec();
    let extra_pem = Some(("the bundle".to_owned(), pem));
    let trust = TrustStore { extra: None, extra_pem, files: Vec::new(), dirs: Vec::new() };
    let name = ServerName::try_from("localhost").expect("a name");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let _ = verify_chain(trust, &sent, &name, now);
});
