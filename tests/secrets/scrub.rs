//! Scrubbing a known secret: any secret, in any form that a server might give it, among any other bytes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use monitoring_token::secret::{MAX_LINE_BYTES, REDACTED, Secrets, clean, printable, shown};
use proptest::prelude::*;

/// A form in which a server may write a secret.
pub type Form = (&'static str, fn(&str) -> String);

fn each(secret: &str, write: impl Fn(char) -> String) -> String {
    secret.chars().map(write).collect()
}

fn punctuation(secret: &str, write: impl Fn(char) -> String) -> String {
    each(secret, |c| if c.is_ascii_alphanumeric() { c.to_string() } else { write(c) })
}

pub fn percent(secret: &str) -> String {
    each(secret, |c| format!("%{:02X}", c as u32))
}

pub fn json(secret: &str) -> String {
    each(secret, |c| format!("\\u{:04x}", c as u32))
}

pub fn html(secret: &str) -> String {
    each(secret, |c| format!("&#{};", c as u32))
}

fn wrapped(secret: &str, width: usize, separator: &str) -> String {
    let chars: Vec<char> = secret.chars().collect();
    chars.chunks(width).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join(separator)
}

/// Forms that are replaced completely.
pub const FORMS: &[Form] = &[
    ("raw", |s| s.to_owned()),
    ("upper case", |s| s.to_uppercase()),
    ("lower case", |s| s.to_lowercase()),
    ("percent", percent),
    ("percent, lower case", |s| percent(s).to_lowercase()),
    ("percent, punctuation", |s| punctuation(s, percent_of)),
    ("percent, every other", |s| {
        s.chars().enumerate().map(|(n, c)| if n % 2 == 0 { percent_of(c) } else { c.to_string() }).collect()
    }),
    ("percent, twice", |s| percent(s).replace('%', "%25")),
    ("percent, the old way", |s| each(s, |c| format!("%u{:04x}", c as u32))),
    ("json", json),
    ("json, upper case", |s| each(s, |c| format!("\\u{:04X}", c as u32))),
    ("json, punctuation", |s| punctuation(s, |c| format!("\\u{:04x}", c as u32))),
    ("json in json", |s| json(s).replace('\\', "\\\\")),
    ("json, a slash", |s| s.replace('/', "\\/")),
    ("rust", |s| each(s, |c| format!("\\u{{{:x}}}", c as u32))),
    ("c", |s| each(s, |c| format!("\\x{:02x}", c as u32))),
    ("octal", |s| each(s, |c| format!("\\{:03o}", c as u32))),
    ("python", |s| each(s, |c| format!("\\U{:08x}", c as u32))),
    ("html", html),
    ("html, hex", |s| each(s, |c| format!("&#x{:x};", c as u32))),
    ("html, hex, zeros", |s| each(s, |c| format!("&#X000{:X};", c as u32))),
    ("html, punctuation", |s| punctuation(s, |c| format!("&#{};", c as u32))),
    ("html, names", |s| {
        s.replace('.', "&period;")
            .replace('_', "&lowbar;")
            .replace('-', "&hyphen;")
            .replace('=', "&equals;")
            .replace('/', "&sol;")
            .replace('+', "&plus;")
    }),
    ("html, twice", |s| html(s).replace('&', "&amp;")),
    ("html of json", |s| json(s).replace('\\', "&#92;")),
    ("percent of json", |s| json(s).replace('\\', "%5c")),
    ("percent of html", |s| html(s).replace('&', "%26").replace('#', "%23").replace(';', "%3B")),
    ("zero width spaces", |s| each(s, |c| format!("{c}\u{200b}"))),
    ("joiners", |s| wrapped(s, 3, "\u{200d}\u{2060}")),
    ("soft hyphens", |s| wrapped(s, 2, "\u{ad}")),
    ("byte order marks", |s| wrapped(s, 4, "\u{feff}")),
    ("directions", |s| format!("\u{202e}{}\u{202c}", wrapped(s, 5, "\u{200f}\u{2066}"))),
    ("percent of zero width spaces", |s| wrapped(s, 3, "%E2%80%8B")),
    ("html of zero width spaces", |s| wrapped(s, 3, "&ZeroWidthSpace;&#8203;&shy;")),
    ("json of zero width spaces", |s| wrapped(s, 3, "\\u200b\\ufeff")),
    ("zeros", |s| each(s, |c| format!("{c}\0"))),
    ("spaces", |s| each(s, |c| format!("{c} "))),
    ("lines", |s| wrapped(s, 8, "\n")),
    ("short lines, indented", |s| wrapped(s, 5, "\r\n        ")),
    ("json of lines", |s| wrapped(s, 7, "\\n")),
    ("html of lines", |s| wrapped(s, 7, "<br>\n")),
    ("shell lines", |s| wrapped(s, 9, "\\\n")),
    ("quoted printable lines", |s| wrapped(s, 11, "=\r\n")),
    ("percent, wrapped anywhere", |s| wrapped(&percent(s), 7, "\n")),
    ("full width", |s| each(s, |c| char::from_u32(c as u32 + 0xfee0).unwrap().to_string())),
    ("colors", |s| wrapped(s, 6, "\u{1b}[01;31m")),
    ("hex", |s| each(s, |c| format!("{:02x}", c as u32))),
    ("a dump", |s| each(s, |c| format!("{:02X} ", c as u32))),
];

/// Forms of which one character or a `=` may be left at an end: it depends on the text beside the secret.
pub const BASE64: &[Form] = &[
    ("base64", |s| STANDARD.encode(s)),
    ("base64url", |s| URL_SAFE_NO_PAD.encode(s)),
    ("base64 behind one", |s| STANDARD.encode(format!(":{s}"))),
    ("base64 behind two", |s| STANDARD.encode(format!("u:{s}\n"))),
    ("base64 of upper case", |s| STANDARD.encode(s.to_uppercase())),
    ("base64 in lower case", |s| STANDARD.encode(s).to_lowercase()),
    ("base64 in lines", |s| wrapped(&STANDARD.encode(s), 20, "\n")),
    ("base64 with percents", |s| {
        STANDARD.encode(s).replace('=', "%3D").replace('+', "%2B").replace('/', "%2F")
    }),
];

/// Lists of bytes, as programs print them. They are replaced in messages, and not in a stream.
pub const LISTED: &[Form] = &[
    ("Go", |s| listed(s, "[", " ", "]", |byte| byte.to_string())),
    ("Go, %#v", |s| listed(s, "[]byte{", ", ", "}", |byte| format!("{byte:#x}"))),
    ("Go, %# x", |s| listed(s, "", " ", "", |byte| format!("{byte:#x}"))),
    ("Go, %b", |s| listed(s, "[", " ", "]", |byte| format!("{byte:b}"))),
    ("Python and Rust", |s| listed(s, "[", ", ", "]", |byte| byte.to_string())),
    ("Rust, {:#?}", |s| listed(s, "[\n    ", ",\n    ", ",\n]", |byte| byte.to_string())),
    ("Rust, {:x?}", |s| listed(s, "[", ", ", "]", |byte| format!("{byte:x}"))),
    ("Rust, with types", |s| listed(s, "[", ", ", "]", |byte| format!("{byte}u8"))),
    ("Scala", |s| listed(s, "ByteString(", ", ", ")", |byte| byte.cast_signed().to_string())),
    ("JavaScript", |s| listed(s, "Uint8Array(30) [\n  ", ", ", "\n]", |byte| byte.to_string())),
    ("JavaScript, toString", |s| listed(s, "", ",", "", |byte| byte.to_string())),
    ("a Buffer", |s| listed(s, "{\"type\":\"Buffer\",\"data\":[", ",", "]}", |byte| byte.to_string())),
    ("an Uint8Array in JSON", |s| {
        let members = s.bytes().enumerate().map(|(at, byte)| format!("\"{at}\":{byte}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }),
    ("PHP", |s| {
        let items = s.bytes().enumerate().map(|(at, byte)| format!("    [{}] => {byte}\n", at + 1));
        format!("Array\n(\n{})", items.collect::<String>())
    }),
    ("Erlang", |s| listed(s, "<<", ",", ">>", |byte| byte.to_string())),
    ("Erlang, in hex", |s| listed(s, "<<", ",", ">>", |byte| format!("16#{byte:X}"))),
    ("C#", |s| listed(s, "", "-", "", |byte| format!("{byte:02X}"))),
    ("colons", |s| listed(s, "", ":", "", |byte| format!("{byte:02x}"))),
    ("a dump in octal", |s| listed(s, "", " ", "", |byte| format!("{byte:03o}"))),
    ("a dump of words", |s| {
        let digits = listed(s, "", "", "", |byte| format!("{byte:02x}"));
        wrapped(&digits, 4, "|")
    }),
    ("decimal escapes", |s| listed(s, "\"\\", "\\", "\"", |byte| byte.to_string())),
    ("UTF-16", |s| listed(s, "[", " ", "]", |byte| format!("{byte} 0"))),
    ("a table", |s| listed(s, "<td>", "</td><td>", "</td>", |byte| byte.to_string())),
    ("percent of a list", |s| listed(s, "%5B", "%2C", "%5D", |byte| byte.to_string())),
];

/// Lists of characters.
pub const CHARACTERS: &[Form] = &[
    ("Java", |s| listed(s, "[", ", ", "]", |byte| char::from(byte).to_string())),
    ("Python", |s| listed(s, "[", ", ", "]", |byte| format!("'{}'", char::from(byte)))),
    ("Python, in HTML", |s| listed(s, "[", ", ", "]", |byte| format!("&#x27;{}&#x27;", char::from(byte)))),
    ("Go", |s| listed(s, "['", "' '", "']", |byte| char::from(byte).to_string())),
    ("JSON", |s| listed(s, "[\"", "\",\"", "\"]", |byte| char::from(byte).to_string())),
    ("JSON in JSON", |s| listed(s, "[\\\"", "\\\",\\\"", "\\\"]", |byte| char::from(byte).to_string())),
    ("JavaScript, {...text}", |s| numbered(s, "{", "\"", "\":\"", "\",")),
    ("Java, a map", |s| numbered(s, "{", "", "=", ", ")),
    ("PHP", |s| numbered(s, "Array\n(\n", "    [", "] => ", "\n")),
];

fn numbered(secret: &str, begin: &str, before: &str, between: &str, after: &str) -> String {
    let items = secret.chars().enumerate().map(|(at, one)| format!("{before}{at}{between}{one}{after}"));
    begin.to_owned() + &items.collect::<String>()
}

fn listed(secret: &str, begin: &str, between: &str, end: &str, write: impl Fn(u8) -> String) -> String {
    begin.to_owned() + &secret.bytes().map(write).collect::<Vec<_>>().join(between) + end
}

fn percent_of(c: char) -> String {
    percent(&c.to_string())
}

fn secrets(secret: &str) -> Secrets {
    let mut secrets = Secrets::new();
    secrets.protect(secret);
    secrets
}

/// Without a repetition, so that no two positions look the same.
const SECRET: &str = "Zq3-vU8_xT5.kR0/mN7+pL2=wJ9yH4";

#[test]
fn a_secret_is_replaced_in_every_form() {
    for (name, write) in FORMS {
        let text = format!("before {} after", write(SECRET));
        let scrubbed = secrets(SECRET).scrub(&text);
        // Invisible characters before the first and after the last character are not part of it.
        let (before, after) = scrubbed.split_once(REDACTED).unwrap_or_else(|| panic!("{name}: {scrubbed}"));
        assert!(before.starts_with("before ") && after.ends_with(" after"), "{name}: {scrubbed:?}");
        assert!(before.chars().count() <= 8 && after.chars().count() <= 20, "{name}: {scrubbed:?}");
    }
    for (name, write) in BASE64 {
        let scrubbed = secrets(SECRET).scrub(&format!("before {} after", write(SECRET)));
        let left = scrubbed.replace(REDACTED, "").len() - "before  after".len();
        assert!(scrubbed.contains(REDACTED) && left <= 10, "{name}: {scrubbed}");
    }
}

/// The numbers in a text, with those of a hexadecimal notation.
fn numbers(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.contains(|c: char| c.is_ascii_digit()))
        .count()
}

#[test]
fn a_secret_is_replaced_in_every_list_of_bytes() {
    for (name, write) in LISTED {
        let scrubbed = secrets(SECRET).scrub(&format!("before {} after", write(SECRET)));
        assert!(scrubbed.starts_with("before ") && scrubbed.ends_with(" after"), "{name}: {scrubbed:?}");
        assert!(scrubbed.contains(REDACTED) && numbers(&scrubbed) <= 3, "{name}: {scrubbed:?}");
        // A part of it is too much, too.
        let part = secrets(SECRET).scrub(&format!("before {} after", write(&SECRET[5..19])));
        assert!(part.contains(REDACTED) && numbers(&part) <= 3, "{name}: {part:?}");
        assert_eq!(
            secrets(SECRET).scrub(&write("another text, not secret")),
            write("another text, not secret")
        );
    }
    let password = "wörd-Ü";
    for (name, write) in LISTED {
        let scrubbed = secrets(password).scrub(&write(password));
        assert!(scrubbed.contains(REDACTED) && numbers(&scrubbed) <= 3, "{name}: {scrubbed:?}");
    }
}

#[test]
fn a_secret_is_replaced_in_every_list_of_characters() {
    let secret = SECRET.replace('=', "a");
    for (name, write) in CHARACTERS {
        let text = write(&secret);
        let scrubbed = secrets(&secret).scrub(&format!("before {text} after"));
        assert!(scrubbed.starts_with("before ") && scrubbed.ends_with(" after"), "{name}: {scrubbed:?}");
        assert!(scrubbed.contains(REDACTED) && scrubbed.len() < 60, "{name}: {scrubbed:?}");
        let part = secrets(&secret).scrub(&write(&secret[5..19]));
        assert!(part.contains(REDACTED) && part.len() < 50, "{name}: {part:?}");
        let other = write("another text, not secret");
        assert_eq!(secrets(&secret).scrub(&other), other);
    }
}

/// The bytes of a signature, which a JWT has as base64.
#[test]
fn the_bytes_of_a_signature_are_replaced_in_every_form() {
    let bytes: Vec<u8> = (0..64_u8).map(|at| at.wrapping_mul(167).wrapping_add(90)).collect();
    let jwt = format!("eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJsb2NhdGUifQ.{}", URL_SAFE_NO_PAD.encode(&bytes));
    let each =
        |write: fn(&u8) -> String, between: &str| bytes.iter().map(write).collect::<Vec<_>>().join(between);
    for text in [
        each(|byte| format!("{byte:02x}"), ""),
        each(|byte| format!("{byte:02X}"), ""),
        each(|byte| format!("{byte:02X}"), ":"),
        each(|byte| format!("{byte:02x}"), "-"),
        each(|byte| format!("{byte:#x}"), ", "),
        each(u8::to_string, " "),
        each(|byte| byte.cast_signed().to_string(), ", "),
        each(|byte| format!("\\x{byte:02x}"), ""),
        each(|byte| format!("%{byte:02X}"), ""),
        each(|byte| format!("\\u{byte:04x}"), ""),
        each(|byte| byte.escape_ascii().to_string(), ""),
        each(|byte| char::from(*byte).to_string(), ""),
        STANDARD.encode(&bytes),
    ] {
        let scrubbed = secrets(&jwt).scrub(&format!("bad signature {text}!"));
        assert!(scrubbed.starts_with("bad signature ") && scrubbed.contains(REDACTED), "{text}: {scrubbed}");
        let left = scrubbed.replace(REDACTED, "").chars().count() - "bad signature !".len();
        assert!(left <= 16, "{text}: {scrubbed}");
    }
}

/// The `A` of `%3A` was taken for a letter before the password.
#[test]
fn a_short_password_behind_an_escape_is_replaced() {
    for (text, left) in [
        ("user%3Ahunter2", "user%3AREDACTED"),
        ("user%253Ahunter2%2540", "user%253AREDACTED%2540"),
        ("http%3A%2F%2Fuser%3Ahunter2%40proxy%2F", "http%3A%2F%2Fuser%3AREDACTED%40proxy%2F"),
        ("user\\u003ahunter2\\u0040", "user\\u003aREDACTED\\u0040"),
        ("x\\nhunter2\\tx", "x\\nREDACTED\\tx"),
        ("p%3Dhunter2%26x", "p%3DREDACTED%26x"),
        ("&colon;hunter2&quot;", "&colon;REDACTED&quot;"),
        ("%5Fhunter2", "%5Fhunter2"),
        ("whunter2 hunter2w hunter22 _hunter2", "whunter2 hunter2w hunter22 _hunter2"),
        ("\\u0077hunter2", "\\u0077hunter2"),
    ] {
        assert_eq!(secrets("hunter2").scrub(text), left, "{text}");
    }
}

#[test]
fn only_what_is_secret_counts_in_messages_and_whole_tokens_in_output() {
    let key = "abcdefghijklmnopqrstuv";
    let secret = "0987654321ZYXWVUTSRQPO";
    let jwt = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJsb2NhdGUifQ";
    for (token, public) in
        [(format!("gt-{key}.{secret}"), format!("gt-{key}.")), (format!("{jwt}.{secret}"), format!("{jwt}."))]
    {
        let mut secrets = secrets(&token);
        for text in [&public, key, jwt, "wss://host.example.org:443/path"] {
            assert_eq!(secrets.scrub_bytes(text.as_bytes()), text.as_bytes());
            // Two parts of a JWT could be claims and signature.
            if !text.starts_with("eyJ") {
                assert_eq!(secrets.scrub(text), text);
            }
        }
        assert_eq!(secrets.scrub(&format!("<{token}>")), format!("<{public}{REDACTED}>"));
        assert_eq!(secrets.scrub_bytes(format!("<{token}>").as_bytes()), format!("<{REDACTED}>").as_bytes());
        assert_eq!(secrets.scrub(&secret[5..17]), REDACTED);
        assert_eq!(secrets.scrub(&secret[5..16]), &secret[5..16]);
    }
}

#[test]
fn short_secrets_count_as_a_whole() {
    for (secret, text, scrubbed) in [
        ("pass", "pass a password", "REDACTED a password"),
        ("pass", "p%61ss cGFzcw==", "REDACTED cGFzcw=="),
        ("password", "xpasswordx", "xREDACTEDx"),
        ("hunter2-hunter3", "hunter2 hunter2-hunter3", "hunter2 REDACTED"),
        ("a-secret-pw", "secret-pw a-secret-pw YS1zZWNyZXQtcHc=", "secret-pw REDACTED REDACTED="),
        ("abc", "abc", "abc"),
    ] {
        assert_eq!(secrets(secret).scrub(text), scrubbed);
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Secrets of all kinds, without repetitions, which could make the text around them look like a part of them.
pub fn any_secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{22}".prop_map(|s| format!("gt-{0}.{s}", "k".repeat(22))),
        "[A-Za-z0-9_-]{40}",
        "[!-~]{12,60}",
        "[A-Za-z0-9_-]{86}".prop_map(|s| format!("eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJtIn0.{s}")),
    ]
}

/// Its parts that count, in lower case.
fn pieces(secret: &str) -> Vec<String> {
    let part = if secret.starts_with("gt-") || secret.starts_with("eyJ") {
        secret.rsplit_once('.').map_or(secret, |(_, part)| part)
    } else {
        secret
    };
    let chars: Vec<char> = part.to_lowercase().chars().collect();
    chars.windows(12).map(|window| window.iter().collect()).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_piece_survives(
        secret in any_secret(),
        form in 0..FORMS.len() + BASE64.len(),
        before in prop_oneof![any::<String>(), "[%&#\\\\x0-9a-f=\"; ]{0,12}"],
        after in prop_oneof![any::<String>(), "[%&#\\\\x0-9a-f=\"; ]{0,12}"],
    ) {
        let (name, write) = FORMS.iter().chain(BASE64).nth(form).unwrap();
        let written = write(&secret);
        let text = format!("{before}{written}{after}");
        let scrubbed = secrets(&secret).scrub(&text);
        let lower = scrubbed.to_lowercase();
        prop_assert!(pieces(&secret).iter().all(|piece| !lower.contains(piece)), "{name}: {scrubbed}");
        // No part of the form that corresponds to such a part.
        let part = write(&pieces(&secret).concat()[..12]).chars().count() + 16;
        let chars: Vec<char> = written.chars().collect();
        // (The header of a JWT is none, nor is a key.)
        if !secret.starts_with("eyJ") && !secret.starts_with("gt-") && part < chars.len() {
            for piece in chars.windows(part) {
                let piece: String = piece.iter().collect();
                prop_assert!(!scrubbed.contains(&piece), "{name}: {piece} in {scrubbed}");
            }
        }
    }

    #[test]
    fn text_without_secrets_stays_as_it_is(secret in "[A-Z]{30}", text in "[a-z0-9%&#;\\\\ \n.:/-]{0,80}") {
        prop_assume!(!text.contains("svctok-") && !text.contains("gt-"));
        prop_assert_eq!(secrets(&secret).scrub(&text), text.clone());
        prop_assert_eq!(secrets(&secret).scrub_bytes(text.as_bytes()), text.as_bytes());
    }

    #[test]
    fn any_text_is_shown_on_one_short_line(text in any::<String>(), count in 0..2000_usize) {
        let long = text.repeat(count);
        for shown in [clean(&long), shown(&long, 200), printable(&text)] {
            prop_assert!(!shown.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' ')));
        }
        prop_assert!(clean(&long).len() <= MAX_LINE_BYTES);
        prop_assert!(shown(&long, 200).chars().count() <= 201 * 10);
    }
}

/// Texts that an attacker repeats to use up time.
const ALPHABETS: [&str; 24] = [
    "gt- ",
    "gt-.",
    "access_token",
    "access_token ",
    "access_token=\"",
    "eyJ.",
    "eyJ",
    "svctok-",
    "%",
    "%2",
    "%25",
    "&#",
    "&#x",
    "&",
    "&amp;",
    "\\",
    "\\u",
    "\\u{",
    "<br",
    "\u{1b}[",
    "\u{200b}",
    "\u{202e}",
    "…",
    "Zq3-vU8_xT5",
];

/// The CPU time of this thread, which other processes do not affect.
fn cpu_time() -> Duration {
    // SAFETY: the pointer is to a timespec.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
        time
    };
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn eight_times_the_text_takes_eight_times_as_long() {
    const SMALL: usize = 16 * 1024;
    const TIMES: usize = 8;
    let mut secrets = secrets(SECRET);
    for token in ["gt-kkkkkkkkkkkkkkkkkkkkkk.0123456789ABCDEFGHIJKL", "eyJh.eyJp.0123456789abcdefghijkl"] {
        secrets.protect(token);
    }
    secrets.scrub("once");
    let mut measure = |text: &str| {
        let times = (0..3).map(|_| {
            let began = cpu_time();
            let scrubbed = secrets.scrub(text);
            let output = secrets.scrub_bytes(text.as_bytes());
            std::hint::black_box((printable(&scrubbed), output));
            cpu_time().saturating_sub(began)
        });
        times.min().unwrap().as_secs_f64()
    };
    for alphabet in ALPHABETS {
        let small = alphabet.repeat(SMALL / alphabet.len());
        let large = small.repeat(TIMES);
        let growth = measure(&large) / measure(&small);
        // Quadratic would be 64.
        assert!(growth < 24.0, "{alphabet:?}: {growth:.1} times as long for {TIMES} times the text");
    }
}
