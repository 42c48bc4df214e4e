//! Go's durations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::go::duration::{self, GoDuration};

fuzz_target!(|text: &str| {
    if let Some(GoDuration::NotNegative(duration)) = duration::parse(text) {
        assert!(duration.as_nanos() <= i64::MAX as u128);
        assert!(!duration::show(duration).is_empty());
        if !text.starts_with(['+', '-']) && !duration.is_zero() {
            assert_eq!(duration::parse(&format!("-{text}")), Some(GoDuration::Negative));
        }
    }
});
