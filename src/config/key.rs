//! Rules of the `key` flags.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::admin::key::{Action, KeyFile};
use crate::cli::Line;
use crate::cli::flags::{ALGORITHM, GenerateFlags, InspectFlags, KeyFileFlags, PublicFlags, TIMEOUT};
use crate::failure::{Failure, brief};

pub(crate) fn generate(line: Line<GenerateFlags>) -> Result<Action, Failure> {
    if let Some(word) = line.operands.first() {
        return Err(Failure::usage(format!(
            "key generate takes no argument {}; name the file with --out",
            brief(word)
        )));
    }
    let GenerateFlags { alg, kid: key_id, out } = line.flags;
    if out.is_none() && key_id.as_ref().is_some_and(|key_id| key_id.contains('/')) {
        return Err(Failure::usage("-kid: must not contain a slash unless --out names the file"));
    }
    Ok(Action::Generate { algorithm: ALGORITHM.or(alg), key_id, out })
}

pub(crate) fn public(line: &Line<PublicFlags>) -> Result<Action, Failure> {
    Ok(Action::Public {
        file: key_file(&line.flags.file, &line.operands)?,
        as_set: line.flags.jwks.unwrap_or_default(),
    })
}

pub(crate) fn inspect(line: &Line<InspectFlags>) -> Result<Action, Failure> {
    Ok(Action::Inspect { file: key_file(&line.flags.file, &line.operands)? })
}

fn key_file(flags: &KeyFileFlags, operands: &[OsString]) -> Result<KeyFile, Failure> {
    let [path] = operands else {
        return Err(Failure::usage("missing FILE: expected the path of one JWK"));
    };
    Ok(KeyFile { path: PathBuf::from(path), patience: TIMEOUT.or(flags.timeout) })
}
