//! An administrator's credential: the token that creates and deletes service tokens. It comes from a variable or a
//! file, never from the value of a flag.

use std::fs::File;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::failure::{Failure, Reason, Stage, resource_advice, system_error};
use crate::read::{self, NotText, ReadError, as_text};
use crate::secret::{SecretString, protect};
use crate::until::Until;

/// How StackState's service tokens begin.
pub(crate) const SERVICE_TOKEN_PREFIX: &str = "svctok-";

const MAX_TOKEN_BYTES: usize = 64 * 1024;

pub(crate) enum Credential {
    Variable(&'static str, SecretString),
    /// A file, which may be a pipe; `-` for standard input.
    File(PathBuf),
    /// The token of a context of `sts`.
    Context(SecretString),
}

impl Credential {
    pub(crate) fn describe(&self) -> String {
        match self {
            Credential::Variable(name, _) => (*name).to_owned(),
            Credential::File(path) if path.as_os_str() == "-" => "standard input".to_owned(),
            Credential::File(path) => path.display().to_string(),
            Credential::Context(_) => "the context of sts".to_owned(),
        }
    }

    /// The file, if it can be read again.
    pub(crate) fn regular_file(&self) -> Option<PathBuf> {
        if let Credential::File(path) = self { path.is_file().then(|| path.clone()) } else { None }
    }

    /// Reads the credential, which may wait for a pipe.
    pub(crate) fn read(self, until: &Until<'_>) -> Result<SecretString, Failure> {
        let at = self.describe();
        let file = match self {
            Credential::Variable(_, token) | Credential::Context(token) => return Ok(token),
            Credential::File(path) if path.as_os_str() == "-" => read::standard_input(),
            Credential::File(path) => read::open_secret(&path),
        };
        let token = token_in(file, &at, "the admin token", "--admin-token-file", until)?;
        token.ok_or_else(|| no_token(&at))
    }
}

/// The token in `file`, without the white space around it; `None` if there is nothing else. `what` and `flag` are for
/// messages: the kind of token, and the flag that named the file.
pub(crate) fn token_in(
    file: Result<File, ReadError>,
    at: &str,
    what: &str,
    flag: &str,
    until: &Until<'_>,
) -> Result<Option<SecretString>, Failure> {
    let read = file.and_then(|file| read::all(&file, MAX_TOKEN_BYTES, until));
    let bytes = read.map_err(|error| match error {
        ReadError::Io(error) => {
            let advice = resource_advice(&error).map_or_else(|| format!("check {flag}"), str::to_owned);
            let error = system_error(&error);
            let message = format!("cannot read {what} from {at}: {error}; {advice}");
            Failure::failed(Stage::Sign, Reason::CredentialUnreadable, message)
        }
        ReadError::TooLarge => invalid(format!("{at}: too large to be a token")),
        ReadError::Ended(ended) => ended.while_reading(Stage::Sign, &format!("{what} from {at}")),
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
    let text = text.trim_ascii();
    if text.is_empty() { Ok(None) } else { one_word(text, at).map(Some) }
}

/// A secret that was mistaken for a token: sent as one, a signing key would leave this machine.
fn other_than_token(text: &str) -> Option<&'static str> {
    let bare = text.trim_end_matches('=');
    let is_json = |text: &[u8]| text.starts_with(b"{") || text.starts_with(b"[");
    let decoded =
        [STANDARD_NO_PAD.decode(bare), URL_SAFE_NO_PAD.decode(bare)].into_iter().find_map(Result::ok);
    let is_in_base64 = decoded.map(Zeroizing::new).is_some_and(|bytes| {
        is_json(bytes.trim_ascii()) && serde_json::from_slice::<IgnoredAny>(&bytes).is_ok()
            || bytes.starts_with(b"-----BEGIN ")
    });
    if is_json(text.as_bytes()) {
        Some("JSON, such as a signing key")
    } else if is_in_base64 {
        Some("base64 of a key")
    } else if text.starts_with(['"', '\'']) {
        Some("in quotation marks; remove them")
    } else if text
        .split_once('=')
        .is_some_and(|(_, value)| issuer_of(value.trim_matches(['"', '\''])).is_some())
    {
        Some("an assignment; leave out NAME=")
    } else {
        None
    }
}

/// The issuer whose service tokens begin like `token`.
pub(super) fn issuer_of(token: &str) -> Option<&'static str> {
    let prefixes = [("gt-", "Gafaelfawr"), (SERVICE_TOKEN_PREFIX, "StackState")];
    prefixes.into_iter().find(|(prefix, _)| token.starts_with(prefix)).map(|(_, issuer)| issuer)
}

pub(crate) fn no_token(at: &str) -> Failure {
    invalid(format!("{at}: not a token; expected one word of ASCII"))
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
        return Err(no_token(at));
    }
    protect(text);
    if let Some(found) = other_than_token(text) {
        return Err(invalid(format!("{at}: not a token; it is {found}")));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn another_secret_is_refused_as_a_token() {
        let key = r#"{"kty":"OKP","crv":"Ed25519","d":"AAAA"}"#;
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n";
        for (text, found) in [
            (key.to_owned(), "JSON"),
            (format!("[{key}]"), "JSON"),
            (STANDARD.encode(key), "base64 of a key"),
            (URL_SAFE_NO_PAD.encode(key), "base64 of a key"),
            (STANDARD.encode(pem), "base64 of a key"),
            ("\"gt-a.b\"".to_owned(), "quotation marks"),
            ("GAFAELFAWR_ADMIN_TOKEN=gt-a.b".to_owned(), "assignment"),
            ("token='svctok-a'".to_owned(), "assignment"),
            (format!("\u{feff}{key}"), "JSON"),
        ] {
            let Err(failure) = one_word(&text, "FILE") else { panic!("{found}") };
            assert!(failure.message.contains(found) && !failure.message.contains("AAAA"), "{failure}");
            assert_eq!(failure.reason, Reason::CredentialInvalid);
        }
        for token in [
            "x",
            "gt-a.b",
            "svctok-a",
            "eyJhbGciOiJFZERTQSJ9.e30.c2ln",
            "eyJh",
            "YWJj",
            "8UaK74tbRebApWbgi4s0jt7e5uWHAOm8",
            "a=b==",
        ] {
            assert!(one_word(token, "FILE").is_ok(), "{token}");
        }
    }
}
