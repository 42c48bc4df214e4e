//! Rules of the main command's flags.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use reqwest::Url;

use super::Purpose;
use super::http::http;
use super::key_text::{damage, is_inline_jwk, is_url, looks_like_a_key, may_hold_a_secret};
use super::run;
use crate::cache::Cache;
use crate::child::OutputPolicy;
use crate::cli::flags::{
    CacheFlags, ENV_NAME, EXCHANGE, LOCATE_URL, LocateFlags, MainFlags, OUTPUT, SERVICE, TIMEOUT,
};
use crate::cli::values::{Given, Why, check_host, is_damaged_bool, stray_character, variable_name, word};
use crate::cli::{Line, PROGRAM};
use crate::failure::{Failure, Reason, Stage};
use crate::go::flag::parse_bool;
use crate::http::HttpConfig;
use crate::issuer::locate::{Endpoint, Exchange, LocateConfig, SERVICE_URL, SIGNER_KEY};
use crate::key::KeySource;
use crate::metrics::Labels;
use crate::run::RunConfig;
use crate::run::locate::LocateRun;
use crate::secret::{SecretString, overwrite_variable, protect_url, scrub_name, shown_url};
use crate::sys::signal::Signals;

/// The main command, or `check` in front of it.
pub(crate) fn locate_run(line: Line<MainFlags>, purpose: Purpose, _: &Signals) -> Result<LocateRun, Failure> {
    run::check_command(&line, PROGRAM, purpose)?;
    let Line { flags, operands: command, debug, .. } = line;
    let MainFlags { locate: locate_flags, http: http_flags, timeout, output, run: run_flags, cache, .. } =
        flags;
    let run = run::run(run_flags, TIMEOUT.or(timeout), command, purpose)?;
    let locate = locate(&locate_flags)?;
    let run = RunConfig {
        output: run::output(output, &OUTPUT, debug.then_some(OutputPolicy::Inherit)),
        labels: Labels {
            machine: scrub_name(&locate.machine),
            service: scrub_name(&locate.endpoint.service),
            ..run.labels
        },
        ..run
    };
    let http = HttpConfig { interface: locate.endpoint.zone(), ..http(http_flags)? };
    let cache = cache_of(cache).filter(|_| purpose == Purpose::Run);
    Ok(LocateRun { locate, http, run, cache })
}

/// Zero means off.
fn cache_of(flags: CacheFlags) -> Option<Cache> {
    let (ttl, failure_ttl) =
        (flags.cache_ttl.unwrap_or_default(), flags.cache_failure_ttl.unwrap_or_default());
    if ttl.is_zero() && failure_ttl.is_zero() {
        return None;
    }
    Some(Cache { dir: flags.cache_dir.or_else(default_cache_dir), ttl, failure_ttl })
}

/// The default of `-cache-dir`. XDG Base Directory Specification 0.8: a relative path is invalid and ignored. systemd's
/// `CACHE_DIRECTORY` belongs to the service; the first of several is used.
fn default_cache_dir() -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let xdg = || absolute(variable("XDG_CACHE_HOME")?.into()).map(|dir| dir.join("monitoring-token"));
    let systemd = || std::env::split_paths(&variable("CACHE_DIRECTORY")?).find_map(absolute);
    let home = || absolute(variable("HOME")?.into()).map(|home| home.join(".cache/monitoring-token"));
    xdg().or_else(systemd).or_else(home)
}

fn locate(flags: &LocateFlags) -> Result<LocateConfig, Failure> {
    let exchange = flags.exchange.unwrap_or(EXCHANGE);
    let wants_service_url = flags.service_url.unwrap_or_default();
    if wants_service_url && !exchange {
        return Err(Failure::usage(
            "-service-url (or SERVICE_URL=true) cannot be used with -exchange=false; remove one of them",
        ));
    }
    let service = flags.service.as_ref();
    let service = service.map_or(Ok(SERVICE.to_owned()), |given| given.read(service_path))?;
    let env_name = flags.env_name.as_ref();
    let inherited = std::env::var_os(SERVICE_URL);
    let is_ours = inherited.is_some_and(|value| parse_bool(&value).is_some() || is_damaged_bool(&value));
    Ok(LocateConfig {
        endpoint: endpoint(flags.locate_url.as_ref(), &service)?,
        key: key(flags.monitoring_signer_key.as_ref())?,
        machine: flags.machine.as_ref().map(|machine| machine.read(word)).transpose()?.unwrap_or_default(),
        env_name: env_name.map_or(Ok(ENV_NAME.into()), |name| name.read(variable_name))?,
        exchange: match (exchange, wants_service_url) {
            (false, _) => Exchange::No,
            (true, false) => Exchange::Both,
            (true, true) => Exchange::ServiceUrl,
        },
        url_key: flags.service_url_key_name.as_ref().map(|key| key.read(url_key)).transpose()?,
        drop_service_url: is_ours || wants_service_url,
    })
}

fn url_key(text: &OsStr) -> Result<String, Why> {
    if text.is_empty() {
        return Err(Why::Hidden("the key is empty; give a key in target.urls, or leave the flag out".into()));
    }
    word(text)
}

/// The end of the path, which may be more or less than the service. No path of Locate contains whitespace or quotation marks.
fn service_path(text: &OsStr) -> Result<String, Why> {
    let service = text.to_str().ok_or("not valid UTF-8")?;
    if service.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\'')) {
        return Err(
            "contains a space, quotation mark or control character; use <experiment>/<datatype>".into()
        );
    }
    Ok(service.to_owned())
}

/// The endpoint of Locate: `-locate-url` followed by `-service`.
fn endpoint(given: Option<&Given>, service: &str) -> Result<Endpoint, Failure> {
    let Some(given) = given else {
        let refuse = |why| Failure::usage(format!("-locate-url: invalid URL: {why}"));
        return Endpoint::new(LOCATE_URL, service).map_err(refuse);
    };
    // It may hold a password, which is not shown.
    let refuse = |why: &str| {
        let shown = shown_url(&given.text).map(|url| format!(" {url:?}")).unwrap_or_default();
        Failure::usage(format!("{}: invalid URL{shown}: {why}", given.origin))
    };
    let text = given.text.to_str().ok_or_else(|| refuse("it is not UTF-8"))?;
    if text.is_empty() {
        return Err(refuse("it is empty; set it to the URL of Locate's monitoring path"));
    }
    // The URL standard drops them silently.
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

fn key(given: Option<&Given>) -> Result<KeySource, Failure> {
    let Some(given) = given.filter(|given| !given.text.is_empty()) else {
        return Ok(KeySource::Missing);
    };
    let origin = if given.is_variable() { SIGNER_KEY } else { "-monitoring-signer-key" };
    let kind = if given.text.as_bytes().starts_with(b"file:") { "file: URL" } else { "URL" };
    let source = match (is_inline_jwk(&given.text), given.is_variable()) {
        (false, _) if looks_like_a_key(&given.text) => {
            let (reason, why) = match damage(&given.text) {
                Some(damage) => (Reason::KeyUnreadable, damage),
                None => (Reason::KeyInvalid, "the value looks like a key in another form, and is not shown"),
            };
            let expected = "expected the path of a private JWK, or the JWK itself (it begins with {)";
            Err(Failure::failed(Stage::Sign, reason, format!("{}: {expected}; {why}", given.origin)))
        }
        (false, _) if is_url(&given.text) => Err(Failure::failed(
            Stage::Sign,
            Reason::KeyUnreadable,
            format!("{}: expected the path of the private JWK, not a {kind}; it is not shown", given.origin),
        )),
        (false, _) => Ok(KeySource::File(PathBuf::from(&given.text), origin)),
        (true, false) => Err(Failure::usage(
            "-monitoring-signer-key: expected a file, not the key; command lines are public, so give the key itself in MONITORING_SIGNER_KEY",
        )),
        (true, true) => Ok(KeySource::Inline(SecretString::from(given.text.to_string_lossy().into_owned()))),
    };
    // Even if the flag overrides it.
    if std::env::var_os(SIGNER_KEY).is_some_and(|value| may_hold_a_secret(&value)) {
        overwrite_variable(SIGNER_KEY);
    }
    source
}
