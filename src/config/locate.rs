//! The main job: rules of its flags.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use reqwest::Url;

use super::Purpose;
use super::http::http;
use super::key_text::{is_inline_jwk, looks_like_a_key};
use super::run::{OF_MAIN, env_name, run};
use super::url::check_host;
use crate::cache::Cache;
use crate::cli::syntax::parse_bool;
use crate::cli::values::stray_character;
use crate::cli::{Line, Values};
use crate::error::{Failure, Reason, Stage};
use crate::http::HttpConfig;
use crate::key::KeySource;
use crate::metrics::Labels;
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
    let http = HttpConfig { interface: locate.endpoint.zone(), ..http(&values)? };
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
    Ok(Some(Cache { dir: given.or_else(default_cache_dir), ttl, failure_ttl }))
}

/// Where results are kept unless `-cache-dir` says so. XDG Base Directory Specification 0.8: a relative path is
/// invalid and ignored. systemd's `CacheDirectory=` is the service's own; of several the first is taken.
fn default_cache_dir() -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let xdg = || absolute(variable("XDG_CACHE_HOME")?.into()).map(|dir| dir.join("monitoring-token"));
    let systemd = || std::env::split_paths(&variable("CACHE_DIRECTORY")?).find_map(absolute);
    let home = || absolute(variable("HOME")?.into()).map(|home| home.join(".cache/monitoring-token"));
    xdg().or_else(systemd).or_else(home)
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
        machine: values.word("machine")?.unwrap_or_default().to_owned(),
        env_name: env_name(values, "MONITORING_URL")?,
        exchange: match (exchange, wants_service_url) {
            (false, _) => Exchange::No,
            (true, false) => Exchange::Both,
            (true, true) => Exchange::ServiceUrl,
        },
        url_key: url_key(values)?,
        drop_service_url: is_ours || wants_service_url,
    })
}

fn url_key(values: &Values<'_>) -> Result<Option<String>, Failure> {
    match values.word("service-url-key-name")? {
        Some("") => Err(Failure::usage(
            "-service-url-key-name: the key is empty; give a key in target.urls, or leave the flag out",
        )),
        key => Ok(key.map(str::to_owned)),
    }
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
    // The URL standard drops them without a word.
    if let Some(why) = stray_character(text) {
        return Err(refuse(&format!("it {why}")));
    }
    if let Ok(url) = Url::parse(text) {
        check_host(&url).map_err(|why| refuse(&why))?;
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
        (false, _) if looks_like_a_key(given.text) => Err(Failure::failed(
            Stage::Sign,
            Reason::KeyInvalid,
            format!(
                "{}: holds neither the path of a private JWK nor the JWK itself (which begins with {{), but what looks like a key in another form; it is not shown",
                given.origin()
            ),
        )),
        (false, _) if given.text.as_bytes().starts_with(b"file:") => Err(Failure::failed(
            Stage::Sign,
            Reason::KeyUnreadable,
            format!("{}: expected the path of the private JWK, not a file: URL", given.origin()),
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
