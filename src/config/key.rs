//! `key`: rules of its flags.

use std::path::PathBuf;

use crate::admin::key::{Action, KeyFile};
use crate::cli::Line;
use crate::cli::verbs::KeyVerb;
use crate::error::{Failure, brief};
use crate::key::Algorithm;
use crate::read::DEFAULT_PATIENCE;

/// `key generate|public|inspect`.
pub fn action(verb: KeyVerb, line: &Line) -> Result<Action, Failure> {
    Ok(match verb {
        KeyVerb::Generate => generate(line)?,
        KeyVerb::Public => {
            Action::Public { file: file(line)?, as_set: line.values().boolean("jwks")?.unwrap_or(false) }
        }
        KeyVerb::Inspect => Action::Inspect { file: file(line)? },
    })
}

fn generate(line: &Line) -> Result<Action, Failure> {
    if let Some(word) = line.operands.first() {
        return Err(Failure::usage(format!(
            "key generate takes no argument {}; name the file with --out",
            brief(word)
        )));
    }
    let values = line.values();
    let algorithm = match values.text("alg")? {
        None | Some("EdDSA") => Algorithm::EdDsa,
        Some("ES256") => Algorithm::Es256,
        Some("RS256") => Algorithm::Rs256,
        Some(_) => {
            return Err(
                values.refuse("alg", "is not EdDSA, ES256 or RS256, the algorithms that Locate takes")
            );
        }
    };
    if values.get("kid").is_some_and(|given| given.text.is_empty()) {
        return Err(Failure::usage("-kid: is empty; give an id, or leave it out for the key's thumbprint"));
    }
    let key_id = values.text("kid")?.map(str::to_owned);
    let out = values.path("out")?;
    if out.is_none() && key_id.as_ref().is_some_and(|key_id| key_id.contains('/')) {
        return Err(Failure::usage("-kid: holds a slash, so name the file with --out"));
    }
    Ok(Action::Generate { algorithm, key_id, out })
}

fn file(line: &Line) -> Result<KeyFile, Failure> {
    let [path] = line.operands.as_slice() else {
        return Err(Failure::usage("give one FILE, the JWK"));
    };
    let patience = line.values().positive_duration("timeout")?.unwrap_or(DEFAULT_PATIENCE);
    Ok(KeyFile { path: PathBuf::from(path), patience })
}
