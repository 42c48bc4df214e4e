//! The parsers, on generated values, compared with simpler rules.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::ArgMatches;
use monitoring_token::cli::{self, Line, Stop, syntax};
use monitoring_token::failure::{Failure, printable};
use monitoring_token::go::duration::{self, GoDuration};
use monitoring_token::http::clock_offset_seconds;
use monitoring_token::http::proxy::ProxyRules;
use monitoring_token::http::retry::parse_retry_after;
use monitoring_token::http::roots;
use monitoring_token::issuer::locate::{Endpoint, ORIGINAL_DEFAULT_KEY, choose_key};
use monitoring_token::key::PrivateKey;
use monitoring_token::secret::{ExposeSecret as _, SecretString, Secrets, redact_url};
use proptest::prelude::*;
use reqwest::Url;

fn cases(cases: u32) -> ProptestConfig {
    // Add failing values to the tests by name; no files are written to the tree.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A flag as Go's `FlagSet.parseOne` sees it: its name and, if there is one, its value.
type Flag = (String, Option<String>);

/// Go's rules (package `flag`, `parseOne`), with this program's additions: `-logx.debug` takes a boolean as its next
/// word, too; there is `-version`; `-h` and `-help` are one flag; no boolean is the first word after a boolean flag.
fn go_rules(args: &[&str]) -> Option<(Vec<Flag>, Vec<String>)> {
    const WITH_VALUE: [&str; 4] = ["machine", "service", "timeout", "env-name"];
    const BOOLEAN: [&str; 2] = ["service-url", "exchange"];
    const BOOLEANS: [&str; 12] =
        ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    let mut flags = Vec::new();
    let mut at = 0;
    while at < args.len() {
        let word = args[at];
        if word.len() < 2 || !word.starts_with('-') {
            break;
        }
        at += 1;
        if word == "--" {
            break;
        }
        let name = word.strip_prefix("--").unwrap_or_else(|| &word[1..]);
        if name.is_empty() || name.starts_with('-') || name.starts_with('=') {
            return None;
        }
        let (name, mut value) = match name.find('=') {
            Some(equals) => (&name[..equals], Some(name[equals + 1..].to_owned())),
            None => (name, None),
        };
        let name = if name == "h" { "help" } else { name };
        if WITH_VALUE.contains(&name) {
            if value.is_none() {
                value = Some((*args.get(at)?).to_owned());
                at += 1;
            }
        } else if name == "logx.debug" {
            if value.is_none() && args.get(at).is_some_and(|next| BOOLEANS.contains(next)) {
                value = Some(args[at].to_owned());
                at += 1;
            }
        } else if name == "version" && value.is_some() {
            return None;
        } else if name == "help" || name == "version" {
            // With any value.
            flags.push((name.to_owned(), None));
            // The rest is not parsed.
            return Some((flags, Vec::new()));
        } else if !BOOLEAN.contains(&name) {
            return None;
        }
        // Each value is checked, even if a later one overrides it. (Of the words here, only one is a duration.)
        let sound = match (name, value.as_deref()) {
            (_, None) => true,
            ("timeout", Some(value)) => value == "5s",
            (name, Some(value)) => WITH_VALUE.contains(&name) || BOOLEANS.contains(&value),
        };
        if !sound {
            return None;
        }
        flags.push((name.to_owned(), value));
    }
    // A boolean as the first word after a boolean flag, without -- between.
    let bare = at > 0
        && flags.last().is_some_and(|(name, value)| BOOLEAN.contains(&name.as_str()) && value.is_none());
    if bare && args[at - 1] != "--" && args.get(at).is_some_and(|next| BOOLEANS.contains(next)) {
        return None;
    }
    Some((flags, args[at..].iter().map(|&word| word.to_owned()).collect()))
}

/// `None` is a text to print.
fn parse(args: &[&str]) -> Result<Option<Line<ArgMatches>>, Failure> {
    let args = args.iter().map(OsString::from).collect();
    match cli::parse_untyped(cli::main_command(), args) {
        Ok(line) => Ok(Some(line)),
        Err(Stop::Help | Stop::Print(_)) => Ok(None),
        Err(Stop::Refused { failure, .. } | Stop::Failed(failure)) => Err(failure),
    }
}

fn word() -> impl Strategy<Value = String> {
    let dashes = prop_oneof![4 => Just("-"), 4 => Just("--"), 1 => Just(""), 1 => Just("---")];
    let name = prop_oneof![
        Just("machine"),
        Just("service"),
        Just("timeout"),
        Just("service-url"),
        Just("exchange"),
        Just("logx.debug"),
        Just("nope"),
        Just("h"),
        Just("help"),
        Just("version"),
        Just(""),
    ];
    let value =
        prop_oneof![4 => Just(""), 1 => Just("="), 2 => Just("=x"), 1 => Just("=true"), 1 => Just("=-a=b")];
    let flag = (dashes, name, value).prop_map(|(dashes, name, value)| format!("{dashes}{name}{value}"));
    let other =
        prop_oneof![Just("true"), Just("F"), Just("5s"), Just("--"), Just("-"), Just(""), Just("check")];
    prop_oneof![3 => flag, 2 => other.prop_map(str::to_owned), 1 => "[-=a-z ]{0,4}"]
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn flags_are_split_as_in_go(words in prop::collection::vec(word(), 0..8)) {
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = cli::main_command();
        command.build();
        let (split, _) = syntax::scan(&command, args.iter().map(OsString::from));
        // clap reads the values.
        let ours = parse(&args).map(|_| split);
        let text = |words: Vec<OsString>| -> Vec<String> {
            words.into_iter().map(|word| word.into_string().unwrap()).collect()
        };
        match (ours, go_rules(&args)) {
            (Err(failure), None) => {
                prop_assert_eq!(failure.status.code(), 2);
                prop_assert!(!failure.message.is_empty());
            }
            (Ok(ours), Some((flags, rest))) => {
                let flags: Vec<String> = flags
                    .into_iter()
                    .map(|(name, value)| format!("--{name}{}", value.map(|v| format!("={v}")).unwrap_or_default()))
                    .collect();
                prop_assert_eq!(text(ours.flags), flags.clone());
                if !flags.iter().any(|flag| flag.starts_with("--help") || flag.starts_with("--version")) {
                    prop_assert_eq!(text(ours.operands), rest);
                }
            }
            (ours, go) => prop_assert!(false, "ours {ours:?}, Go's {go:?}"),
        }
    }

    #[test]
    fn the_last_of_two_flags_wins(words in prop::collection::vec(word(), 0..8)) {
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((flags, rest)) = go_rules(&args) else { return Ok(()) };
        if flags.iter().any(|(name, _)| name == "help" || name == "version") {
            return Ok(());
        }
        let Ok(Some(line)) = parse(&args) else { return Err(TestCaseError::fail("not parsed")) };
        for (name, given_alone) in [("machine", ""), ("service", ""), ("service-url", "true"), ("logx.debug", "true")] {
            let last = flags.iter().rev().find(|(flag, _)| flag == name);
            if let Some((_, value)) = last {
                let id = name.replace('-', "_");
                let ours = line.flags.get_raw(&id).and_then(|mut texts| texts.next()).map(OsString::from);
                prop_assert_eq!(ours, Some(OsString::from(value.clone().unwrap_or(given_alone.to_owned()))));
            }
        }
        prop_assert_eq!(&line.operands, &rest.iter().map(OsString::from).collect::<Vec<_>>());
    }
}

/// The units of Go's durations, in nanoseconds.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn durations_have_the_length_that_they_say(
        parts in prop::collection::vec((0_u64..2_000_000_000_000, "[0-9]{0,9}", 0..UNITS.len()), 1..4),
        sign in "[-+]?",
    ) {
        let mut text = sign.clone();
        let mut expected: u128 = 0;
        for (whole, fraction, unit) in &parts {
            let (name, size) = UNITS[*unit];
            let point = if fraction.is_empty() { "" } else { "." };
            write!(text, "{whole}{point}{fraction}{name}").unwrap();
            let digits = u32::try_from(fraction.len()).unwrap();
            expected += u128::from(*whole) * size;
            expected += fraction.parse::<u128>().unwrap_or(0) * size / 10_u128.pow(digits);
        }
        // Go computes fractions in floating point, so each may be off by a nanosecond.
        let slack = parts.len() as u128;
        match duration::parse(&text) {
            Some(GoDuration::NotNegative(parsed)) => {
                prop_assert!(sign != "-" || expected <= slack);
                prop_assert!(parsed.as_nanos().abs_diff(expected) <= slack, "{text}: {parsed:?}");
            }
            Some(GoDuration::Negative) => prop_assert_eq!(sign, "-"),
            None => prop_assert!(expected + slack > i64::MAX as u128, "{text} was refused"),
        }
    }

    #[test]
    fn invalid_durations_are_refused(text in "[0-9nusmhdw.+ \u{b5}-]{0,6}") {
        let takes = |text: &str| {
            let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
            // One number and unit after the other, or the number 0 alone.
            let mut rest = if rest == "0" { return true } else { rest };
            let mut parts = 0;
            while !rest.is_empty() {
                let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
                let (digits, after) = rest.split_at(number);
                let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
                let (unit, after) = after.split_at(unit_end);
                let sound = digits.matches('.').count() <= 1 && digits.contains(|c: char| c.is_ascii_digit());
                if !sound || !UNITS.iter().any(|(name, _)| *name == unit) {
                    return false;
                }
                (rest, parts) = (after, parts + 1);
            }
            parts > 0
        };
        prop_assert_eq!(duration::parse(&text).is_some(), takes(&text), "{}", text);
    }

    #[test]
    fn durations_never_panic(text in any::<String>(), millis in any::<u64>()) {
        let _ = duration::parse(&text);
        prop_assert!(!duration::show(Duration::from_millis(millis)).is_empty());
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn the_monitoring_url_is_prefix_service_query_and_token(
        path in prop::collection::vec("[a-zA-Z0-9._~%-]{1,8}", 0..4),
        slash in any::<bool>(),
        query in prop::collection::vec(("\\PC{1,6}", "\\PC{0,6}"), 0..5),
        token in "[A-Za-z0-9_-]{1,40}\\.[A-Za-z0-9_-]{1,40}\\.[A-Za-z0-9_-]{1,40}",
    ) {
        // A `%` begins an escape; one that does not is tested elsewhere.
        let path: Vec<String> = path.iter().map(|s| s.replace('%', "%20")).filter(|s| !s.trim_matches('.').is_empty()).collect();
        let mut prefix = Url::parse("https://locate.example").unwrap();
        prefix.set_path(&(path.join("/") + if slash { "/" } else { "" }));
        if !query.is_empty() {
            prefix.query_pairs_mut().extend_pairs(&query);
        }
        let endpoint = Endpoint::new(prefix.as_str(), "ndt/ndt7").unwrap();
        let (url, text) = endpoint.monitoring_url(&SecretString::from(token.as_str())).unwrap();
        prop_assert_eq!(&endpoint.service, "ndt/ndt7");
        // The command gets exactly the requested URL: these values have only one spelling.
        prop_assert_eq!(text.expose_secret(), url.as_str());
        prop_assert_eq!(url.origin(), prefix.origin());
        prop_assert_eq!(url.path(), format!("{}/ndt/ndt7", prefix.path().trim_end_matches('/')));
        let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut expected = query;
        expected.retain(|(name, _)| name != "access_token");
        expected.push(("access_token".to_owned(), token));
        pairs.sort();
        expected.sort();
        prop_assert_eq!(pairs, expected);
        // By Go's rules, a query contains only these characters.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~+%&=".contains(c);
        prop_assert!(url.query().unwrap().chars().all(plain), "{}", url);
    }

    #[test]
    fn a_url_key_is_chosen_only_if_it_is_unambiguous(
        keys in prop::collection::btree_set(prop_oneof![
            Just("wss:///ndt/v7/download".to_owned()),
            Just(ORIGINAL_DEFAULT_KEY.to_owned()),
            "[a-c]{1,2}",
        ], 0..4),
        named in prop::option::of(prop_oneof![Just(String::new()), "[a-c]{1,2}"]),
        service in prop_oneof![Just("ndt/ndt7"), Just("ndt/ndt5"), Just("wehe/replay")],
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let chosen = choose_key(&keys, named.as_deref(), service);
        if let Some(chosen) = chosen {
            prop_assert!(keys.iter().any(|key| key == chosen));
        }
        let has = |key: &str| keys.iter().any(|k| k == key);
        let expected = match &named {
            Some(named) => has(named).then_some(named.as_str()),
            None if has(ORIGINAL_DEFAULT_KEY) => Some(ORIGINAL_DEFAULT_KEY),
            None if service == "ndt/ndt7" && has("wss:///ndt/v7/download") => Some("wss:///ndt/v7/download"),
            None if keys.len() == 1 => Some(keys[0].as_str()),
            None => None,
        };
        prop_assert_eq!(chosen, expected);
    }

    #[test]
    fn a_retry_after_in_seconds_is_that_long(
        seconds in prop_oneof![any::<u32>().prop_map(u128::from), any::<u128>()],
        blanks in " {0,2}",
    ) {
        let value = format!("{blanks}{seconds}{blanks}");
        // A number that overflows is a very long time.
        let expected = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX)));
        prop_assert_eq!(parse_retry_after(&value, SystemTime::now()), Some(expected));
    }

    #[test]
    fn a_retry_after_as_a_date_ends_then(now in 0_u64..4_000_000_000, date in 0_u64..4_000_000_000) {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let value = httpdate::fmt_http_date(at(date));
        let expected = Duration::from_secs(date.saturating_sub(now));
        prop_assert_eq!(parse_retry_after(&value, at(now)), Some(expected));
        // The same header is how the clocks are compared.
        let ahead = i64::try_from(now).unwrap() - i64::try_from(date).unwrap();
        prop_assert_eq!(clock_offset_seconds(&value, at(now)), Some(ahead));
    }

    #[test]
    fn other_headers_are_ignored(text in "\\PC{0,40}") {
        let is_number = !text.trim().is_empty() && text.trim().bytes().all(|byte| byte.is_ascii_digit());
        let is_date = httpdate::parse_http_date(text.trim()).is_ok();
        prop_assert_eq!(parse_retry_after(&text, SystemTime::now()).is_some(), is_number || is_date);
        let _ = clock_offset_seconds(&text, SystemTime::now());
    }

    #[test]
    fn loopback_is_never_proxied_and_no_rule_panics(
        except in "[a-z0-9.*:/,\\[\\] -]{0,30}",
        host in prop_oneof![Just("127.0.0.1"), Just("127.9.8.7"), Just("[::1]"), Just("localhost"), Just("LocalHost.")],
        other in "[a-z][a-z0-9]{0,7}(\\.[a-z][a-z0-9]{0,5}){0,3}",
    ) {
        let rules = ProxyRules::new("p:1", &except);
        let proxied = |host: &str| match Url::parse(&format!("http://{host}/")) {
            Ok(url) => rules.proxy_for(&url).unwrap().is_some(),
            Err(_) => false,
        };
        prop_assert!(!proxied(host));
        let _ = proxied(&other);
        let own = ProxyRules::new("p:1", &format!("{except},{other}"));
        if let Ok(url) = Url::parse(&format!("http://{other}/")) {
            prop_assert!(own.proxy_for(&url).unwrap().is_none(), "{} is excepted by name", other);
        }
    }

    #[test]
    fn certificates_are_found_among_other_text(
        certificates in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..4),
        text in "[a-zA-Z #\n]{0,30}",
        width in 1_usize..80,
        end in prop_oneof![Just("\n"), Just("\r\n")],
        between in prop_oneof![Just("\n"), Just("\r\n"), Just(" "), Just(" \t\n")],
        without_end in prop_oneof![Just(""), Just("-----BEGIN CERTIFICATE-----\nQUJD\n")],
    ) {
        let mut pem = text.clone();
        for der in &certificates {
            let base64 = STANDARD.encode(der);
            let lines: Vec<&str> = (0..base64.len()).step_by(width).map(|at| &base64[at..base64.len().min(at + width)]).collect();
            write!(pem, "{without_end}-----BEGIN CERTIFICATE-----{end}{}{end}-----END CERTIFICATE-----{end}{text}{end}", lines.join(between)).unwrap();
        }
        let found: Vec<Vec<u8>> = roots::certificates(pem.as_bytes()).iter().map(|der| der.to_vec()).collect();
        prop_assert_eq!(found, certificates);
    }

    #[test]
    fn bytes_that_are_not_a_key_are_refused(json in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(PrivateKey::from_jwk(&json).is_err());
    }
}

/// A JWT of the program's form, and its signature.
fn jwt() -> impl Strategy<Value = (String, String)> {
    (prop::collection::vec(any::<u8>(), 16..80), "[a-z0-9.-]{0,30}").prop_map(|(signature, machine)| {
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let header = encode(r#"{"alg":"EdDSA","kid":"k"}"#);
        let claims = encode(&format!(r#"{{"iss":"monitoring","sub":"{machine}"}}"#));
        let signature = URL_SAFE_NO_PAD.encode(signature);
        (format!("{header}.{claims}.{signature}"), signature)
    })
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn a_token_never_survives(
        (token, signature) in jwt(),
        before in prop_oneof![any::<String>(), "[eyJ.a-z=&\"' ]{0,20}", Just("?access_token=".to_owned())],
        after in prop_oneof![any::<String>(), "[eyJ.a-z=&\"' ]{0,20}"],
        from in 0_usize..20,
        cut in 0_usize..20,
    ) {
        // Whole; without its beginning; without its end.
        for part in [&token[..], &token[from..], &token[..token.len() - cut.min(signature.len() - 8)]] {
            let shown = Secrets::new().scrub(&format!("{before}{part}{after}"));
            prop_assert!(!shown.contains(&signature[..8]), "{shown}");
        }
    }

    #[test]
    fn the_value_of_access_token_is_never_shown_in_a_url(
        secret in "[A-Za-z0-9]{12,40}",
        query in prop::collection::vec(("[a-z_]{1,12}", "[a-z]{0,8}"), 0..4),
        password in "[A-Z0-9]{12,20}",
    ) {
        let mut url = Url::parse("https://user@h.example/p").unwrap();
        url.set_password(Some(&password)).unwrap();
        url.query_pairs_mut().extend_pairs(&query).append_pair("access_token", &secret).extend_pairs(&query);
        let shown = redact_url(&url);
        prop_assert!(!shown.contains(&secret) && !shown.contains(&password), "{}", shown);
    }

    #[test]
    fn text_without_a_token_is_shown_as_it_is(text in "[a-zA-Z0-9 .,:/?&=-]{0,60}") {
        prop_assume!(!text.contains("eyJ") && !text.contains("access_token="));
        prop_assert_eq!(Secrets::new().scrub(&text), text);
    }

    #[test]
    fn secrets_are_replaced_in_any_bytes(
        secret in "[a-z]{4,12}",
        around in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5),
    ) {
        let bytes = around.join(secret.as_bytes());
        let mut secrets = Secrets::new();
        secrets.protect(&secret);
        let shown = secrets.scrub_bytes(&bytes);
        prop_assert!(!shown.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }

    #[test]
    fn printed_text_stays_on_one_line(text in any::<String>()) {
        prop_assert!(!printable(&text).chars().any(char::is_control));
    }
}
