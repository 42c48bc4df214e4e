//! A key file is refused with a reason or can sign, and can be inspected without a panic.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use monitoring_token::key::{PrivateKey, inspect};
use monitoring_token::key::sign::monitoring_jwt;

fuzz_target!(|json: &[u8]| {
    match PrivateKey::from_jwk(json) {
        Ok(key) => {
            let sound = key.check().is_ok();
            assert_eq!(monitoring_jwt(&key, "m", SystemTime::now()).is_ok(), sound);
        }
        Err(refusal) => assert!(!refusal.is_empty()),
    }
    let _ = inspect(json);
});
