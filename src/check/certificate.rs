//! The server's certificate, as the row `tls` tells of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::http::certificate;

const DAY_SECONDS: i64 = 24 * 3600;

/// Issuer and days left, in words and as figures; `None` if it cannot be read.
pub fn describe(der: &[u8], now: SystemTime) -> Option<(String, Value)> {
    let certificate::About { issuer, not_after, .. } = certificate::read(der)?;
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
    let not_after = seconds(not_after)?;
    let now = seconds(now.duration_since(UNIX_EPOCH).unwrap_or_default())?;
    let days = (not_after - now).div_euclid(DAY_SECONDS);
    let data = json!({"issuer": issuer, "days_left": days, "not_after_unix_seconds": not_after});
    Some((format!("certificate by {issuer}, {days} days left"), data))
}
