//! `stackstate bootstrap`: the configuration with which an installation creates its first service token
//! (`authentication.yaml` of the Helm chart), and the Kubernetes Secret that may hold the token.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cli::Line;
use crate::cli::stackstate::{Bootstrap, PRINT, Printed, TTL};
use crate::config;
use crate::failure::{Failure, Reason, Stage, system_error};
use crate::issuer::credential::{SERVICE_TOKEN_PREFIX, no_token, token_in};
use crate::new_file::NewFile;
use crate::owner::is_trusted;
use crate::random;
use crate::read::{self, ReadError};
use crate::secret::{ExposeSecret as _, SecretString, protect};
use crate::sys::signal::Signals;
use crate::until::{DEFAULT_PATIENCE, Until};

/// 192 bits: 32 characters.
const RANDOM_BYTES: usize = 24;

/// A placeholder, because the chart writes the bootstrap block only if the values have a token.
const PLACEHOLDER: &str = "read-from-the-secret";

/// Prints the documents that `--print` selects.
pub(crate) fn print(line: Line<Bootstrap>, signals: &Signals) -> Result<String, Failure> {
    let Bootstrap { mut subject, ttl, token_file, external_secret, print } = line.flags;
    if external_secret.is_none() && print.is_some() {
        return Err(Failure::usage("--print needs --external-secret"));
    }
    let print = PRINT.or(print);
    let secret = external_secret.as_deref();
    let needs_no_roles = subject.roles.is_empty() && secret.is_some() && print == Printed::Secret;
    let roles = std::mem::take(&mut subject.roles);
    let roles = if needs_no_roles { Vec::new() } else { config::stackstate::roles(roles)? };
    let values = |token: &str| {
        values(token, secret, &roles, &TTL.or(ttl.clone()), subject.dedicated_subject.as_deref())
    };
    if secret.is_some() && print == Printed::Values {
        return Ok(values(PLACEHOLDER));
    }
    let token = match &token_file {
        None => random_token()?,
        Some(path) => kept_token(path, signals)?,
    };
    let token = token.expose_secret();
    Ok(match secret {
        None => values(token),
        Some(name) if print == Printed::Secret => secret_manifest(name, token),
        Some(name) => format!("{}---\n{}", secret_manifest(name, token), values(PLACEHOLDER)),
    })
}

/// `authentication.yaml` of the Helm chart.
fn values(
    token: &str,
    secret: Option<&str>,
    roles: &[String],
    ttl: &str,
    dedicated_subject: Option<&str>,
) -> String {
    let mut yaml =
        String::from("# Helm values: helm upgrade --values FILE.\nstackstate:\n  authentication:\n");
    if let Some(secret) = secret {
        let _ = writeln!(yaml, "    fromExternalSecret: {}", quoted(secret));
    }
    let _ = write!(
        yaml,
        "    serviceToken:\n      bootstrap:\n        token: {}\n        roles:\n",
        quoted(token)
    );
    for role in roles {
        let _ = writeln!(yaml, "          - {}", quoted(&hocon_word(role)));
    }
    let _ = writeln!(yaml, "        ttl: {}", quoted(ttl));
    if let Some(subject) = dedicated_subject.filter(|subject| !subject.is_empty()) {
        let _ = writeln!(yaml, "        dedicatedSubject: {}", quoted(subject));
    }
    yaml
}

fn secret_manifest(name: &str, token: &str) -> String {
    format!(
        "\
# Kubernetes Secret: kubectl apply. It replaces the chart's own authentication Secret, so add the login keys
# that this installation uses: default_password, ldap_password, oidc_client_id and oidc_secret (Rancher, too),
# keycloak_client_id and keycloak_secret, or file_USER_password for each user.
apiVersion: v1
kind: Secret
metadata:
  name: {}
type: Opaque
stringData:
  bootstrap_token: {}
",
        quoted(name),
        quoted(token)
    )
}

/// A YAML string in double quotes: JSON's are a subset.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A role as it may stand in the server's configuration (HOCON), into which the chart writes it as it is: a
/// string in quotation marks, unless it is a plain word.
fn hocon_word(role: &str) -> String {
    let is_plain = role.starts_with(|c: char| c.is_ascii_alphabetic())
        && role.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !["null", "true", "false", "include"].contains(&role);
    if is_plain { role.to_owned() } else { quoted(role) }
}

fn random_token() -> Result<SecretString, Failure> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    random::fill(&mut bytes).map_err(|why| Failure::failed(Stage::Sign, Reason::System, why))?;
    let token = format!("{SERVICE_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    protect(&token);
    Ok(SecretString::from(token))
}

/// Fails for a file that another user owns or can write: that user could know the token of the installation.
fn check_ours(file: &File, at: &str) -> Result<(), Failure> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let refuse = |why: String| {
        let message = format!("{at}: cannot trust this token file: {why}; check --token-file");
        Failure::failed(Stage::Sign, Reason::CredentialInvalid, message)
    };
    let metadata = file.metadata().map_err(|error| refuse(system_error(&error)))?;
    if !is_trusted(metadata.uid()) {
        return Err(refuse(format!("it belongs to another user (uid {})", metadata.uid())));
    }
    if metadata.is_file() && metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(refuse("other users may write to it (chmod 600)".to_owned()));
    }
    Ok(())
}

/// The token in `path`; a new one, written there, if there is no such file.
fn kept_token(path: &Path, signals: &Signals) -> Result<SecretString, Failure> {
    const FLAG: &str = "--token-file";
    let until = Until::in_time(DEFAULT_PATIENCE).or_signal(signals);
    let (file, at) = if path.as_os_str() == "-" {
        (read::standard_input(), "standard input".to_owned())
    } else {
        let (file, at) = (read::open(path), path.display().to_string());
        match &file {
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let token = random_token()?;
                NewFile::reserve(path, FLAG)?.fill(&token, FLAG)?;
                return Ok(token);
            }
            Err(_) => {}
            Ok(file) => check_ours(file, &at)?,
        }
        (file, at)
    };
    token_in(file, &at, "the token", FLAG, &until)?.ok_or_else(|| no_token(&at))
}
