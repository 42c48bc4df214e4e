//! `docs/reference.md` is complete: all flags as in `-help`, and the variables, metrics and JSON fields. `UPDATE_DOCS=1
//! cargo test --test promises -- reference` writes the tables of flags.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::docs::manual::repository;
use crate::support::job::Folder;
use crate::support::{Sandbox, run, sandbox_program, token};

const PAGE: &str = "docs/reference.md";
const UPDATE: &str = "run UPDATE_DOCS=1 cargo test --test promises -- reference";

fn page() -> String {
    fs::read_to_string(repository().join(PAGE)).expect(PAGE)
}

/// A flag, as `-help` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flag {
    heading: String,
    name: String,
    /// The flag as the page writes it, with its value.
    syntax: String,
    variable: String,
    default: String,
    meaning: String,
}

/// The parsed output of `-help`.
#[derive(Debug, Default)]
struct Help {
    flags: Vec<Flag>,
    verbs: Vec<String>,
}

/// Takes `[label: …]` out of a help text.
fn take(text: &mut String, label: &str) -> String {
    let Some(begin) = text.find(&format!("[{label}: ")) else { return String::new() };
    let end = begin + text[begin..].find(']').expect("the bracket is closed");
    let value = text[begin + label.len() + 3..end].to_owned();
    text.replace_range(begin..=end, "");
    value
}

fn help(mut command: Command, words: &[&str]) -> Help {
    let ended = run(command.args(words).arg("--help"));
    assert_eq!(ended.status, 0, "{words:?}: {ended:?}");
    let (mut heading, mut entries, mut verbs) = (String::new(), Vec::<(String, String)>::new(), Vec::new());
    for line in ended.stdout.lines() {
        let text = line.trim_start();
        let indentation = line.len() - text.len();
        if indentation == 0 {
            if !text.is_empty() {
                text.trim_end_matches(':').clone_into(&mut heading);
            }
        } else if heading == "Commands" && indentation == 2 {
            verbs.extend(text.split_whitespace().next().map(str::to_owned));
        } else if indentation <= 6 && text.starts_with('-') {
            entries.push((heading.clone(), text.to_owned()));
        } else if !text.is_empty() && entries.last().is_some_and(|(of, _)| *of == heading) {
            // Two spaces separate a flag from its text, which may begin on the next line.
            let entry = &mut entries.last_mut().expect("an entry").1;
            *entry += if entry.contains("  ") { " " } else { "  " };
            *entry += text;
        }
    }
    let flags = entries.into_iter().filter_map(|(heading, entry)| flag(heading, &entry)).collect();
    verbs.retain(|verb| verb != "help");
    Help { flags, verbs }
}

fn flag(heading: String, entry: &str) -> Option<Flag> {
    let (spec, meaning) = entry.split_once("  ").unwrap_or_else(|| panic!("no help: {entry}"));
    let (short, long) = spec.split_once("--")?;
    let name = long.split([' ', '[', '=']).next().unwrap_or_default().to_owned();
    if name == "help" {
        return None;
    }
    let mut meaning = meaning.trim().to_owned();
    let default = take(&mut meaning, "default");
    let variable = take(&mut meaning, "env").trim_end_matches('=').to_owned();
    let alias = take(&mut meaning, "alias");
    let values = take(&mut meaning, "possible values");
    let mut syntax = format!("{short}--{}", long.replace(['<', '>'], ""));
    if !alias.is_empty() {
        syntax = format!("{alias}, {syntax}");
    }
    let mut meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
    if !values.is_empty() {
        write!(meaning, ": {values}").unwrap();
    }
    Some(Flag { heading, name, syntax, variable, default, meaning })
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn row(flag: &Flag, dash: &str, verbs: Option<&str>) -> String {
    let syntax = if dash == "-" { flag.syntax.replacen("--", "-", 1) } else { flag.syntax.clone() };
    let default = if flag.default.contains(' ') { cell(&flag.default) } else { code(&flag.default) };
    let verbs = verbs.map(|verbs| format!(" {verbs} |")).unwrap_or_default();
    format!(
        "| `{}` |{verbs} {} | {default} | {} |\n",
        cell(&syntax),
        code(&flag.variable),
        cell(&flag.meaning).replace('*', "\\*")
    )
}

/// The flags of the main command, one table for each heading.
fn main_tables(main: &Help) -> String {
    let mut text = String::new();
    let mut last = "";
    for flag in &main.flags {
        if flag.heading != last {
            last = &flag.heading;
            write!(text, "\n### {last}\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
                .unwrap();
        }
        text += &row(flag, "-", None);
    }
    text.trim_start_matches('\n').to_owned()
}

/// The flags of a command's verbs that differ from the main command's.
fn verb_table(main: &Help, verbs: &[(String, Help)]) -> String {
    let mut rows: Vec<(&Flag, Vec<&str>)> = Vec::new();
    for (verb, help) in verbs {
        for flag in help.flags.iter().filter(|flag| !main.flags.contains(flag)) {
            let same = |(known, _): &&mut (&Flag, Vec<&str>)| {
                (&known.syntax, &known.meaning, &known.default)
                    == (&flag.syntax, &flag.meaning, &flag.default)
            };
            match rows.iter_mut().find(same) {
                Some((_, of)) => of.push(verb),
                None => rows.push((flag, vec![verb])),
            }
        }
    }
    let mut text = "| flag | of | variable | default | meaning |\n|---|---|---|---|---|\n".to_owned();
    for (flag, of) in rows {
        let of = if of.len() == verbs.len() && of.len() > 1 { "all".to_owned() } else { of.join(", ") };
        text += &row(flag, "--", Some(&of));
    }
    text
}

fn plain_table(main: &Help, help: &Help) -> String {
    let own = help.flags.iter().filter(|flag| !main.flags.contains(flag));
    "| flag | variable | default | meaning |\n|---|---|---|---|\n".to_owned()
        + &own.map(|flag| row(flag, "--", None)).collect::<String>()
}

/// The text that belongs between the markers with this name.
fn generated(name: &str, main: &Help) -> String {
    match name {
        "monitoring-token" => main_tables(main),
        "monitoring-sandbox" => plain_table(main, &help(Command::new(sandbox_program()), &[])),
        "check" => plain_table(main, &help(token(), &["check"])),
        _ => {
            let verbs = help(token(), &[name]).verbs;
            assert!(verbs.len() >= 3, "{name}: {verbs:?}");
            let helps: Vec<_> =
                verbs.iter().map(|verb| (verb.clone(), help(token(), &[name, verb]))).collect();
            verb_table(main, &helps)
        }
    }
}

#[test]
fn the_reference_lists_every_flag_as_help_does() {
    let page = page();
    let main = help(token(), &[]);
    assert!(main.flags.len() >= 18, "{main:?}");
    let (mut updated, mut rest) = (String::new(), page.as_str());
    let mut names = BTreeSet::new();
    while let Some((before, after)) = rest.split_once("<!-- flags: ") {
        let (name, after) = after.split_once(" -->\n").expect("a marker");
        let (_, after) = after.split_once("<!-- end -->").expect("an end");
        write!(updated, "{before}<!-- flags: {name} -->\n{}<!-- end -->", generated(name, &main)).unwrap();
        rest = after;
        names.insert(name.to_owned());
    }
    updated += rest;
    let commands = ["monitoring-token", "check", "key", "gafaelfawr", "stackstate", "monitoring-sandbox"];
    assert_eq!(names, commands.map(str::to_owned).into());
    if updated != page && std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(repository().join(PAGE), &updated).unwrap();
        return;
    }
    for (have, want) in page.lines().zip(updated.lines()) {
        assert_eq!(have, want, "{PAGE} is not what -help prints: {UPDATE}");
    }
    assert_eq!(page, updated, "{PAGE} is not what -help prints: {UPDATE}");
}

#[test]
fn each_flag_takes_the_default_that_help_shows() {
    let flags = help(token(), &[]).flags;
    let described = |flag: &&Flag| flag.default.is_empty() || flag.default.contains(' ');
    let mut tried = 0;
    for flag in flags.iter().filter(|flag| !described(flag)) {
        let written = format!("--{}={}", flag.name, flag.default);
        let ended = run(token().args([&written, "--monitoring-signer-key=/nonexistent/key", "--", "true"]));
        assert_eq!(ended.status, 125, "{written}: {ended:?}");
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}

#[test]
fn the_reference_names_every_variable_that_the_program_reads() {
    let page = page();
    let prefixes = ["MONITORING_", "GAFAELFAWR_", "STS_", "SSL_CERT_", "XDG_", "SERVICE_", "SCRIPT_"];
    let others = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD", "HOME", "CACHE_DIRECTORY"];
    let mut found = 0;
    for path in crate::deploy::files(&repository().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for word in text.split('"').filter(|word| word.len() < 50) {
            let is_name = word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            let is_ours = prefixes.iter().any(|prefix| word.starts_with(prefix)) || others.contains(&word);
            // Set by the build.
            if is_name && is_ours && word != "MONITORING_TOKEN_VERSION" {
                found += 1;
                assert!(page.contains(&format!("`{word}`")), "{word} is not in {PAGE}");
            }
        }
    }
    assert!(found > 20, "{found}");
}

/// Every field in a JSON text, at any depth.
fn fields(text: &str) -> BTreeSet<String> {
    fn walk(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| {
                into.insert(name.clone());
                walk(value, into);
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(item, into)),
            _ => {}
        }
    }
    let mut into = BTreeSet::new();
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    walk(&value, &mut into);
    into
}

#[test]
fn the_reference_names_every_metric_and_json_field() {
    let page = page();
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let file = folder.path("metrics.prom");
    let metrics = format!("-metrics-textfile={}", file.display());
    assert_eq!(run(sandbox.token().args([&metrics, "--", "false"])).status, 1);
    let text = fs::read_to_string(file).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(names.len() >= 8, "{text}");
    for name in names.iter().filter_map(|line| line.split(' ').next()) {
        assert!(page.contains(&format!("| `{name}")), "{name} is not in {PAGE}");
    }

    let service = ["--username", "bot-x", "--scopes", "read:all"];
    let outputs = [
        run(sandbox.token().args(["check", "--json"])).stdout,
        run(sandbox.token().args(["check", "--json", "gafaelfawr", "exec"]).args(service)).stdout,
        run(sandbox.token().args(["-log-format=json", "-machine=x", "--", "true"])).stderr,
        run(sandbox.token().args(["gafaelfawr", "create", "-o", "json"]).args(service)).stdout,
        run(sandbox.token().args(["gafaelfawr", "list", "-o", "json", "--username", "bot-x"])).stdout,
        run(sandbox.token().args(["stackstate", "create", "--name=a", "--roles=r", "-o", "json"])).stdout,
        run(sandbox.token().args(["stackstate", "list", "-o", "json"])).stdout,
        run(sandbox.token().args(["stackstate", "delete", "--id", "12", "-o", "json"])).stderr,
    ];
    for output in &outputs {
        for field in fields(output) {
            assert!(
                page.contains(&format!("`{field}`")),
                "the JSON field {field} is not in {PAGE}: {output}"
            );
        }
    }
}
