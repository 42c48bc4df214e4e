//! Random words, from the system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), String> {
    SystemRandom::new().fill(bytes).map_err(|_| "the system random number generator failed".to_owned())
}

/// A word that fits into a URL: `bytes` random bytes in base64url.
pub(crate) fn word(bytes: usize) -> Result<String, String> {
    let mut random = vec![0; bytes];
    fill(&mut random)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn uuid() -> Result<String, String> {
    let mut b = [0_u8; 16];
    fill(&mut b)?;
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(b));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
