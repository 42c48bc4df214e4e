//! A bundle of certificates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::trust::pem_certificates;

fuzz_target!(|pem: &[u8]| {
    let bytes: usize = pem_certificates(pem).map(|der| der.len()).sum();
    assert!(bytes <= pem.len());
});
