//! Short flags as `sts` (package pflag) reads them: in clusters, and with their value attached: `-ojson`,
//! `-vn NAME`. Only on the commands that stand in for `sts`; everywhere else Go's package flag rules.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap::{Arg, Command};

use super::syntax::find;
use super::tokens::STS_FLAG;

/// The flags of a word such as `-vojson`, each as a word of its own; the word itself if it is no cluster.
pub(super) fn expand(command: &Command, word: OsString) -> Vec<OsString> {
    let is_cluster = command.get_arguments().any(|arg| arg.get_id() == STS_FLAG)
        && word.as_bytes().get(1).is_some_and(|&byte| byte != b'-');
    let name_end = word.as_bytes().iter().position(|&byte| byte == b'=').unwrap_or(word.len());
    if !is_cluster || find(command, &word.as_bytes()[1..name_end]).is_some() {
        return vec![word];
    }
    flags(command, &word.as_bytes()[1..]).unwrap_or_else(|| vec![word])
}

fn flags(command: &Command, mut letters: &[u8]) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    while let Some((letter, rest)) = letters.split_first() {
        let arg = find(command, std::slice::from_ref(letter))?;
        if is_boolean(arg) && rest.first() != Some(&b'=') {
            words.push(word(arg, None));
            letters = rest;
            continue;
        }
        let value = rest.strip_prefix(b"=").unwrap_or(rest);
        words.push(word(arg, (!rest.is_empty()).then_some(OsStr::from_bytes(value))));
        break;
    }
    Some(words)
}

fn is_boolean(arg: &Arg) -> bool {
    arg.is_require_equals_set() || !arg.get_action().takes_values()
}

fn word(arg: &Arg, value: Option<&OsStr>) -> OsString {
    let mut word = format!("--{}", arg.get_long().unwrap_or_default()).into_bytes();
    if let Some(value) = value {
        word.push(b'=');
        word.extend_from_slice(value.as_bytes());
    }
    OsString::from_vec(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{flags, tokens};

    #[test]
    fn clusters_and_attached_values_are_taken_apart_on_the_commands_of_sts_only() {
        let stackstate = tokens::stackstate_command();
        let create = stackstate.find_subcommand("create").unwrap();
        let delete = stackstate.find_subcommand("delete").unwrap();
        for (command, word, expected) in [
            (create, "-ojson", &["--output=json"][..]),
            (create, "-nNAME", &["--name=NAME"]),
            (create, "-vvojson", &["--verbose", "--verbose", "--output=json"]),
            (create, "-vn", &["--verbose", "--name"]),
            (create, "-cprod=1", &["--context=prod=1"]),
            (delete, "-i5", &["--id=5"]),
            (create, "-o=json", &["-o=json"]),
            (create, "-name=x", &["-name=x"]),
            (create, "--ojson", &["--ojson"]),
            (create, "-xojson", &["-xojson"]),
            (&flags::main_command(), "-ojson", &["-ojson"]),
        ] {
            assert_eq!(expand(command, word.into()), expected, "{word}");
        }
    }
}
