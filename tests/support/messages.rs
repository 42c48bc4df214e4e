//! Compares every line that the program prints in these tests, in text and JSON, with docs/troubleshooting.md; the
//! fault table (`faults`) shows that each of its rows is true.
//!
//! A message in a table is the beginning of a printed line. The words in [`PLACEHOLDERS`] stand for varying text, `…`
//! for any text or none.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

/// Words in capitals on the page that stand for varying text.
const PLACEHOLDERS: &[&str] = &[
    "ALERT", "COMMAND", "DATE", "DIR", "DO", "ENCODING", "FILE", "HOST", "ID", "KEY", "MACHINE", "N", "NAME",
    "PATH", "PLACE", "SERVER", "SERVICE", "SIGNAL", "PHASE", "T", "TITLE", "TYPE", "URL", "URL2", "USER",
    "VALUE", "VARIABLE", "WORD",
];

/// Prefix of every line.
const PREFIX: &str = "monitoring-token: ";
/// Prefix of a warning, after [`PREFIX`].
const WARNING: &str = "warning: ";

/// A message of the page.
pub struct Message {
    /// The heading above it.
    pub section: &'static str,
    /// The message as on the page.
    pub text: &'static str,
    statuses: &'static str,
    reasons: &'static str,
    /// The text between its placeholders.
    pieces: Vec<&'static str>,
}

impl Message {
    fn new(
        section: &'static str,
        text: &'static str,
        statuses: &'static str,
        reasons: &'static str,
    ) -> Message {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (mut pieces, mut begin, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let rest = &text[at..];
            let length = match rest.find(|c| !is_word(c)) {
                Some(0) => rest.chars().next().map_or(1, char::len_utf8),
                length => length.unwrap_or(rest.len()),
            };
            if rest.starts_with('…') || PLACEHOLDERS.contains(&&rest[..length]) {
                pieces.push(&text[begin..at]);
                begin = at + length;
            }
            at += length;
        }
        pieces.push(&text[begin..]);
        Message { section, text, statuses, reasons, pieces }
    }

    fn begins(&self, message: &str) -> bool {
        let Some(mut rest) = message.strip_prefix(self.pieces[0]) else { return false };
        self.pieces[1..].iter().all(|piece| match rest.find(piece) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    }

    /// The reasons that a failure with this message may have.
    pub fn reasons(&self) -> impl Iterator<Item = &'static str> {
        self.reasons.split('`').skip(1).step_by(2)
    }

    fn has_status(&self, status: i32) -> bool {
        self.statuses.split(", ").any(|one| match one {
            "128+N" => status > 128,
            "that result's" => true,
            one => one == status.to_string(),
        })
    }
}

/// The messages of one row of a table.
fn row(section: &'static str, line: &'static str) -> impl Iterator<Item = Message> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let (statuses, reasons) = match (section, cells.as_slice()) {
        ("Warnings", [_, reasons, _]) => ("", *reasons),
        (_, [_, statuses, reasons, _]) => (*statuses, *reasons),
        _ => panic!("{section}: a row of another form: {line}"),
    };
    cells[0].split('`').skip(1).step_by(2).map(move |text| Message::new(section, text, statuses, reasons))
}

/// The messages of the page.
pub fn all() -> &'static [Message] {
    static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| {
        let page = include_str!("../../docs/troubleshooting.md");
        let (_, page) = page.split_once("\n## Messages\n").expect("the tables");
        let mut section = "";
        let mut messages = Vec::new();
        for line in page.lines() {
            if let Some(heading) = line.strip_prefix("### ") {
                section = heading;
            }
            if line.starts_with("| ") && !line.starts_with("| message") {
                messages.extend(row(section, line));
            }
        }
        messages
    });
    &MESSAGES
}

/// A line on stderr: the text after `monitoring-token: `, and the other fields of a JSON line.
struct Said {
    text: String,
    reason: Option<String>,
    status: Option<i32>,
    stage: Option<String>,
    is_json: bool,
}

impl Said {
    /// `None` for a line that is neither a failure nor a warning of the program.
    fn read(line: &str, status: Option<i32>) -> Option<Said> {
        if let Some(text) = line.strip_prefix(PREFIX) {
            return Some(Said { text: text.to_owned(), reason: None, status, stage: None, is_json: false });
        }
        let line: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| line[name].as_str().map(str::to_owned);
        let text = match (field("level")?.as_str(), field("message")?) {
            ("ERROR", message) => message,
            ("WARN", message) => WARNING.to_owned() + &message,
            _ => return None,
        };
        let told = line["exit_status"].as_i64().and_then(|status| i32::try_from(status).ok());
        let (reason, stage) = (field("reason"), field("stage"));
        Some(Said { text, reason, status: status.or(told), stage, is_json: true })
    }
}

/// The text form of a line of the program, which may be JSON.
pub fn as_text(line: &str) -> String {
    match Said::read(line, None) {
        Some(said) => format!("{PREFIX}{}", said.text),
        None => line.to_owned(),
    }
}

/// True if the table of stages in docs/reference.md has this stage for the reason.
fn is_documented_stage(stage: &str, reason: Option<&str>) -> bool {
    let page = include_str!("../../docs/reference.md");
    let (_, table) = page.split_once("\n### Stages\n").expect("the table of stages");
    let rows =
        table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').skip(1).map(str::trim).collect()).collect();
    let has = |row: &Vec<&str>| reason.is_some_and(|reason| row[2].contains(&format!("`{reason}`")));
    let named = rows.iter().find(|row| has(row)).map_or("`exchange`", |row| row[0]);
    let is_stage = rows.iter().any(|row| row[0] == format!("`{stage}`"));
    is_stage && (named == "any" || named == format!("`{stage}`"))
}

/// The messages of the page that match `line`, or a description of the mismatch. Exit status and reason are compared if
/// they are known.
pub fn explain(line: &str, status: Option<i32>) -> Result<BTreeSet<usize>, String> {
    let Some(Said { text, reason, status, stage, is_json }) = Said::read(line, status) else {
        return Ok(BTreeSet::new());
    };
    let said = text.as_str();
    if said.contains("(os error ") {
        return Err(format!("a number that only programmers read: {said}"));
    }
    let find = |what: &str, said: &str, warning: bool| {
        let speaks_of_it = |message: &Message| {
            let sound = warning || status.is_none_or(|status| message.has_status(status));
            // A warning without a reason has a row without one. Clauses of a failure have none of their own.
            let is_own = !warning || (is_json && text.starts_with(WARNING));
            let sound = sound
                && (!is_own
                    || match reason.as_deref() {
                        Some(reason) => message.reasons().any(|one| one == reason),
                        None => !is_json || message.reasons().next().is_none(),
                    });
            sound && (message.section == "Warnings") == warning && message.begins(said)
        };
        let all = all().iter().enumerate();
        let found: BTreeSet<usize> =
            all.filter(|(_, message)| speaks_of_it(message)).map(|(at, _)| at).collect();
        if found.is_empty() {
            Err(format!("docs/troubleshooting.md has no row for the {what}: {said}"))
        } else {
            Ok(found)
        }
    };
    if let Some(warning) = said.strip_prefix(WARNING) {
        return find("warning", warning, true);
    }
    if is_json && !is_documented_stage(stage.as_deref().unwrap_or_default(), reason.as_deref()) {
        return Err(format!("docs/reference.md does not have the stage {stage:?} for {reason:?}: {said}"));
    }
    let mut found = find(&format!("failure (status {status:?}, reason {reason:?})"), said, false)?;
    // If the run fails, its warnings are clauses of its line.
    for clause in said.split("; and ").skip(1).chain(said.split("? and ").skip(1)) {
        found.extend(find("clause", clause, true)?);
    }
    Ok(found)
}

/// Asserts that each line of the program on this stderr has a row.
#[track_caller]
pub fn all_explained(stderr: &str) {
    let missing: Vec<String> = stderr.lines().filter_map(|line| explain(line, None).err()).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_page_explains_each_message() {
    for message in all() {
        let Message { section, text, pieces, reasons, .. } = message;
        assert!(message.reasons().next().is_some() || *section == "Warnings", "{section}: no reason: {text}");
        let known = message.reasons().all(|name| monitoring_token::reason::Reason::named(name).is_some());
        assert!(known, "{section}: not a reason: {reasons}");
        let letters = pieces.iter().flat_map(|piece| piece.chars()).filter(char::is_ascii_alphabetic);
        assert!(letters.count() >= 7, "{section}: too little of a message: {text}");
    }
    let sections: BTreeSet<&str> = all().iter().map(|message| message.section).collect();
    assert_eq!(sections.len(), 8, "{sections:?}");
}

#[test]
fn a_message_without_a_row_is_detected() {
    for (line, status) in [
        ("monitoring-token: something new went wrong", None),
        ("monitoring-token: warning: something new went wrong", None),
        ("monitoring-token: cannot write to stdout: No space left on device (os error 28)", None),
        ("monitoring-token: no signing key: set MONITORING_SIGNER_KEY", Some(124)),
        ("monitoring-token: no signing key: set it; and something new went wrong", Some(125)),
        (r#"{"level":"ERROR","message":"no signing key: set it","reason":"dns","stage":"sign"}"#, Some(125)),
        (
            r#"{"level":"ERROR","message":"no signing key: set it","reason":"key-missing","stage":"sign"}"#,
            Some(2),
        ),
        (r#"{"level":"ERROR","message":"no signing key: set it","reason":"key-missing"}"#, Some(125)),
        (
            r#"{"level":"ERROR","message":"no signing key: set it","reason":"key-missing","stage":"command"}"#,
            Some(125),
        ),
        (r#"{"level":"WARN","message":"left running: sleep"}"#, Some(0)),
        (r#"{"level":"WARN","message":"left running: sleep","reason":"system"}"#, Some(0)),
    ] {
        explain(line, status).expect_err(line);
    }
    for (line, status) in [
        ("monitoring-token: no signing key: set MONITORING_SIGNER_KEY", Some(125)),
        ("monitoring-token: interrupted by SIGTERM while reading the key x", Some(143)),
        ("monitoring-token: no signing key: set it; and cannot write the metrics to x: no", Some(125)),
        ("what the command says", None),
        (
            r#"{"level":"ERROR","message":"no signing key: set it","reason":"key-missing","stage":"sign"}"#,
            Some(125),
        ),
        (r#"{"level":"WARN","message":"left running: sleep","reason":"command-stuck"}"#, Some(0)),
        (r#"{"level":"DEBUG","message":"something new"}"#, None),
    ] {
        assert_eq!(explain(line, status).err(), None);
    }
}
