//! `stackstate bootstrap`: the configuration with which an installation makes its first service token
//! (`authentication.yaml` of the Helm chart), or the Kubernetes Secret that holds the token.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::output::SecretFile;
use crate::credential::token_in;
use crate::error::{Failure, Stage};
use crate::random;
use crate::read::{self, DEFAULT_PATIENCE, ReadError, Until};
use crate::secret::{ExposeSecret as _, SecretString, protect};
use crate::signal::Signals;
use crate::source::stackstate::SERVICE_TOKEN_PREFIX;

/// 192 bits: 32 characters.
const RANDOM_BYTES: usize = 24;

/// What to print.
pub struct Bootstrap {
    /// Roles of the token.
    pub roles: Vec<String>,
    /// How long it lives, in the words of the chart.
    pub ttl: String,
    /// Where the token is, or is kept.
    pub token_file: Option<PathBuf>,
    /// The name of the Secret to print instead.
    pub external_secret: Option<String>,
}

impl Bootstrap {
    /// The YAML.
    pub fn print(self, signals: &Signals) -> Result<String, Failure> {
        let token = match &self.token_file {
            None => random_token()?,
            Some(path) => kept_token(path, signals)?,
        };
        let token = quoted(token.expose_secret());
        if let Some(name) = &self.external_secret {
            return Ok(format!(
                "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\ntype: Opaque\nstringData:\n  bootstrap_token: {token}\n",
                quoted(name)
            ));
        }
        let roles = self.roles.iter().map(|role| quoted(role)).collect::<Vec<_>>().join("\n          - ");
        Ok(format!(
            "stackstate:\n  authentication:\n    servicetoken:\n      bootstrap:\n        token: {token}\n        roles:\n          - {roles}\n        ttl: {}\n",
            quoted(&self.ttl)
        ))
    }
}

/// A YAML string in double quotes: JSON's are a subset.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn random_token() -> Result<SecretString, Failure> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    random::fill(&mut bytes).map_err(|why| Failure::ours(Stage::Sign, why))?;
    let token = format!("{SERVICE_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    protect(&token);
    Ok(SecretString::from(token))
}

/// The token in `path`; a new one, written there, if there is no such file.
fn kept_token(path: &Path, signals: &Signals) -> Result<SecretString, Failure> {
    match read::open(path) {
        Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = random_token()?;
            SecretFile::reserve(path, "--token-file")?.fill(&token)?;
            Ok(token)
        }
        file => {
            let at = path.display().to_string();
            let until = Until { signals: Some(signals), ..Until::in_time(DEFAULT_PATIENCE) };
            token_in(file, &at, "the token", "--token-file", &until)
        }
    }
}
