//! Where the administrator's credential comes from: rules between variables and flags.

use super::variable;
use crate::cli::Values;
use crate::cli::tokens::REFUSED;
use crate::credential::{Credential, one_word};
use crate::error::{Failure, Reason, Stage};
use crate::secret::zero_in_environment;

/// Refuses a token that was given as a flag's value, without showing it; `variables` are where it may be.
pub fn refuse_tokens_on_the_command_line(values: &Values<'_>, variables: &str) -> Result<(), Failure> {
    let advice = format!(
        "command lines are public; set {variables}, or use --admin-token-file FILE (- for standard input)"
    );
    if let Some(name) = REFUSED.into_iter().find(|name| values.get(name).is_some()) {
        return Err(Failure::usage(format!("--{name}: {advice}")));
    }
    let file = values.get("admin-token-file").map(|given| given.text.to_string_lossy().into_owned());
    if file.is_some_and(|file| looks_like_a_token(&file)) {
        return Err(Failure::usage(format!("--admin-token-file: expected a file, not the token; {advice}")));
    }
    Ok(())
}

/// A token where a file's name, or a word, is expected.
fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("svctok-") || (text.starts_with("gt-") && text.contains('.'))
}

/// The credential: from the file, from the one of `variables` that is set, or else `other`. What the
/// variables hold is overwritten in the environment block that the kernel shows.
pub fn credential(
    values: &Values<'_>,
    variables: &[&'static str],
    other: Option<Credential>,
) -> Result<Credential, Failure> {
    let names = variables.join(" or ");
    refuse_tokens_on_the_command_line(values, &names)?;
    let mut found = Vec::new();
    for name in variables {
        if let Some(token) = variable(name)? {
            zero_in_environment(name);
            found.push((name, token));
        }
    }
    if let Some(path) = values.path("admin-token-file")? {
        return Ok(if path.as_os_str() == "-" { Credential::StandardInput } else { Credential::File(path) });
    }
    match found.as_slice() {
        [] => other.ok_or_else(|| {
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
