//! Loads the key: from a file (or a pipe: `<(…)`), or from the variable itself.

use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::PrivateKey;
use crate::failure::{Failure, Reason, Stage, resource_advice, system_error};
use crate::read::{self, ReadError};
use crate::until::Until;

const MAX_KEY_BYTES: usize = 64 * 1024;

pub enum KeySource {
    /// A file, which may be a pipe, and the flag or variable that named it.
    File(PathBuf, &'static str),
    /// The JWK itself, from the variable.
    Inline(SecretString),
    /// Neither flag nor variable is set. The run reports this failure itself, so that its metrics include it.
    Missing,
}

impl KeySource {
    pub fn describe(&self) -> String {
        match self {
            KeySource::File(path, _) => path.display().to_string(),
            KeySource::Inline(_) => "in MONITORING_SIGNER_KEY".to_owned(),
            KeySource::Missing => "(none)".to_owned(),
        }
    }

    /// Reads the key, which may wait for a pipe.
    pub fn load(&self, until: &Until<'_>) -> Result<PrivateKey, Failure> {
        let key = match self {
            KeySource::Missing => {
                return Err(Failure::failed(
                    Stage::Sign,
                    Reason::KeyMissing,
                    "no signing key: set MONITORING_SIGNER_KEY or -monitoring-signer-key to the path of the private JWK",
                ));
            }
            KeySource::Inline(jwk) => PrivateKey::from_jwk(jwk.expose_secret().as_bytes()),
            KeySource::File(path, origin) => {
                let advice = || {
                    let is_padded = path.to_str().is_some_and(|path| path.trim() != path);
                    let stray = if is_padded { ", which begins or ends with whitespace" } else { "" };
                    format!("correct the path in {origin}{stray}")
                };
                PrivateKey::from_jwk(&read_file(path, until, advice)?)
            }
        };
        key.map_err(|refusal| self.refuse(&refusal))
    }

    pub fn refuse(&self, refusal: &str) -> Failure {
        let message = format!("cannot use the key {}: {refusal}", self.describe());
        Failure::failed(Stage::Sign, Reason::KeyInvalid, message)
    }
}

/// Reads a key file. `advice` is added if the file cannot be read.
pub(crate) fn read_file(
    path: &Path,
    until: &Until<'_>,
    advice: impl Fn() -> String,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read = read::open_secret(path).and_then(|file| read::all(&file, MAX_KEY_BYTES, until));
    let path = path.display();
    read.map_err(|error| match error {
        ReadError::Io(error) => {
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!("make it readable by uid {}", rustix::process::geteuid().as_raw())
                }
                _ => resource_advice(&error).map_or_else(&advice, str::to_owned),
            };
            let error = system_error(&error);
            let message = format!("cannot read key file {path}: {error}; {advice}");
            Failure::failed(Stage::Sign, Reason::KeyUnreadable, message)
        }
        ReadError::TooLarge => Failure::failed(
            Stage::Sign,
            Reason::KeyInvalid,
            format!(
                "cannot use the key {path}: it is larger than {} KiB, so it cannot be a JWK",
                MAX_KEY_BYTES / 1024
            ),
        ),
        ReadError::Ended(ended) => ended.while_reading(Stage::Sign, &format!("the key {path}")),
    })
}
