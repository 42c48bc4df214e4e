//! A stream with a secret in it, split anywhere: the output is the input with the secret replaced.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::secret::Secrets;

const SECRET: &str = "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4";

fuzz_target!(|input: (&[u8], &[u8], usize)| {
    let (before, after, cut) = input;
    let text = [before, SECRET.as_bytes(), after].concat();
    let mut secrets = Secrets::new();
    secrets.protect(SECRET);
    let (mut mask, mut out) = (secrets.mask(), Vec::new());
    let (left, right) = text.split_at(cut % (text.len() + 1));
    mask.push(left, &mut out);
    mask.push(right, &mut out);
    mask.release(&mut out);
    assert!(out.windows(3).any(|window| window == b"***"));
    let piece = &SECRET.as_bytes()[..12];
    assert!(!out.windows(piece.len()).any(|window| window == piece));
});
