//! A bundle of certificates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::roots::each_certificate;

fuzz_target!(|pem: &[u8]| {
    let mut bytes = 0;
    each_certificate(pem, |der| bytes += der.len());
    assert!(bytes <= pem.len());
});
