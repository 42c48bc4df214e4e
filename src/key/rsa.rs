//! Checks the parts of a private RSA key, and explains why ring could not sign with it.
#![expect(clippy::many_single_char_names, reason = "the names of RFC 7518")]

use ::rsa::traits::PrivateKeyParts as _;
use ::rsa::{BigUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::Unusable;
use super::members::{Bytes, Members};
use super::pair;

/// The sizes that ring signs with: both primes must be a multiple of 512 bits long.
const SIZES: [usize; 3] = [2048, 3072, 4096];
/// ring's limits, in bytes and as a number (FIPS 186-4, B.3.1).
const LONGEST_EXPONENT: usize = 5;
const LEAST_EXPONENT: u64 = 65537;
const LARGEST_EXPONENT: u64 = (1 << 33) - 1;

/// The parts in the form that [`pair`] reads: n, e, d, p, q, dp, dq, qi.
pub(super) fn parts(members: &Members) -> Result<Bytes, Unusable> {
    let number = |name| members.number(name);
    let [n, e] = [number("n")?, number("e")?];
    check_size(&n)?;
    check_exponent(&e)?;
    if members.text("p").is_none() && members.text("q").is_none() {
        return Err("\"p\" and \"q\" are missing; a private RSA key needs n, e, d, p and q".to_owned());
    }
    if members.has("oth") {
        return Err("RSA keys with more than two primes (\"oth\") are not supported".to_owned());
    }
    let [d, p, q] = [number("d")?, number("p")?, number("q")?];
    let half = bits(&n).div_ceil(2);
    if bits(&p) != half || bits(&q) != half {
        let [p, q] = [bits(&p), bits(&q)];
        return Err(format!(
            "its primes have {p} and {q} bits, which is not supported; both must have {half}"
        ));
    }
    let given = ["dp", "dq", "qi"].iter().all(|name| members.text(name).is_some());
    let [dp, dq, qi] =
        if given { [number("dp")?, number("dq")?, number("qi")?] } else { derived([&n, &e, &d, &p, &q])? };
    Ok(pair::join(&[&n, &e, &d, &p, &q, &dp, &dq, &qi]))
}

/// dp, dq and qi, which some tools leave out (RFC 7518, 6.3.2: they may not, and Go computes them).
fn derived(given: [&Bytes; 5]) -> Result<[Bytes; 3], Unusable> {
    let [n, e, d, p, q] = given.map(|number| BigUint::from_bytes_be(number));
    let key = RsaPrivateKey::from_components(n, e, d, vec![p, q]).ok();
    key.as_ref().and_then(crt_parts).ok_or_else(|| "the public and private parts do not match".to_owned())
}

/// dp, dq and qi.
pub(super) fn crt_parts(key: &RsaPrivateKey) -> Option<[Bytes; 3]> {
    let bytes = |number: &BigUint| Zeroizing::new(number.to_bytes_be());
    Some([bytes(key.dp()?), bytes(key.dq()?), bytes(&key.crt_coefficient()?)])
}

/// The length in bits of a number without leading zeros.
pub(super) fn bits(number: &[u8]) -> usize {
    number.len() * 8 - number.first().map_or(0, |first| first.leading_zeros() as usize)
}

fn check_size(modulus: &[u8]) -> Result<(), Unusable> {
    let bits = bits(modulus);
    // The product of two primes of full length may be one bit shorter.
    if SIZES.iter().any(|&size| bits == size || bits + 1 == size) {
        return Ok(());
    }
    let why = if bits < SIZES[0] { "is too short" } else { "is not supported" };
    Err(format!("an RSA key of {bits} bits {why}; use one of 2048, 3072 or 4096 bits"))
}

fn check_exponent(exponent: &[u8]) -> Result<(), Unusable> {
    let value = (exponent.len() <= LONGEST_EXPONENT)
        .then(|| exponent.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte)));
    let wrong = match value {
        Some(value) if value < LEAST_EXPONENT => format!("too small ({value})"),
        Some(value) if value > LARGEST_EXPONENT => format!("too large ({value})"),
        Some(value) if value % 2 == 0 => format!("even ({value})"),
        Some(_) => return Ok(()),
        None => format!("too large ({} bytes)", exponent.len()),
    };
    Err(format!("the RSA public exponent is {wrong}; use 65537"))
}
