//! The documentation as its readers meet it: the README stays short, links lead somewhere, and every text is plain English.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::deploy::files;
use crate::docs::manual::{Stage, pages, repository};
use crate::support::{Sandbox, run};

/// A README that can be read at one sitting.
const README_BYTES: usize = 12 * 1024;

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_readme_is_short() {
    let bytes = read("README.md").len();
    assert!(bytes <= README_BYTES, "{bytes} bytes");
}

#[test]
fn the_readme_says_what_a_newcomer_needs() {
    let readme = read("README.md");
    for needed in [
        "```mermaid\nsequenceDiagram",
        "make demo",
        "make deb",
        "make install",
        "cargo install",
        "the static binary",
        "deploy/Dockerfile",
        "monitoring-token -machine=",
        "monitoring-token key generate",
        "-verify-secret-name",
        "monitoring-token gafaelfawr exec",
        "monitoring-token stackstate exec",
        "https://www.measurementlab.net/",
        "https://github.com/m-lab/locate",
        "https://gafaelfawr.lsst.io/",
        "https://sasquatch.lsst.io/",
        "https://docs.stackstate.com/",
        "## Exit status",
        "(docs/reference.md)",
        "(docs/troubleshooting.md)",
    ] {
        assert!(readme.contains(needed), "{needed}");
    }
    // The reader who is here because of a failure finds the two commands that say more.
    let (_, failing) = readme.split_once("\n## When it fails\n").expect("a section");
    let failing = failing.split("\n## ").next().unwrap_or_default();
    for command in ["monitoring-token check", "monitoring-token explain"] {
        assert!(failing.contains(command), "{command}");
    }
}

#[test]
fn every_alert_is_explained() {
    let page = read("docs/troubleshooting.md");
    let (_, section) = page.split_once("\n## From an alert\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let alerts = read("deploy/alerts.yml");
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(section.contains(&format!("`{name}`")), "{name}");
    }
}

/// Every page with links.
fn linked_pages() -> Vec<String> {
    let mut names = pages();
    names.extend(["CHANGELOG.md", "tests/README.md"].map(str::to_owned));
    names
}

/// The text of a page without its code blocks.
fn prose(text: &str) -> String {
    let mut code = false;
    let is_prose = |line: &&str| {
        let fence = line.starts_with("```");
        code ^= fence;
        !fence && !code
    };
    text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
}

/// The anchors of a page, as GitHub makes them from its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(text).lines().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let numbered = |number: usize| if number == 0 { slug.clone() } else { format!("{slug}-{number}") };
        let free = (0..1000).map(numbered).find(|slug| !found.contains(slug)).expect("a number is free");
        found.insert(free);
    }
    found
}

/// The targets of the links in a text.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, part) in prose(text).split("](").enumerate() {
        if index > 0 {
            found.extend(part.split(')').next().map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for name in linked_pages() {
        let text = read(&name);
        for link in links(&text) {
            checked += 1;
            if let Some(rest) = link.strip_prefix("https://") {
                assert!(rest.contains('.') && !rest.contains(' '), "{name}: {link}");
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = repository().join(&name).parent().expect("a folder").to_owned();
            let target = if file.is_empty() { repository().join(&name) } else { folder.join(file) };
            assert!(target.exists(), "{name}: {link} does not exist");
            let known = || anchors(&fs::read_to_string(&target).unwrap());
            assert!(anchor.is_empty() || known().contains(anchor), "{name}: {link} has no such heading");
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn every_page_is_linked_from_the_readme_or_from_a_page_that_is() {
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut todo = vec!["README.md".to_owned()];
    while let Some(name) = todo.pop() {
        let folder = Path::new(&name).parent().expect("a folder").to_owned();
        for link in links(&read(&name)) {
            let file = link.split('#').next().unwrap_or_default();
            let is_page = Path::new(file).extension().is_some_and(|kind| kind == "md");
            if is_page && !file.contains("://") {
                let path = repository().join(&folder).join(file).canonicalize().expect("it exists");
                let name = path.strip_prefix(repository()).expect("in the repository").display().to_string();
                if reached.insert(name.clone()) {
                    todo.push(name);
                }
            }
        }
    }
    for name in pages() {
        assert!(reached.contains(&name), "no link leads to {name}");
    }
}

/// Phrases that a stranger has to decode; CONTRIBUTING.md, "Writing", says what to write instead.
const PHRASES: &[&str] = &[
    " is no ",
    " are no ",
    " that is none",
    "has trouble of its own",
    "limits our rate",
    "forbids to",
    "forbids the request",
    "of another form than",
    "something else than",
    "it tells no",
    "on offer, too",
    "who reads our",
    "who stops us",
    "has gone away",
    "in vain",
    "thereof",
    "all the same",
    "lets none",
    " at hand",
    "of two, the last",
    "we are told",
    "in words, for",
    "what cannot be",
    "look-up",
    "besides these",
    "gives no ",
    "has trouble",
    "with success",
    "it is that ",
    "this very ",
    "that very ",
    "further tries",
    "how long it lives",
    "counts as none",
];

/// Words that a text for users does not say: the program is "monitoring-token", its user is "you".
const PRONOUNS: &[&str] = &["we", "us", "our", "ours", "theirs"];

/// Words that begin a question. A sentence that begins with one and is a statement reads like a translation.
const QUESTION_WORDS: &[&str] = &["Who ", "What ", "Whoever ", "Whatever ", "Whether ", "Which "];

/// The first phrase from the list in a line.
fn phrase_in(line: &str) -> Option<&'static str> {
    let plain = line.to_lowercase().replace("\\-", "-").replace('"', " ");
    // Good English, unlike "X is no Y".
    let good = ["there is no ", "there are no ", "is no longer ", "is no such ", "are no longer "];
    let plain = good.iter().fold(plain, |plain, good| plain.replace(good, ""));
    PHRASES.iter().find(|phrase| plain.contains(**phrase)).copied()
}

/// The lines with a phrase from the list, or with a sentence that begins like a question but is a statement.
fn decoded(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(phrase) = phrase_in(line) {
            found.push(format!("{name}:{}: {phrase:?}: {}", number + 1, line.trim()));
        }
        for sentence in line.split_inclusive(['.', '?', '!']) {
            let sentence = sentence.trim_start_matches([' ', '#', '/', '*', '-', '!', '|']);
            let begins = QUESTION_WORDS.iter().any(|word| sentence.starts_with(word));
            if begins && sentence.ends_with('.') && !sentence.contains('|') {
                found.push(format!("{name}:{}: {sentence}", number + 1));
            }
        }
    }
    found
}

fn with_pronoun(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let word = line
            .split(|c: char| !(c.is_alphanumeric() || "_.-".contains(c)))
            .find(|word| PRONOUNS.contains(&word.to_lowercase().as_str()));
        if let Some(word) = word {
            found.push(format!("{name}:{}: {word:?}: {}", number + 1, line.trim()));
        }
    }
    found
}

/// A line without what is between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The texts below these folders that people read.
fn texts(folders: &[&str]) -> Vec<(String, String)> {
    let paths: Vec<PathBuf> = folders.iter().flat_map(|folder| files(&repository().join(folder))).collect();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(repository()).unwrap().display().to_string();
        fs::read_to_string(&path).ok().map(|text| (name, text))
    };
    paths.into_iter().filter_map(named).collect()
}

#[test]
fn texts_for_users_are_in_plain_english() {
    let mut found = Vec::new();
    let mut texts = texts(&["deploy", "docs", "packaging"]);
    for name in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "RELEASING.md",
        "Makefile",
        "tests/README.md",
    ] {
        texts.push((name.to_owned(), read(name)));
    }
    for (name, text) in &mut texts {
        // The tables of flags are written in the definitions of the flags.
        while let Some((before, after)) = text.split_once("<!-- flags: ") {
            *text = before.to_owned() + after.split_once("<!-- end -->").expect("an end").1;
        }
        if name == "docs/troubleshooting.md" {
            // It quotes the messages, which are written in the source.
            *text = text.lines().map(without_code).collect::<Vec<_>>().join("\n");
        }
        found.extend(decoded(name, text));
        found.extend(with_pronoun(name, text));
    }
    assert!(found.is_empty(), "{} lines to rewrite:\n{}", found.len(), found.join("\n"));
}

/// The name of the function that a line declares, in words.
fn name_in(line: &str) -> Option<String> {
    let (name, _) = line.trim_start().strip_prefix("fn ")?.split_once('(')?;
    Some(name.replace('_', " "))
}

/// The text of a comment that takes the whole line.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("//").or_else(|| line.strip_prefix('#'))?.trim_start_matches(['/', '!']);
    text.strip_prefix(' ')
}

/// True if a sentence in this line of a comment begins like a question but is a statement.
fn is_clipped(comment: &str) -> bool {
    let sentences = comment.split_inclusive(". ").map(str::trim_start);
    let begins = |sentence: &str| QUESTION_WORDS.iter().any(|word| sentence.starts_with(word));
    sentences.into_iter().any(|sentence| begins(sentence) && !sentence.trim_end().ends_with('?'))
}

#[test]
fn the_source_is_in_plain_english() {
    let mut found = Vec::new();
    let folders = &[
        "src",
        "sandbox",
        "xtask",
        "tests",
        "benches",
        "fuzz",
        "scripts",
        "deploy",
        "packaging",
        ".github",
        ".ci",
    ];
    let mut texts = texts(folders);
    texts.extend(
        ["build.rs", "Cargo.toml", "Makefile", "deny.toml"].map(|name| (name.to_owned(), read(name))),
    );
    for (name, text) in texts {
        // This file has the list, a target directory has texts of others, and pages have a test of their own.
        let is_page = Path::new(&name).extension().is_some_and(|kind| kind == "md");
        if name == "tests/docs/documentation.rs" || name.contains("target/") || is_page {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let name_is_clipped = |name: String| {
                ["who ", "what ", "whoever "].iter().any(|word| name.starts_with(word))
                    || phrase_in(&format!(" {name} ")).is_some()
            };
            if phrase_in(line).is_some()
                || name_in(line).is_some_and(name_is_clipped)
                || comment(line).is_some_and(is_clipped)
            {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{} lines to rewrite:\n{}", found.len(), found.join("\n"));
}

/// The compiler denies `unsafe` outside of that room.
#[test]
fn libc_is_used_in_one_room_only() {
    let elsewhere = texts(&["src"])
        .into_iter()
        .filter(|(name, text)| !name.starts_with("src/sys/") && text.contains("libc::"));
    assert_eq!(elsewhere.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
}

/// The step and the outcome of each line of `check`.
fn steps(table: &str) -> Vec<String> {
    let columns =
        |line: &str| line.split("  ").filter(|cell| !cell.is_empty()).take(2).collect::<Vec<_>>().join(" ");
    table.lines().map(columns).collect()
}

/// The runs in a block `text`: each line after `$ ` is a command, and the lines up to the next one are its output.
#[test]
fn the_runs_in_the_readme_print_that() {
    let readme = read("README.md");
    let mut shown = 0;
    for block in readme.split("```text\n").skip(1).filter(|block| block.starts_with("$ ")) {
        let block = block.split("```").next().unwrap_or_default();
        for part in block.split("$ ").skip(1) {
            let (line, output) = part.split_once('\n').expect("an output");
            let stage = Stage::new();
            let given = ["LOCATE_URL", "MONITORING_SIGNER_KEY", "MACHINE"]
                .map(|name| format!("export {name}='{}'\n", stage.sandbox.var(name)));
            let ended = stage.run(&format!("set +e\n{}{line}\n", given.concat()));
            let printed = format!("{}{}", ended.stderr, ended.stdout);
            assert_eq!(printed, stage.fill_in(output), "{line}");
            shown += 1;
        }
    }
    assert!(shown >= 2, "{shown}");
}

#[test]
fn the_check_in_the_readme_has_the_steps_of_a_real_one() {
    let readme = read("README.md");
    let (_, block) = readme.split_once("```text\ntimeout ").expect("a table");
    let table = format!("timeout {}", block.split("```").next().unwrap_or_default());
    let sandbox = Sandbox::start(&[]);
    let checked = run(sandbox.token().args(["check", "-service=ndt/ndt7"]));
    assert_eq!(steps(&checked.stdout), steps(&table), "{checked:?}");
}
