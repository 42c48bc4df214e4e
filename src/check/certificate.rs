//! What a server's certificate says of itself, for people.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

const DAY_SECONDS: i64 = 24 * 3600;

/// Issuer and days left, in words and as figures; `None` if it cannot be read.
pub fn describe(der: &[u8], now: SystemTime) -> Option<(String, Value)> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).ok();
    let not_after = seconds(certificate.validity.not_after.to_unix_duration())?;
    let now = seconds(now.duration_since(UNIX_EPOCH).unwrap_or_default())?;
    let days = (not_after - now).div_euclid(DAY_SECONDS);
    // RFC 4514, the most particular part first.
    let issuer = certificate.issuer.to_string();
    let data = json!({"issuer": issuer, "days_left": days, "not_after_unix_seconds": not_after});
    Some((format!("certificate by {issuer}, {days} days left"), data))
}
