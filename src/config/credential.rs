//! Where the administrator's credential comes from: rules between variables and flags.

use std::path::PathBuf;

use super::variable;
use crate::failure::{Failure, Reason, Stage};
use crate::issuer::credential::{Credential, one_word};
use crate::secret::overwrite_variable;

/// The credential: from `--admin-token-file`, from the one of `variables` that is set, or else `other`. What the
/// variables hold is overwritten in the environment block that the kernel shows.
pub(super) fn credential(
    file: Option<PathBuf>,
    variables: &[&'static str],
    other: Option<Credential>,
) -> Result<Credential, Failure> {
    let mut found = Vec::new();
    for name in variables {
        if let Some(token) = variable(name)? {
            overwrite_variable(name);
            found.push((name, token));
        }
    }
    if let Some(path) = file {
        return Ok(if path.as_os_str() == "-" { Credential::StandardInput } else { Credential::File(path) });
    }
    match found.as_slice() {
        [] => other.ok_or_else(|| {
            let names = variables.join(" or ");
            let message = format!("no admin token: set {names}, or use --admin-token-file FILE");
            Failure::failed(Stage::Sign, Reason::CredentialMissing, message)
        }),
        [(name, token)] => Ok(Credential::Variable(name, one_word(token.trim(), name)?)),
        many => {
            let names: Vec<&str> = many.iter().map(|(name, _)| **name).collect();
            Err(Failure::usage(format!("more than one credential is set: {}; set one", names.join(", "))))
        }
    }
}
