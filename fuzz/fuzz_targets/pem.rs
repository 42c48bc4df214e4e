//! A bundle of certificates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::roots::certificates;

fuzz_target!(|pem: &[u8]| {
    let bytes: usize = certificates(pem).iter().map(|der| der.len()).sum();
    assert!(bytes <= pem.len());
});
