//! An administrator's credential: the token that makes and deletes service tokens. From a variable or a
//! file, never from a flag's value.

use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Failure, Stage};
use crate::read::{self, ReadError, Until};
use crate::secret::SecretString;
use crate::signal::Signals;

/// A file that is larger holds no token.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Where a credential is.
pub enum Credential {
    /// It was in this variable.
    Variable(&'static str, SecretString),
    /// In this file.
    File(PathBuf),
    /// On our standard input.
    StandardInput,
}

impl Credential {
    /// For messages.
    pub fn describe(&self) -> String {
        match self {
            Credential::Variable(name, _) => (*name).to_owned(),
            Credential::File(path) => path.display().to_string(),
            Credential::StandardInput => "standard input".to_owned(),
        }
    }

    /// Reads the credential, without the white space around it. A pipe may keep us waiting: until
    /// `deadline`, or until a signal ends the run.
    pub fn load(self, signals: Option<&Signals>, deadline: Instant) -> Result<SecretString, Failure> {
        self.read(&Until { signals, ..Until::at(deadline) })
    }

    /// The same, until something ends the wait.
    pub fn read(self, until: &Until<'_>) -> Result<SecretString, Failure> {
        use std::os::fd::AsFd as _;
        let at = self.describe();
        let file = match self {
            Credential::Variable(_, token) => return Ok(token),
            Credential::File(path) => read::open(&path),
            Credential::StandardInput => {
                let stdin = std::io::stdin().as_fd().try_clone_to_owned();
                stdin.map(std::fs::File::from).map_err(ReadError::Io)
            }
        };
        let bytes = file
            .and_then(|file| read::all(file, MAX_TOKEN_BYTES, until))
            .map_err(|error| unread(&error, &at))?;
        let text = std::str::from_utf8(bytes.trim_ascii()).unwrap_or_default();
        sound(text, &at)
    }
}

/// `text` as a token that fits into a header.
pub fn sound(text: &str, at: &str) -> Result<SecretString, Failure> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::ours(Stage::Sign, format!("{at}: holds no token, which is one word of ASCII")));
    }
    Ok(SecretString::from(text))
}

fn unread(error: &ReadError, at: &str) -> Failure {
    match error {
        ReadError::Io(error) => Failure::ours(
            Stage::Sign,
            format!("cannot read the admin token from {at}: {error}; see --admin-token-file"),
        ),
        ReadError::TooLarge => Failure::ours(Stage::Sign, format!("{at}: is too large to be a token")),
        ReadError::Ended(ended) => ended.failure(Stage::Sign, &format!("the admin token from {at}")),
    }
}
