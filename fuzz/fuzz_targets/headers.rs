//! `Retry-After` and `Date`.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use monitoring_token::http::clock_offset_seconds;
use monitoring_token::http::retry::parse_retry_after;

fuzz_target!(|input: (u32, &str)| {
    let now = UNIX_EPOCH + Duration::from_secs(u64::from(input.0));
    let pause = parse_retry_after(input.1, now);
    let offset = clock_offset_seconds(input.1, now);
    if let (Some(pause), Some(offset)) = (pause, offset) {
        // A date in the past means no pause.
        assert_eq!(pause.is_zero(), offset >= 0);
    }
});
