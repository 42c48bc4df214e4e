//! A stream with secrets in it, in any form and split anywhere: none is left in the output.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::secret::Secrets;

const SECRETS: [&str; 4] = [
    "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4",
    "gt-kkkkkkkkkkkkkkkkkkkkkk.0987654321ZYXWVUTSRQPO",
    "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJtIn0.a1b2c3d4e5f6g7h8i9j0k1l2m3n4",
    "hunter2%5c",
];

fn write(secret: &str, form: u8) -> String {
    let each = |write: fn(char) -> String| secret.chars().map(write).collect();
    match form % 10 {
        0 => secret.to_owned(),
        1 => secret.to_uppercase(),
        2 => each(|c| format!("%{:02X}", c as u32)),
        3 => each(|c| format!("\\u{:04x}", c as u32)),
        4 => each(|c| format!("&#{};", c as u32)),
        5 => each(|c| format!("%5cx{:02x}", c as u32)),
        6 => each(|c| format!("{c}\x1b[1;31m")),
        7 => each(|c| format!("{c}\u{200b}")),
        8 => each(|c| format!("{c}=\n")),
        _ => each(|c| format!("{:02x} ", c as u32)),
    }
}

/// A form of the secret, and the text before it.
type Part<'a> = (u8, &'a [u8]);

fuzz_target!(|input: (u8, Vec<Part>, Vec<u16>)| {
    let (which, parts, cuts) = input;
    let secret = SECRETS[usize::from(which) % SECRETS.len()];
    let mut secrets = Secrets::new();
    secrets.protect(secret);
    let mut text = Vec::new();
    for (form, between) in parts {
        text.extend_from_slice(between);
        if form < 200 {
            text.extend_from_slice(write(secret, form).as_bytes());
        }
    }
    let (mut mask, mut out) = (secrets.mask(), Vec::new());
    let mut rest = &text[..];
    for cut in cuts {
        let (left, right) = rest.split_at(usize::from(cut) % (rest.len() + 1));
        mask.push(left, &mut out);
        rest = right;
    }
    mask.push(rest, &mut out);
    mask.release(&mut out);
    let scrubbed = secrets.scrub_bytes(&out);
    assert!(scrubbed == out, "{} became {}", text.escape_ascii(), out.escape_ascii());
});
