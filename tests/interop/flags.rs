//! Flag syntax: a generated table of command lines, each parsed here and by Go's package `flag`.

use std::ffi::OsString;
use std::time::Duration;

use clap::parser::ValueSource;
use monitoring_token::cli;
use serde_json::{Value, json};

use crate::go::Go;
use crate::{Check, Found, Peers};

pub const CHECKS: &[Check] = &[Check {
    peer: "Go's package flag",
    claim: "parses every command line of a generated table as we do",
    run: table,
}];

const TEXT_FLAGS: [&str; 5] = ["locate-url", "machine", "service", "env-name", "service-url-key-name"];

/// Ways to write one flag.
fn forms() -> Vec<Vec<String>> {
    let mut forms = Vec::new();
    let line = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    for name in TEXT_FLAGS {
        let value = if name == "locate-url" { "http://h/" } else { "a/b" };
        forms.push(vec![format!("-{name}={value}")]);
        forms.push(vec![format!("--{name}"), value.to_owned()]);
        forms.push(vec![format!("-{name}"), "-x=y".to_owned()]);
    }
    for value in ["1m30s", "1.5h", "250ms", "1us", "1µs", "60", "", "1d", ".5s", "1h2m3.5s", "x"] {
        forms.push(vec![format!("-timeout={value}")]);
        forms.push(vec!["--timeout".to_owned(), value.to_owned()]);
    }
    for value in
        ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False", "yes", "tRUE", ""]
    {
        forms.push(vec![format!("-service-url={value}")]);
    }
    for words in [
        &["-service-url"][..],
        &["--"],
        &["-"],
        &["---machine=x"],
        &["-=x"],
        &["--=x"],
        &["-machine"],
        &["-nope"],
        &["-nope=1"],
        &["word"],
        &["word", "-machine=m"],
        &["-machine", "--"],
    ] {
        forms.push(line(words));
    }
    forms
}

/// The program's reading of a command line, in the format of the Go peer; null if it is refused.
fn ours(words: &[String]) -> Value {
    let args = words.iter().map(OsString::from).collect();
    let Ok(line) = cli::parse_untyped(cli::main_command(), args) else {
        return Value::Null;
    };
    let mut given = json!({});
    for name in TEXT_FLAGS {
        let id = name.replace('-', "_");
        if line.flags.value_source(&id) == Some(ValueSource::CommandLine) {
            let text = line.flags.get_raw(&id).and_then(|mut texts| texts.next()).unwrap_or_default();
            given[name] = text.to_string_lossy().into();
        }
    }
    let timeout = line.flags.get_one::<Duration>("timeout").map(Duration::as_nanos).unwrap_or_default();
    given["timeout"] = u64::try_from(timeout).unwrap_or_default().into();
    given["service-url"] = line.flags.get_flag("service_url").into();
    given["words"] = line.operands.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().into();
    given
}

fn table(peers: &Peers) -> Found {
    let mut go = Go::start(peers)?;
    let forms = forms();
    let singles = forms.iter().cloned();
    let pairs = forms.iter().flat_map(|a| forms.iter().map(move |b| [a.clone(), b.clone()].concat()));
    let mut rows = 0;
    for words in singles.chain(pairs) {
        let question: Vec<&str> = std::iter::once("flags").chain(words.iter().map(String::as_str)).collect();
        let theirs = go.ask(&question)?;
        let ours = ours(&words);
        if ours != theirs {
            return Err(format!("{words:?}: {ours} here, {theirs} in Go"));
        }
        rows += 1;
    }
    Ok(format!("{rows} command lines"))
}
