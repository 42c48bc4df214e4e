//! A recorded run, and the data to compare: requests, the command's view, the exit status.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::testdata;

/// How a recorded run is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With `-exchange=false` first: the original's default.
    Plain,
    /// As it was: Locate is asked.
    Exchange,
}

/// One run of the original.
pub struct Case {
    pub name: String,
    pub args: Vec<String>,
    pub env: BTreeMap<String, Option<String>>,
    pub key: String,
    pub server: Value,
    pub send: Option<(String, f64)>,
    pub stdin: Option<String>,
    pub racy: bool,
    pub took: f64,
    /// How it failed, in a word, and its line.
    pub class: String,
    pub line: String,
    pub saw: Saw,
}

/// The observable results of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Saw {
    pub requests: Vec<Asked>,
    pub command: Option<Ran>,
    /// As in a shell; negative if a signal ended the program itself.
    pub status: i32,
}

/// A request as the server received it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub at: &'static str,
    pub method: String,
    pub path: String,
    pub query: String,
    pub authorization: Option<String>,
    pub jwt: Option<Jwt>,
}

/// A decoded JWT.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    pub header: Value,
    /// `exp` is replaced by the number of seconds left.
    pub claims: Value,
}

/// The arguments, environment and descriptors of the command.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub removed: BTreeSet<String>,
    /// Where its descriptors lead.
    pub to: [String; 3],
    pub jwt: Option<Jwt>,
}

/// All runs, in the order in which they were made.
pub fn all() -> Vec<Case> {
    let text = std::fs::read_to_string(testdata("original/cases.jsonl")).unwrap();
    // An address with a zone is requested on loopback: no test sends anything to the network.
    let text = text.replace("%25eth0", "%25lo");
    text.lines().map(|line| Case::read(&serde_json::from_str(line).unwrap())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

impl Case {
    fn read(line: &Value) -> Case {
        let env = line["env"].as_object().unwrap();
        Case {
            name: text(&line["name"]),
            args: texts(&line["args"]),
            env: env.iter().map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect(),
            key: text(&line["key"]),
            server: line["server"].clone(),
            send: line["send"].as_array().map(|send| (text(&send[0]), send[1].as_f64().unwrap())),
            stdin: line["stdin"].as_str().map(str::to_owned),
            racy: !line["racy"].is_null(),
            took: line["took_s"].as_f64().unwrap_or_default(),
            class: text(&line["stderr_class"]),
            line: text(&line["stderr_line"]),
            saw: Saw {
                requests: line["saw"]["requests"].as_array().unwrap().iter().map(Asked::read).collect(),
                command: Some(&line["saw"]["command"]).filter(|ran| !ran.is_null()).map(Ran::read),
                status: i32::try_from(line["exit"].as_i64().unwrap()).unwrap(),
            },
        }
    }

    /// True if the original asked Locate, or would have.
    pub fn exchanges(&self) -> bool {
        !self.server.is_null()
    }

    /// The last value of a flag, or that of its variable.
    pub fn value(&self, flag: &str, variable: &str) -> Option<&str> {
        let mut found = None;
        let mut args = self.args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).unwrap_or_default();
            if arg == "--" || body.is_empty() {
                break;
            }
            match body.split_once('=') {
                Some((name, value)) if name == flag => found = Some(value),
                None if body == flag => found = args.next(),
                None if body != "service-url" && body != "logx.debug" => drop(args.next()),
                _ => {}
            }
        }
        found.or_else(|| self.env.get(variable)?.as_deref().filter(|value| !value.is_empty()))
    }
}

impl Asked {
    fn read(asked: &Value) -> Asked {
        let headers = &asked["headers"];
        Asked {
            at: if asked["at"] == "locate" { "locate" } else { "other" },
            method: text(&asked["method"]),
            path: text(&asked["path"]),
            query: text(&asked["raw_query"]),
            authorization: headers["Authorization"].as_str().map(str::to_owned),
            jwt: (!asked["claims"].is_null())
                .then(|| Jwt { header: asked["header"].clone(), claims: asked["claims"].clone() }),
        }
    }
}

impl Ran {
    fn read(ran: &Value) -> Ran {
        let env = ran["env"].as_object().unwrap();
        let jwt = &ran["jwt"];
        Ran {
            argv: texts(&ran["argv"]),
            env: env.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            removed: texts(&ran["env_removed"]).into_iter().collect(),
            to: [text(&ran["stdin"]), text(&ran["stdout_to"]), text(&ran["stderr_to"])],
            jwt: (!jwt.is_null())
                .then(|| Jwt { header: jwt["header"].clone(), claims: jwt["claims"].clone() }),
        }
    }
}

/// The first JWT in a text, with the text before and after it; `None` if there is none.
fn find_jwt(text: &str) -> Option<(&str, &str, &str)> {
    let at = text.find("eyJ")?;
    let rest = &text[at..];
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(rest.len());
    (rest[..end].split('.').count() == 3).then(|| (&text[..at], &rest[..end], &rest[end..]))
}

/// The text with its JWT replaced by `{JWT}`, and the JWT.
pub fn without_jwt(text: &str) -> (String, Option<Jwt>) {
    match find_jwt(text) {
        None => (text.to_owned(), None),
        Some((before, jwt, after)) => (format!("{before}{{JWT}}{after}"), Some(decode(jwt))),
    }
}

fn decode(jwt: &str) -> Jwt {
    let part = |at: usize| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(at).unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let mut claims = part(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    if let Some(exp) = claims["exp"].as_u64() {
        // A busy machine may be slow.
        let left = exp.saturating_sub(now);
        claims.as_object_mut().unwrap().remove("exp");
        claims["exp_minus_now"] = if (40..=60).contains(&left) { 60 } else { left }.into();
    }
    Jwt { header: part(0), claims }
}

/// The bytes of a recorded text: `{BYTE:ff}` is that byte, `{PAD:n}` is `x`, n times.
pub fn bytes(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("{BYTE:").into_iter().chain(rest.find("{PAD:")).min() {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (placeholder, after) = rest[at + 1..].split_once('}').unwrap();
        match placeholder.split_once(':').unwrap() {
            ("BYTE", hex) => out.push(u8::from_str_radix(hex, 16).unwrap()),
            (_, count) => out.extend(std::iter::repeat_n(b'x', count.parse().unwrap())),
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

pub fn os(text: &str) -> OsString {
    OsString::from_vec(bytes(text))
}
