//! The main job: rules of its flags.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use reqwest::Url;

use super::http::http;
use super::run::{OF_MAIN, env_name, run};
use super::{Purpose, variable};
use crate::cache::Cache;
use crate::cli::syntax::parse_bool;
use crate::cli::{Line, Values};
use crate::error::{Failure, Stage};
use crate::key::KeySource;
use crate::metrics::Labels;
use crate::read::BYTE_ORDER_MARK;
use crate::run::RunConfig;
use crate::run::locate::LocateRun;
use crate::secret::{SecretString, protect_url, redact_url, scrub, zero_in_environment};
use crate::source::locate::{Endpoint, Exchange, LocateConfig, SERVICE_URL, SIGNER_KEY};

const DEFAULT_LOCATE_URL: &str = "http://localhost:8080/v2/platform/monitoring/";
const DEFAULT_SERVICE: &str = "ndt/ndt5";

/// The main command, or `check` in front of it.
pub fn locate_run(line: &Line, purpose: Purpose) -> Result<LocateRun, Failure> {
    let values = line.values();
    let run = run(line, &OF_MAIN, purpose)?;
    let locate = locate(&values)?;
    let run = RunConfig {
        labels: Labels {
            machine: scrub(&locate.machine),
            service: scrub(&locate.endpoint.service),
            ..run.labels
        },
        ..run
    };
    let http = http(&values)?;
    let cache = cache(&values)?.filter(|_| purpose == Purpose::Run);
    Ok(LocateRun { locate, http, run, cache })
}

/// `-cache-ttl`, `-cache-failure-ttl` and `-cache-dir`; zero is off.
fn cache(values: &Values<'_>) -> Result<Option<Cache>, Failure> {
    let ttl = values.duration("cache-ttl")?.unwrap_or_default();
    let failure_ttl = values.duration("cache-failure-ttl")?.unwrap_or_default();
    let given = values.path("cache-dir")?;
    if ttl.is_zero() && failure_ttl.is_zero() {
        return Ok(None);
    }
    // XDG Base Directory Specification 0.8: a relative path is invalid and ignored.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let dir = given.or_else(|| Some(user()?.join("monitoring-token"))).ok_or_else(|| {
        Failure::usage("-cache-ttl: neither XDG_CACHE_HOME nor HOME tells where; set -cache-dir")
    })?;
    Ok(Some(Cache { dir, ttl, failure_ttl }))
}

/// The monitoring request.
fn locate(values: &Values<'_>) -> Result<LocateConfig, Failure> {
    let exchange = values.boolean("exchange")?.unwrap_or(true);
    let wants_service_url = service_url(values)?;
    if wants_service_url && !exchange {
        return Err(Failure::usage(
            "-service-url (or SERVICE_URL=true) needs the exchange; leave one of it and -exchange=false out",
        ));
    }
    let inherited = std::env::var_os(SERVICE_URL);
    let is_ours = inherited.as_deref().and_then(parse_bool).is_some();
    Ok(LocateConfig {
        endpoint: endpoint(values)?,
        key: key(values)?,
        machine: values.text_or_empty("machine")?.unwrap_or_default().to_owned(),
        env_name: env_name(values, "MONITORING_URL")?,
        exchange: match (exchange, wants_service_url) {
            (false, _) => Exchange::No,
            (true, false) => Exchange::Both,
            (true, true) => Exchange::ServiceUrl,
        },
        url_key: values.text("service-url-key-name")?.map(str::to_owned),
        drop_service_url: is_ours || wants_service_url,
    })
}

/// `-service-url`. Its variable is also the one that ndt clients read: what is no boolean is not ours.
fn service_url(values: &Values<'_>) -> Result<bool, Failure> {
    match values.get("service-url") {
        Some(given) if given.from_variable && parse_bool(given.text).is_none() => Ok(false),
        _ => Ok(values.boolean("service-url")?.unwrap_or(false)),
    }
}

/// Where Locate is asked: `-locate-url` with `-service` behind it.
fn endpoint(values: &Values<'_>) -> Result<Endpoint, Failure> {
    let service = service(values)?;
    let Some(given) = values.get("locate-url") else {
        let refuse = |why: String| Failure::usage(format!("-locate-url: invalid URL: {why}"));
        return Endpoint::new(DEFAULT_LOCATE_URL, service).map_err(refuse);
    };
    // The URL may hold a password, so that it is shown only if it can be taken apart.
    let refuse = |why: &str| {
        let shown = given.text.to_str().and_then(|text| Url::parse(text).ok()).map(|url| redact_url(&url));
        let shown = shown.map(|url| format!(" {url:?}")).unwrap_or_default();
        Failure::usage(format!("{}: invalid URL{shown}: {why}", given.origin()))
    };
    let text = given.text.to_str().ok_or_else(|| refuse("it is not UTF-8"))?;
    if text.is_empty() {
        return Err(refuse("it is empty; set it to the URL of Locate's monitoring path"));
    }
    if text.ends_with(char::is_whitespace) {
        return Err(refuse("it ends with a space or line break; remove it"));
    }
    let endpoint = Endpoint::new(text, service).map_err(|why| refuse(&why))?;
    protect_url(&endpoint.url);
    Ok(endpoint)
}

fn key(values: &Values<'_>) -> Result<KeySource, Failure> {
    let Some(given) = values.get("monitoring-signer-key").filter(|given| !given.text.is_empty()) else {
        return Ok(KeySource::Missing);
    };
    let source = match (is_inline_jwk(given.text), given.from_variable) {
        (false, _) if looks_like_a_key(given.text) => Err(Failure::ours(
            Stage::Sign,
            format!(
                "{}: holds neither the path of a private JWK nor the JWK itself (which begins with {{), but what looks like a key in another form; it is not shown",
                given.origin()
            ),
        )),
        (false, _) => Ok(KeySource::File(PathBuf::from(given.text))),
        (true, false) => Err(Failure::usage(
            "-monitoring-signer-key: takes a file; command lines are public, so give the key itself in MONITORING_SIGNER_KEY",
        )),
        (true, true) => Ok(KeySource::Inline(SecretString::from(given.text.to_string_lossy().into_owned()))),
    };
    // Also where the flag has won over it.
    if std::env::var_os(SIGNER_KEY).is_some_and(|value| is_inline_jwk(&value) || looks_like_a_key(&value)) {
        zero_in_environment(SIGNER_KEY);
    }
    source
}

fn is_inline_jwk(text: &OsStr) -> bool {
    let text = text.as_bytes();
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start().starts_with(b"{")
}

/// Whether what should be a path is more likely PEM, base64 of a key, a bare `d`, or a damaged JWK: no
/// error may show it then.
fn looks_like_a_key(text: &OsStr) -> bool {
    /// The `d` of an Ed25519 key has 43 characters.
    const SHORTEST_SECRET: usize = 40;
    let text = text.as_bytes().trim_ascii();
    let damaged = text.iter().any(|byte| matches!(byte, b'{' | b'"' | b'\n')) || text.starts_with(b"-----");
    // A path of that length has a slash or a dot; base64 of more than a few bytes has a slash, too, but
    // then it begins as JSON or PEM does.
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    let one_word = text.len() >= SHORTEST_SECRET && text.iter().all(base64);
    let begins = [&b"eyJ"[..], b"ewo", b"ewA", b"ey", b"LS0tLS"].iter().any(|start| text.starts_with(start));
    damaged || (one_word && (begins || !text.contains(&b'/')))
}

/// `-service`: the end of the path, whatever part of it that is. No path of Locate's holds blanks.
fn service<'a>(values: &Values<'a>) -> Result<&'a str, Failure> {
    let service = values.text_or_empty("service")?.unwrap_or(DEFAULT_SERVICE);
    if service.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(
            values.refuse("service", "holds a space or control character; use <experiment>/<datatype>")
        );
    }
    Ok(service)
}
