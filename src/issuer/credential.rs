//! An administrator's credential: the token that creates and deletes service tokens. It comes from a variable or a
//! file, never from the value of a flag.

use std::fs::File;
use std::path::PathBuf;

use crate::failure::{Failure, Reason, Stage, resource_advice, system_error};
use crate::read::{self, NotText, ReadError, Until, as_text};
use crate::secret::{SecretString, protect};

const MAX_TOKEN_BYTES: usize = 64 * 1024;

pub(crate) enum Credential {
    Variable(&'static str, SecretString),
    /// A file, which may be a pipe.
    File(PathBuf),
    StandardInput,
    /// The token of a context of `sts`.
    Context(SecretString),
}

impl Credential {
    /// Reads the credential, which may wait for a pipe.
    pub(crate) fn read(self, until: &Until<'_>) -> Result<SecretString, Failure> {
        let (file, at) = match self {
            Credential::Variable(_, token) | Credential::Context(token) => return Ok(token),
            Credential::File(path) => (read::open_secret(&path), path.display().to_string()),
            Credential::StandardInput => (read::standard_input(), "standard input".to_owned()),
        };
        token_in(file, &at, "the admin token", "--admin-token-file", until)
    }
}

/// The token in `file`, without the white space around it. `what` and `flag` are for messages: the kind of token, and
/// the flag that named the file.
pub(crate) fn token_in(
    file: Result<File, ReadError>,
    at: &str,
    what: &str,
    flag: &str,
    until: &Until<'_>,
) -> Result<SecretString, Failure> {
    let read = file.and_then(|file| read::all(file, MAX_TOKEN_BYTES, until));
    let bytes = read.map_err(|error| match error {
        ReadError::Io(error) => {
            let advice = resource_advice(&error).map_or_else(|| format!("check {flag}"), str::to_owned);
            let error = system_error(&error);
            let message = format!("cannot read {what} from {at}: {error}; {advice}");
            Failure::failed(Stage::Sign, Reason::CredentialUnreadable, message)
        }
        ReadError::TooLarge => invalid(format!("{at}: too large to be a token")),
        ReadError::Ended(ended) => ended.failure(Stage::Sign, &format!("{what} from {at}")),
    })?;
    let text = as_text(&bytes).map_err(|why| {
        let why = match why {
            NotText::Utf16 => {
                "is UTF-16 text; convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8"
            }
            NotText::Bytes => "is not text, so not a token",
        };
        invalid(format!("{at}: {why}"))
    })?;
    one_word(text.trim_ascii(), at)
}

fn invalid(message: String) -> Failure {
    Failure::failed(Stage::Sign, Reason::CredentialInvalid, message)
}

/// Accepts `text` as a token if it is one word of printable ASCII, which an HTTP header can hold. `at` says where it
/// comes from, for messages.
pub(crate) fn one_word(text: &str, at: &str) -> Result<SecretString, Failure> {
    // `$(cat FILE)` leaves these characters of a file that was edited on Windows.
    let text = text.trim_start_matches('\u{feff}').trim_ascii();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!("{at}: not a token; expected one word of ASCII")));
    }
    protect(text);
    Ok(SecretString::from(text))
}
