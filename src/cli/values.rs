//! Parsers of flag values: from text to a typed value. Errors name the flag or the variable.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command};
use reqwest::Url;

use crate::failure::{Failure, brief, or_list};
use crate::go::csv;
use crate::go::duration::{self, GoDuration};
use crate::go::flag::parse_bool;
use crate::go::proxy::has_sound_host;
use crate::secret::{is_file_name, shown_url};

/// The name of this program.
pub(crate) const PROGRAM: &str = "monitoring-token";

pub(crate) enum Why {
    /// An explanation, shown after the value.
    Shown(Cow<'static, str>),
    /// The value as it may be shown, and an explanation.
    Redacted(String, String),
    /// An explanation without the value, which may be a secret.
    Hidden(Cow<'static, str>),
    /// The value is empty, usually because a variable in a script is not set.
    Empty,
}

impl From<&'static str> for Why {
    fn from(why: &'static str) -> Why {
        Why::Shown(why.into())
    }
}

pub(super) fn only<T>(value: T, holds: bool, why: &'static str) -> Result<T, Why> {
    if holds { Ok(value) } else { Err(why.into()) }
}

impl Why {
    fn message(self, text: &OsStr, origin: &str) -> String {
        match self {
            Why::Shown(why) => format!("invalid value \"{}\" for {origin}: {why}", brief(text)),
            Why::Redacted(shown, why) => Why::Shown(why.into()).message(OsStr::new(&shown), origin),
            Why::Hidden(why) => format!("{origin}: {why}"),
            Why::Empty => format!("empty value for {origin}: give a value or leave the flag out"),
        }
    }
}

pub(crate) type Parse<T> = fn(&OsStr) -> Result<T, Why>;

#[derive(Clone)]
pub(crate) struct Given<T = ()> {
    pub(crate) value: T,
    pub(crate) text: OsString,
    pub(crate) origin: String,
    source: ValueSource,
}

impl<T> Given<T> {
    pub(crate) fn is_flag(&self) -> bool {
        self.source == ValueSource::CommandLine
    }

    pub(crate) fn is_variable(&self) -> bool {
        self.source == ValueSource::EnvVariable
    }

    /// The error of an invalid value. It shows the value, so do not use it for secrets.
    pub(crate) fn refuse(&self, why: &'static str) -> Failure {
        Failure::usage(Why::from(why).message(&self.text, &self.origin))
    }

    /// Parses a value late: of several texts, only the last one must be valid, as in Go.
    pub(crate) fn read<U>(&self, parse: Parse<U>) -> Result<U, Failure> {
        parse(&self.text).map_err(|why| Failure::usage(why.message(&self.text, &self.origin)))
    }
}

/// Extensions of clap's attributes.
pub(super) trait Flag {
    /// The variable that is read if the flag is not given.
    fn variable(self, name: &'static str) -> Self;
    /// The default, if the variable is not set either.
    fn default(self, text: &'static str) -> Self;
    /// A Go boolean: its value is only given after `=`.
    fn boolean(self, default: bool) -> Self;
}

impl Flag for Arg {
    fn variable(self, name: &'static str) -> Arg {
        self.env(name).hide_env_values(true)
    }

    fn default(self, text: &'static str) -> Arg {
        if is_described() { self.default_value(text) } else { self }
    }

    fn boolean(self, default: bool) -> Arg {
        self.action(ArgAction::Set)
            .value_parser(read(boolean))
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default(if default { "true" } else { "false" })
    }
}

thread_local! {
    /// clap gets the defaults only when it prints them: in a run, they would cost 3 % of the instructions.
    static DESCRIBING: Cell<bool> = const { Cell::new(false) };
}

/// True if the definitions are for help, man pages or completions.
pub(super) fn is_described() -> bool {
    DESCRIBING.get()
}

/// Runs `build` with defaults included in the definitions.
pub(crate) fn described<T>(build: impl FnOnce() -> T) -> T {
    DESCRIBING.set(true);
    let described = build();
    DESCRIBING.set(false);
    described
}

/// A default: its text in the help, and its value.
pub(crate) struct Preset<T> {
    pub(super) text: &'static str,
    pub(super) parse: Parse<T>,
}

impl<T> Preset<T> {
    pub(crate) fn or(&self, given: Option<T>) -> T {
        given.or_else(|| (self.parse)(self.text.as_ref()).ok()).expect("the default of a flag is a value")
    }
}

#[derive(Clone)]
pub(crate) struct Reader<T, V> {
    parse: Parse<T>,
    keep: fn(T, &OsStr, Option<&Arg>, ValueSource) -> V,
}

pub(crate) fn read<T>(parse: Parse<T>) -> Reader<T, T> {
    Reader { parse, keep: |value, _, _, _| value }
}

/// As [`read`], but keeps the text and its origin.
pub(crate) fn given<T>(parse: Parse<T>) -> Reader<T, Given<T>> {
    Reader {
        parse,
        keep: |value, text, arg, source| Given {
            value,
            text: text.to_owned(),
            origin: origin(arg, source),
            source,
        },
    }
}

impl<T, V> TypedValueParser for Reader<T, V>
where
    T: Clone + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Value = V;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, text: &OsStr) -> Result<V, clap::Error> {
        self.parse_ref_(command, arg, text, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        _: &Command,
        arg: Option<&Arg>,
        text: &OsStr,
        source: ValueSource,
    ) -> Result<V, clap::Error> {
        // It counts as not set (see `parse_untyped`).
        let is_unset = text.is_empty() && source == ValueSource::EnvVariable;
        match (self.parse)(text) {
            Ok(_) if is_unset => Err(clap::Error::new(ErrorKind::ValueValidation)),
            Ok(value) => Ok((self.keep)(value, text, arg, source)),
            Err(why) => {
                let mut error = clap::Error::new(ErrorKind::ValueValidation);
                let message = why.message(text, &origin(arg, source));
                error.insert(ContextKind::Custom, ContextValue::String(message));
                Err(error)
            }
        }
    }
}

/// clap's errors, in the voice of this program.
pub(super) fn message(error: &clap::Error, program: &str) -> String {
    match (error.get(ContextKind::Custom), error.get(ContextKind::InvalidArg)) {
        (Some(ContextValue::String(message)), _) => message.clone(),
        (_, Some(ContextValue::Strings(missing))) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let flag = missing.first().map(|flag| flag.replace(['<', '>'], "")).unwrap_or_default();
            format!("missing {flag}; {program} -help lists the flags")
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

fn origin(arg: Option<&Arg>, source: ValueSource) -> String {
    let variable = arg.and_then(Arg::get_env).filter(|_| source == ValueSource::EnvVariable);
    match variable {
        Some(variable) => variable.to_string_lossy().into_owned(),
        None => arg.map(spelled).unwrap_or_default(),
    }
}

// The headings of the flags that the documentation writes with two dashes.
pub(super) const SERVICE: &str = "Service";
pub(super) const TOKEN: &str = "Token";
pub(super) const STS: &str = "Flags of sts";

/// A flag as the documentation writes it: one dash for the original's flags and those of a run, two for service tokens.
pub(super) fn spelled(arg: &Arg) -> String {
    let has_two = matches!(arg.get_help_heading(), Some(SERVICE | TOKEN | STS)) || arg.get_short().is_some();
    let name = arg.get_long().unwrap_or_default();
    if has_two { format!("--{name}") } else { format!("-{name}") }
}

const NOT_UTF8: &str = "not valid UTF-8";
const CONTROL_CHARACTER: &str = "contains a control character; remove it";

/// Describes a character in `text` that is probably there by mistake.
pub(crate) fn stray_character(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        Some(CONTROL_CHARACTER)
    } else if text.trim() != text {
        Some("begins or ends with whitespace; remove it")
    } else {
        None
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of many parsers")]
pub(crate) fn anything(_: &OsStr) -> Result<(), Why> {
    Ok(())
}

fn utf8(text: &OsStr) -> Result<&str, Why> {
    text.to_str().ok_or(NOT_UTF8.into())
}

/// Text without control characters. A file edited on Windows leaves `\r`.
pub(super) fn line(text: &OsStr) -> Result<&str, Why> {
    let text = utf8(text)?;
    only(text, !text.chars().any(char::is_control), CONTROL_CHARACTER)
}

/// As [`line`], but not empty.
pub(super) fn filled(text: &OsStr) -> Result<&str, Why> {
    if text.is_empty() { Err(Why::Empty) } else { line(text) }
}

pub(super) fn text(text: &OsStr) -> Result<String, Why> {
    filled(text).map(str::to_owned)
}

/// Text that may be empty, without whitespace around it.
pub(crate) fn word(text: &OsStr) -> Result<String, Why> {
    let text = utf8(text)?;
    stray_character(text).map_or_else(|| Ok(text.to_owned()), |why| Err(why.into()))
}

pub(crate) fn path(text: &OsStr) -> Result<PathBuf, Why> {
    if text.is_empty() {
        return Err(Why::Hidden("the path is empty; give one, or leave the flag out".into()));
    }
    if text.as_bytes().windows(3).any(|part| part == b"://") && Path::new(text).symlink_metadata().is_err() {
        return Err(Why::Hidden("expected a path, not a URL; it is not shown".into()));
    }
    if is_secret(text.as_bytes()) {
        let why = "expected a path, not a token or key; it is not shown";
        return Err(Why::Hidden(why.into()));
    }
    let stray = stray_character(&text.to_string_lossy());
    stray.map_or_else(|| Ok(PathBuf::from(text)), |why| Err(why.into()))
}

/// True for a service token, in any directory, or a JWK.
fn is_secret(path: &[u8]) -> bool {
    let is_token = |name: &[u8]| {
        [&b"gt-"[..], b"svctok-"].iter().any(|&prefix| name.starts_with(prefix)) && !is_file_name(name)
    };
    path.starts_with(b"{") || path.split(|&byte| byte == b'/').any(is_token)
}

/// A name under which a program can find a variable. The kernel accepts anything without `=`; shells do not accept
/// dashes and dots, but Kubernetes does.
pub(crate) fn variable_name(text: &OsStr) -> Result<OsString, Why> {
    let bytes = text.as_bytes();
    let is_name = bytes.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let why = "not a valid environment variable name; use letters, digits, '_', '-' and '.', not beginning with a digit";
    only(text.to_owned(), is_name && !bytes.is_empty() && !bytes[0].is_ascii_digit(), why)
}

/// True if this would be a boolean without the blanks, quotation marks, control characters and non-ASCII bytes that some
/// tool has left in it.
pub(crate) fn is_damaged_bool(word: &OsStr) -> bool {
    let is_kept = |byte: &u8| byte.is_ascii_graphic() && !b"\"'".contains(byte);
    let kept: Vec<u8> = word.as_bytes().iter().copied().filter(is_kept).collect();
    kept.len() < word.len() && parse_bool(OsStr::from_bytes(&kept)).is_some()
}

pub(super) fn boolean(text: &OsStr) -> Result<bool, Why> {
    parse_bool(text).ok_or("expected true or false".into())
}

pub(super) fn count(text: &OsStr) -> Result<u32, Why> {
    text.to_str().and_then(|text| text.parse().ok()).ok_or("expected a whole number such as 0, 1 or 2".into())
}

/// A Go duration of zero or more.
pub(super) fn duration(text: &OsStr) -> Result<Duration, Why> {
    match text.to_str().and_then(duration::parse) {
        Some(GoDuration::NotNegative(duration)) => Ok(duration),
        Some(GoDuration::Negative) => Err("must not be negative".into()),
        None => Err("expected a duration such as 250ms, 5s or 1m30s".into()),
    }
}

pub(super) fn positive_duration(text: &OsStr) -> Result<Duration, Why> {
    let duration = duration(text)?;
    only(duration, !duration.is_zero(), "must be greater than zero")
}

/// A lifetime: days such as `7d`, a Go duration, or both.
pub(super) fn lifetime(text: &OsStr) -> Result<Duration, Why> {
    parse_lifetime(filled(text)?).ok_or("not a valid lifetime: expected for example 12h, 7d or 1d12h".into())
}

pub(super) fn parse_lifetime(text: &str) -> Option<Duration> {
    const DAY: u64 = 24 * 3600;
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) if !days.is_empty() && days.bytes().all(|byte| byte.is_ascii_digit()) => {
            (days.parse::<u64>().ok()?, rest)
        }
        _ => (0, text),
    };
    let rest = match (rest, days) {
        ("", 1..) => Duration::ZERO,
        _ => match duration::parse(rest)? {
            GoDuration::NotNegative(rest) => rest,
            GoDuration::Negative => return None,
        },
    };
    let whole = Duration::from_secs(days.checked_mul(DAY)?).checked_add(rest)?;
    // The longest duration that Go can represent.
    (!whole.is_zero() && whole.as_nanos() <= i64::MAX as u128).then_some(whole)
}

/// A comma-separated list, quoted as in CSV.
#[derive(Clone)]
pub(crate) struct CommaList(pub(crate) Vec<String>);

pub(super) fn list(text: &OsStr) -> Result<CommaList, Why> {
    if text.is_empty() {
        return Err(Why::Empty);
    }
    csv::fields(utf8(text)?).map(CommaList).ok_or("a quotation mark is not closed".into())
}

pub(super) fn one_of<T: Copy>(words: &[(&str, T)], text: &OsStr) -> Result<T, Why> {
    let text = filled(text)?;
    words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        Why::Shown(format!("expected {}", or_list(&words)).into())
    })
}

pub(super) fn base_url(text: &OsStr) -> Result<Url, Why> {
    parse_base_url(text).map_err(|why| match shown_url(text) {
        Some(shown) => Why::Redacted(shown, why),
        None => Why::Hidden(why.into()),
    })
}

/// As [`base_url`], for a URL that does not come from a flag.
pub(crate) fn parse_base_url(text: &OsStr) -> Result<Url, String> {
    let text = text.to_str();
    if let Some(why) = text.and_then(stray_character) {
        return Err(format!("the URL {why}"));
    }
    match text.and_then(|text| Url::parse(text.trim_end_matches('/')).ok()) {
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("the URL must not contain a user or a password; use the base URL alone".to_owned())
        }
        Some(url) if url.query().is_some() || url.fragment().is_some() => {
            Err("the URL must not contain a query or a fragment; use the base URL alone".to_owned())
        }
        Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            check_host(&url).map(|()| url)
        }
        None if text.is_some_and(|text| text.contains('[') && text.contains('%')) => {
            Err("an IPv6 zone is supported in -locate-url only".to_owned())
        }
        _ => Err("expected an http:// or https:// URL".to_owned()),
    }
}

/// Fails if the host of `url` is invalid. The URL standard allows names that no resolver accepts, such as a variable
/// that a configuration file did not expand.
pub(crate) fn check_host(url: &Url) -> Result<(), String> {
    let Some(host) = url.domain().filter(|_| !has_sound_host(url)) else { return Ok(()) };
    let hint = if host.contains(['$', '{', '}']) {
        "; a variable in it was not expanded"
    } else if host.starts_with('.') || host.contains("..") {
        "; a part of it is empty"
    } else {
        ""
    };
    Err(format!("invalid host {host}{hint}"))
}
