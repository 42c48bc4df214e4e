//! Masking a stream: whatever the secret, its form, the text around it and the position of the split, the output is the
//! input with the secret replaced.

use monitoring_token::secret::{MASK, Mask, REDACTED, Secrets};
use proptest::prelude::*;

use super::scrub::{BASE64, FORMS, any_secret, html, json, percent};

fn secrets(secret: &str) -> Secrets {
    let mut secrets = Secrets::new();
    secrets.protect(secret);
    secrets
}

/// Pushes these pieces, and releases the rest.
fn passed_on<'a>(mask: &mut Mask, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        mask.push(piece, &mut out);
    }
    mask.release(&mut out);
    assert!(!mask.is_holding());
    out
}

/// The same text at once, through the code that is not for streams.
fn whole(secret: &str, text: &[u8]) -> Vec<u8> {
    let scrubbed = secrets(secret).scrub_bytes(text);
    let mut out = Vec::new();
    let mut rest = &scrubbed[..];
    while let Some(at) = rest.windows(REDACTED.len()).position(|window| window == REDACTED.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(MASK);
        rest = &rest[at + REDACTED.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn split<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

fn around() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        any::<String>().prop_map(String::into_bytes),
        "[%&#\\\\x0-9a-f=\"; <>\n-]{0,30}".prop_map(String::into_bytes),
        prop::collection::vec(Just(b' '), 0..400),
    ]
}

/// Text that cannot be part of an escape.
fn quiet() -> impl Strategy<Value = Vec<u8>> {
    "[g-z ,.:\n]{0,60}".prop_map(String::into_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_as_it_stands_is_replaced_exactly(
        secret in any_secret(),
        before in around(),
        after in around(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let text = [&before[..], secret.as_bytes(), &after].concat();
        let out = passed_on(&mut secrets(&secret).mask(), split(&text, &cuts));
        let expected = [&before[..], MASK, &after].concat();
        prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn a_stream_is_masked_as_a_text_is(
        secret in "[A-Za-z0-9_-]{40}",
        form in 0..FORMS.len() + BASE64.len(),
        before in quiet(),
        between in quiet(),
        after in quiet(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let (name, write) = FORMS.iter().chain(BASE64).nth(form).unwrap();
        let written = write(&secret);
        let text = [&before[..], written.as_bytes(), &between, written.as_bytes(), &after].concat();
        let out = passed_on(&mut secrets(&secret).mask(), split(&text, &cuts));
        let expected = whole(&secret, &text);
        prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{}", name);
    }

    #[test]
    fn other_bytes_are_passed_on_as_they_are(
        secret in any_secret(),
        text in prop::collection::vec(any::<u8>(), 0..6000),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        prop_assert!(passed_on(&mut secrets(&secret).mask(), split(&text, &cuts)) == text);
    }
}

#[test]
fn a_secret_is_replaced_wherever_it_is_split() {
    const SECRET: &str = "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4";
    for (name, write) in FORMS.iter().chain(BASE64) {
        let text = format!("before <{}> after", write(SECRET));
        let expected = whole(SECRET, text.as_bytes());
        assert!(expected.windows(MASK.len()).any(|window| window == MASK), "{name}");
        // Every position in one form, and some in the others.
        let step = if *name == "raw" { 1 } else { 23 };
        for cut in (0..text.len()).step_by(step) {
            let (left, right) = text.as_bytes().split_at(cut);
            let out = passed_on(&mut secrets(SECRET).mask(), [left, right]);
            assert_eq!(
                out.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{name}, cut at {cut}"
            );
        }
        let out = passed_on(&mut secrets(SECRET).mask(), text.as_bytes().chunks(5));
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}, bit by bit");
    }
}

/// A token has a public part, which is replaced with the rest. A terminal's sequences make it much longer.
#[test]
fn a_token_with_terminal_sequences_in_it_is_replaced_as_a_whole() {
    let claims =
        "eyJpc3MiOiJtb25pdG9yaW5nIiwic3ViIjoibWxhYjEtbGdhMHQubWxhYi1zYW5kYm94Lm1lYXN1cmVtZW50LWxhYi5vcmcifQ";
    let token = format!(
        "eyJhbGciOiJFZERTQSIsImtpZCI6InNhbmRib3gifQ.{claims}.Zq3-vU8_xT5kR0mN7pL2wJ9yH4Zq3-vU8_xT5kR0"
    );
    for (sequence, every) in
        [("\x1b[1;31m", 1), ("\x1b[0m\x1b[38;5;196m", 1), ("\x1b[K", 20), ("\x1b[0m", 70)]
    {
        let parts = token.as_bytes().chunks(every).map(|part| std::str::from_utf8(part).unwrap());
        let text = format!("before {} after", parts.collect::<Vec<_>>().join(sequence));
        let cuts = (0..text.len()).step_by(41).map(|cut| vec![cut]);
        for cuts in cuts.chain([(0..text.len()).step_by(7).collect()]) {
            let out = passed_on(&mut secrets(&token).mask(), split(text.as_bytes(), &cuts));
            let shown = out.escape_ascii().to_string();
            assert_eq!(shown, "before *** after", "{sequence:?} every {every}, cut at {cuts:?}");
        }
    }
}

/// ESC and `[` begin a terminal sequence, which the secret's first letter would end.
#[test]
fn a_secret_that_stands_in_a_terminal_sequence_is_replaced() {
    for secret in ["abcdefghijkl", "0123;5678=012345m", "pass"] {
        let text = format!("\x1b[{secret}\x1b[1{secret} \x1b[0m");
        let expected = "\x1b[***\x1b[1*** \x1b[0m";
        for cut in 0..text.len() {
            let out = passed_on(&mut secrets(secret).mask(), split(text.as_bytes(), &[cut]));
            assert_eq!(
                out.escape_ascii().to_string(),
                expected.as_bytes().escape_ascii().to_string(),
                "cut at {cut}"
            );
        }
    }
}

/// Without repetitions.
fn large_secret(bytes: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = 1_u64;
    let next = |_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(ALPHABET[(random >> 58) as usize])
    };
    (0..bytes).map(next).collect()
}

/// Of a secret of more than 8 KiB, only the beginning and the end were once searched for.
#[test]
fn a_large_secret_is_replaced_from_its_first_to_its_last_character() {
    let secret = large_secret(10_000);
    let mut protected = secrets(&secret);
    let other_case = |name: &str| name.contains(" of upper case");
    for (name, write) in FORMS.iter().chain(BASE64).filter(|(name, _)| !other_case(name)) {
        let text = format!("before {} after", write(&secret));
        for size in [777, 24 * 1024] {
            let out = passed_on(&mut protected.mask(), text.as_bytes().chunks(size));
            let shown = out.escape_ascii().to_string();
            assert!(shown.len() <= "before *** after".len() + 24, "{name}, {size}: {shown:.200}");
            assert_eq!(shown.matches("***").count(), 1, "{name}, {size}: {shown}");
            assert!(shown.starts_with("before ") && shown.ends_with(" after"), "{name}, {size}: {shown}");
        }
    }
}

#[test]
fn a_part_of_the_largest_secret_is_replaced() {
    let secret = large_secret(64 * 1024);
    let mut mask = secrets(&secret).mask();
    for at in (0..secret.len() - 12).step_by(1234) {
        let part = &secret[at..at + 12];
        for written in [part, &percent(part), &json(part), &html(part)] {
            let out = passed_on(&mut mask, [format!("<{written}>").as_bytes()]);
            assert_eq!(out, b"<***>", "{written}");
        }
    }
}

#[test]
fn released_output_is_remembered() {
    const SECRET: &str = "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4";
    let mut mask = secrets(SECRET).mask();
    let mut out = Vec::new();
    mask.push(format!("a{}", &SECRET[..5]).as_bytes(), &mut out);
    assert_eq!((out.as_slice(), mask.is_holding()), (&b"a"[..], true));
    mask.release(&mut out);
    assert_eq!(out, b"aZq3-v");
    mask.push(&SECRET.as_bytes()[5..20], &mut out);
    assert_eq!(out, b"aZq3-v***");
    mask.push(&SECRET.as_bytes()[20..], &mut out);
    mask.push(b" b! ", &mut out);
    assert_eq!(out, b"aZq3-v*** b! ");
}

#[test]
fn a_long_stream_with_many_secrets_loses_nothing() {
    const SECRET: &str = "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4";
    let line = |number: usize| {
        let text = if number.is_multiple_of(7) { SECRET } else { "and nothing" };
        format!("line {number}: {text} %20 &amp; \u{200b}\n")
    };
    let text: String = (0..120).map(line).collect();
    let expected = text.replace(SECRET, "***");
    for size in [11, 4096] {
        let out = passed_on(&mut secrets(SECRET).mask(), text.as_bytes().chunks(size));
        assert!(out == expected.as_bytes(), "{size}");
    }
}

/// Such a wrap was once skipped twice, and the count of the remaining bytes ended the program.
#[test]
fn a_line_wrap_in_a_terminal_sequence_does_no_harm() {
    let secret = "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4";
    let text = format!("\x1b[<br>{secret}\x1b[=\n\x1b[<wbr />\x1b[<");
    let out = passed_on(&mut secrets(secret).mask(), [text.as_bytes()]);
    assert_eq!(out, text.replace(secret, "***").as_bytes());
}

/// The bytes between two reads and a sequence that the second read cut off were once looked at apart from those before.
#[test]
fn a_secret_that_two_reads_share_is_replaced_before_a_sequence_that_is_cut_off() {
    const SECRET: &str = "Zq3-vU8_xT5kR0mN7pL2wJ";
    for (cut, room) in (1..SECRET.len()).flat_map(|cut| (0..64).map(move |room| (cut, room))) {
        let (left, right) = SECRET.split_at(cut);
        let rest = format!("{right}{}\x1b[38;5;196;48;5;21", ".".repeat(room));
        let pieces = [left.as_bytes(), rest.as_bytes(), b"m rest"];
        let out = passed_on(&mut secrets(SECRET).mask(), pieces);
        let expected = pieces.concat().escape_ascii().to_string().replace(SECRET, "***");
        assert_eq!(
            out.escape_ascii().to_string(),
            expected,
            "cut at {cut}, {room} bytes before the sequence"
        );
    }
}
