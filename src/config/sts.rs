//! The contexts that `sts context save` writes: URL, token and certificate of an installation
//! (`~/.config/stackstate-cli/config.yaml`). Flags and variables override them, as in `sts`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::path_variable;
use crate::cli::stackstate::StsFlags;
use crate::failure::{Failure, Reason, Stage, or_list, printable, system_error};
use crate::issuer::credential::{Credential, one_word};
use crate::issuer::stackstate::CredentialKind;
use crate::read::{self, BYTE_ORDER_MARK, ReadError};
use crate::until::Until;

const MAX_CONFIG_BYTES: usize = 1024 * 1024;
/// The name of the context in a file without `contexts` (before `sts` 1.0).
const UNNAMED: &str = "default";

#[derive(Default)]
pub(super) struct Context {
    /// The file and the context, for messages.
    pub origin: String,
    /// Its name, if it was requested and is in the file that `sts` reads without `--config`.
    pub name: Option<String>,
    pub url: Option<String>,
    pub api_path: Option<String>,
    pub ca_base64: Option<String>,
    skips_verification: bool,
    api_token: Option<String>,
    service_token: Option<String>,
}

impl Context {
    /// The context that the flags, `STS_CLI_CONTEXT` or the file select. `None` if there is no file, and no context is
    /// needed.
    pub(super) fn load(
        flags: &StsFlags,
        is_needed: bool,
        until: &Until<'_>,
    ) -> Result<Option<Context>, Failure> {
        let (named, given) = (flags.context.as_deref(), flags.config.clone());
        let is_usual = given.is_none();
        // Like `sts`, which looks up the name only if there is a file.
        let is_wanted = named.is_some() && is_needed || given.is_some();
        let Some(path) = given.or_else(default_path) else {
            if is_wanted {
                return Err(failure("no sts configuration file: HOME is not set; use --config".to_owned()));
            }
            return Ok(None);
        };
        let at = path.display().to_string();
        let file = read::open_secret(&path).and_then(|file| read::all(&file, MAX_CONFIG_BYTES, until));
        let bytes = match file {
            Ok(bytes) => bytes,
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound && !is_wanted => {
                return Ok(None);
            }
            Err(error) => {
                let what = format!("the sts configuration {at}");
                return Err(match error {
                    ReadError::Io(error) => failure(format!(
                        "cannot read {what}: {}; run sts context save, or use --url and STS_CLI_API_TOKEN without --context and --config",
                        system_error(&error)
                    )),
                    ReadError::TooLarge => failure(format!("{what} is too large")),
                    ReadError::Ended(ended) => ended.while_reading(Stage::Sign, &what),
                });
            }
        };
        // Go's YAML library skips it, too.
        let text = String::from_utf8_lossy(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes));
        let found = find(&text, named).map_err(|why| failure(format!("sts configuration {at}{why}")))?;
        let origin = format!("{at}: context {}", found.origin);
        Ok(Some(Context { origin, name: named.filter(|_| is_usual).map(str::to_owned), ..found }))
    }

    pub(super) fn credential(&self) -> Result<Option<(Credential, CredentialKind)>, Failure> {
        let (token, kind) = match (&self.api_token, &self.service_token) {
            (None, None) => return Ok(None),
            (Some(token), None) => (token, CredentialKind::Api),
            (None, Some(token)) => (token, CredentialKind::Service),
            (Some(_), Some(_)) => {
                return Err(failure(format!(
                    "{} has both api-token and service-token; keep one",
                    self.origin
                )));
            }
        };
        let token = one_word(token.trim(), &self.origin)?;
        Ok(Some((Credential::Context(token), kind)))
    }

    /// Fails if the context disables the verification of certificates.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.skips_verification {
            return Err(failure(format!(
                "{} has skip-ssl: true, but monitoring-token always verifies certificates; save the CA certificate in \
                 the context (sts context save --ca-cert-path) and remove skip-ssl",
                self.origin
            )));
        }
        Ok(())
    }
}

fn failure(message: String) -> Failure {
    Failure::failed(Stage::Sign, Reason::StsConfigInvalid, message)
}

fn default_path() -> Option<PathBuf> {
    let folder = path_variable("XDG_CONFIG_HOME");
    let folder = folder.or_else(|| Some(path_variable("HOME")?.join(".config")))?;
    Some(folder.join("stackstate-cli/config.yaml"))
}

/// A file of `sts` has at most six collections within each other.
const MAX_DEPTH: usize = 100;

/// The context with this name, or the current one. Its `origin` is its name. An error follows the name of the file,
/// and never quotes it, because it holds tokens.
fn find(text: &str, named: Option<&str>) -> Result<Context, String> {
    let documents = parse(text)?;
    let root = documents.first().filter(|root| matches!(***root, Node::Mapping(_)));
    let root = root.ok_or(" has no context; run sts context save")?;
    let Some(contexts) = root.member("contexts") else {
        return match named {
            None | Some(UNNAMED) => Ok(read_context(root, UNNAMED)),
            Some(named) => Err(missing(named, &[UNNAMED])),
        };
    };
    let entries: &[Rc<Node>] = if let Node::Sequence(entries) = contexts { entries } else { &[] };
    let contexts: Vec<(&str, &Node)> = entries
        .iter()
        .filter_map(|entry| Some((entry.member("name")?.text()?, entry.member("context")?)))
        .collect();
    let current = root.member("current-context").and_then(Node::text).filter(|name| !name.is_empty());
    let Some(named) = named.or(current) else {
        return Err(" has no current context; choose one with --context or STS_CLI_CONTEXT".to_owned());
    };
    match contexts.iter().find(|(name, _)| *name == named) {
        Some((name, context)) => Ok(read_context(context, name)),
        None => Err(missing(named, &contexts.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
    }
}

/// A part of a document. An alias shares the part that it stands for, so that a small file cannot become a large tree.
enum Node {
    /// As it is written: a token may look like a number.
    Text(String),
    Sequence(Vec<Rc<Node>>),
    /// Keys and values in turn.
    Mapping(Vec<Rc<Node>>),
    Null,
}

impl Node {
    fn member(&self, name: &str) -> Option<&Node> {
        /// Merged mappings may merge others, many times the same.
        const MAX_MAPPINGS: u32 = 1000;
        self.look_up(name, &mut MAX_MAPPINGS.clone())
    }

    /// The member of this mapping or, failing that, of the mappings that it merges with `<<`.
    fn look_up(&self, name: &str, left: &mut u32) -> Option<&Node> {
        let Node::Mapping(nodes) = self else { return None };
        *left = left.checked_sub(1)?;
        let value =
            |key| nodes.chunks_exact(2).find(|pair| pair[0].text() == Some(key)).map(|pair| &*pair[1]);
        value(name).or_else(|| match value("<<")? {
            Node::Sequence(merged) => merged.iter().find_map(|one| one.look_up(name, left)),
            merged => merged.look_up(name, left),
        })
    }

    fn text(&self) -> Option<&str> {
        if let Node::Text(text) = self { Some(text) } else { None }
    }
}

/// Fails if the text is not valid YAML, or is nested more than [`MAX_DEPTH`] levels deep: a tree is dropped level by level,
/// and each takes a piece of the stack.
fn parse(text: &str) -> Result<Vec<Rc<Node>>, String> {
    const NULL: [&str; 5] = ["", "~", "null", "Null", "NULL"];
    let mut anchors = HashMap::new();
    // The collections that are open, within the stream of documents, each with its anchor.
    let mut open = vec![(0, Vec::new())];
    for event in Parser::new_from_str(text) {
        let invalid = |at: &Marker| format!(": invalid YAML at line {}, column {}", at.line(), at.col() + 1);
        let (event, span) = event.map_err(|error| invalid(error.marker()))?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => (0, anchors.get(&anchor).cloned().unwrap_or(Rc::new(Node::Null))),
            Event::Scalar(text, ScalarStyle::Plain, anchor, _) if NULL.contains(&&*text) => {
                (anchor, Rc::new(Node::Null))
            }
            Event::Scalar(text, _, anchor, _) => (anchor, Rc::new(Node::Text(text.into_owned()))),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() > MAX_DEPTH => {
                return Err(invalid(&span.start));
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((anchor, Vec::new()));
                continue;
            }
            end @ (Event::SequenceEnd | Event::MappingEnd) => {
                let (anchor, nodes) = open.pop().unwrap_or_default();
                let is_mapping = end == Event::MappingEnd;
                (anchor, Rc::new(if is_mapping { Node::Mapping(nodes) } else { Node::Sequence(nodes) }))
            }
            _ => continue,
        };
        anchors.insert(anchor, Rc::clone(&node));
        if let Some((_, nodes)) = open.last_mut() {
            nodes.push(node);
        }
    }
    Ok(open.pop().unwrap_or_default().1)
}

fn missing(named: &str, known: &[&str]) -> String {
    let known = match known {
        [] => "run sts context save".to_owned(),
        known => format!("choose {} with --context or STS_CLI_CONTEXT", printable(&or_list(known))),
    };
    format!(" has no context {}; {known}", printable(named))
}

fn read_context(node: &Node, name: &str) -> Context {
    /// Go's library accepts these for a boolean.
    const TRUE: [&str; 10] = ["true", "True", "TRUE", "y", "Y", "yes", "Yes", "on", "On", "ON"];
    let text = |name: &str| {
        let text = node.member(name)?.text()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    Context {
        origin: printable(name),
        name: None,
        url: text("url"),
        api_path: text("api-path"),
        ca_base64: text("ca-cert-base64-data"),
        skips_verification: text("skip-ssl").is_some_and(|value| TRUE.contains(&&*value)),
        api_token: text("api-token"),
        service_token: text("service-token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "contexts:\n- name: default\n  context:\n    url: http://a\n    api-token: x\n    \
        api-path: /api\n    skip-ssl: false\n- name: prod\n  context:\n    url: http://b\n    \
        service-token: y\n    api-path: /hidden/api\ncurrent-context: prod\n";

    #[test]
    fn the_named_context_is_read_or_else_the_current_one() {
        let prod = find(TWO, None).unwrap();
        assert_eq!((prod.url.as_deref(), prod.api_path.as_deref()), (Some("http://b"), Some("/hidden/api")));
        assert_eq!((prod.service_token.as_deref(), prod.api_token.as_deref()), (Some("y"), None));
        assert_eq!(find(TWO, Some("default")).unwrap().url.as_deref(), Some("http://a"));
        // The older format has one context.
        let old = find("url: http://c\napi-token: 123\n", None).unwrap();
        assert_eq!((old.url.as_deref(), old.api_token.as_deref()), (Some("http://c"), Some("123")));
        assert!(find("url: http://c\nskip-ssl: true\n", None).unwrap().check().is_err());
    }

    #[test]
    fn a_token_may_look_like_a_number() {
        for token in ["12345678901234567890", "1e5", "true", "0x10", "0123", "1_000", ".5", "2026-11-26"] {
            let found = find(&format!("url: http://c\napi-token: {token}\n"), None).unwrap();
            assert_eq!(found.api_token.as_deref(), Some(token));
        }
        for nothing in ["", "~", "null", "\"\""] {
            let found = find(&format!("url: http://c\napi-token: {nothing}\n"), None).unwrap();
            assert_eq!(found.api_token, None, "{nothing}");
        }
    }

    #[test]
    fn aliases_are_read_however_much_they_stand_for() {
        let few = "a: &t secret\nurl: http://c\napi-token: *t\n";
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let last = level - 1;
            bomb += &format!("a{level}: &a{level} [{}]\n", format!("*a{last}, ").repeat(10));
        }
        let long = format!("a: &a \"{}\"\nb: [{}]\n", "\u{e9}".repeat(100_000), "*a, ".repeat(1000));
        for text in [bomb + few, long + &few.replace("a:", "c:"), few.to_owned()] {
            assert_eq!(find(&text, None).unwrap().api_token.as_deref(), Some("secret"));
        }
    }

    #[test]
    fn a_tree_of_any_depth_is_refused_before_it_needs_a_large_stack() {
        for deep in
            [format!("a:\n  {}x\n", "- ".repeat(400_000)), "[".repeat(400_000), "{a: ".repeat(200_000)]
        {
            assert!(find(&deep, None).err().unwrap().contains("invalid YAML at line"));
        }
    }

    #[test]
    fn an_error_names_the_contexts_and_never_quotes_the_file() {
        for (text, named, words) in [
            (TWO, Some("test"), " has no context test; choose default or prod with"),
            ("contexts: []\n", None, "no current context"),
            ("contexts: []\ncurrent-context: x\n", None, "no context x"),
            ("", None, "no context"),
            ("- a\n", None, "no context"),
            ("url: \"secret\n", None, "invalid YAML at line"),
        ] {
            let why = find(text, named).err().expect(text);
            assert!(why.contains(words) && !why.contains("secret"), "{text}: {why}");
        }
    }
}
