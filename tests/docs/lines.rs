//! Command lines of `monitoring-token` in documentation and deployment files: found as readers find them, and checked
//! against the definitions of the flags and by the program itself.

use std::ffi::OsString;

use monitoring_token::cli::{self, Stop};
use monitoring_token::dispatch;
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::support::{run, token};

/// The arguments of each `monitoring-token` in a shell text, a unit, or a script within another file.
pub fn in_text(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    joined.lines().filter_map(in_line).collect()
}

fn in_line(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    if line.starts_with('#') || line.starts_with("//") {
        return None;
    }
    // A line in another language may have an unbalanced quote; it has no command then.
    let words = shlex::split(line)?;
    in_words(&words)
}

/// The arguments of the `monitoring-token` among `words`, up to the next shell operator.
fn in_words(words: &[String]) -> Option<Vec<String>> {
    let is_ours = |word: &String| word == "monitoring-token" || word.ends_with("/monitoring-token");
    let at = words.iter().position(is_ours)?;
    let is_operator = |word: &&String| !matches!(word.as_str(), "|" | "||" | "&&" | ";" | "&" | ">" | "<");
    let args: Vec<String> = words[at + 1..].iter().take_while(is_operator).cloned().collect();
    (!args.is_empty()).then_some(args)
}

/// The arguments of each `monitoring-token` in a YAML file: in its texts, and in lists of words.
pub fn in_yaml(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for document in Yaml::load_from_str(text).expect("the file is YAML") {
        walk(&document, &mut found);
    }
    found
}

fn walk(node: &Yaml<'_>, found: &mut Vec<Vec<String>>) {
    if let Some(text) = node.as_str() {
        // A folded script is one line already; an image, a path or a name is not a command.
        found.extend(in_text(text));
    }
    for item in node.as_sequence().into_iter().flatten() {
        walk(item, found);
    }
    if let Some(mapping) = node.as_mapping() {
        let words = |key: &str| -> Vec<String> {
            let value = mapping.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value);
            if let Some(word) = value.and_then(Yaml::as_str) {
                return vec![word.to_owned()];
            }
            value
                .and_then(Yaml::as_sequence)
                .into_iter()
                .flatten()
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect()
        };
        // Kubernetes and exporters: command and args are one line.
        let line = [words("command"), words("args")].concat();
        if line.first().is_some_and(|word| word.ends_with("monitoring-token")) {
            found.extend(in_words(&line));
        }
        for (_, value) in mapping {
            walk(value, found);
        }
    }
}

/// Describes an error in these arguments of `monitoring-token`.
pub fn check(args: &[String]) -> Result<(), String> {
    let first = args.first().map(String::as_str).unwrap_or_default();
    let known = dispatch::subcommands();
    let Some(subcommand) = known.iter().find(|command| command.get_name() == first) else {
        if !first.starts_with('-') {
            return Err(format!("{first} is not a subcommand of monitoring-token"));
        }
        return check_main(args);
    };
    let mut rest = &args[1..];
    let mut command = subcommand;
    if subcommand.has_subcommands() {
        let verb = rest.first().ok_or_else(|| format!("{first} without a verb"))?;
        command =
            subcommand.find_subcommand(verb).ok_or_else(|| format!("{verb} is not a command of {first}"))?;
        rest = &rest[1..];
    }
    let line = parse(command.clone(), rest)?;
    match (command.get_name(), line) {
        ("exec", Some(words)) if words.is_empty() => Err("exec without a command".to_owned()),
        _ => Ok(()),
    }
}

/// The operands; `None` for `-help`.
fn parse(command: clap::Command, args: &[String]) -> Result<Option<Vec<OsString>>, String> {
    match cli::parse_untyped(command, args.iter().map(OsString::from).collect()) {
        Ok(line) => Ok(Some(line.operands)),
        Err(Stop::Help | Stop::Print(_)) => Ok(None),
        Err(Stop::Refused { failure, .. } | Stop::Failed(failure)) => Err(failure.message),
    }
}

/// The program parses the complete line, including values, and stops at the missing key.
fn check_main(args: &[String]) -> Result<(), String> {
    if parse(cli::main_command(), args)?.is_none() {
        return Ok(());
    }
    let ended = run(token().args(args).env("MONITORING_SIGNER_KEY", "/proc/nonexistent/key"));
    if ended.status == 125 && ended.stderr.contains("/proc/nonexistent/key") {
        Ok(())
    } else {
        Err(format!("{ended:?}"))
    }
}

/// Asserts that the program accepts each line.
#[track_caller]
pub fn all_are_taken(origin: &str, lines: &[Vec<String>]) {
    let wrong: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            check(line).err().map(|why| format!("{origin}: monitoring-token {}: {why}", line.join(" ")))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_line_is_detected() {
    for (text, why) in [
        ("monitoring-token -machin=x -- true", "unknown flag"),
        ("monitoring-token nope exec -- true", "nope is not a subcommand"),
        ("FOO=1 /usr/bin/monitoring-token -timeout=5 -- true", "expected a duration"),
        ("monitoring-token -machine=x", "missing command to run"),
        ("x && monitoring-token key make | cat", "make is not a command of key"),
        ("monitoring-token key public -nope x", "unknown flag"),
    ] {
        let lines = in_text(text);
        assert_eq!(lines.len(), 1, "{text}");
        let said = check(&lines[0]).expect_err(text);
        assert!(said.contains(why), "{text}: {said}");
    }
    let yaml = "a:\n- command: [/x/monitoring-token]\n  args: [-machin=x, --, 'true']\n";
    assert_eq!(in_yaml(yaml), [["-machin=x", "--", "true"]]);
}
