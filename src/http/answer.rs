//! Reading a response, and the server's clock from its `Date`.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};

use crate::secret::quoted;

/// How much of a response body is read, unless the request sets another limit.
pub(super) const MAX_ANSWER_BYTES: usize = 512 * 1024;

const MAX_ENCODING_CHARS: usize = 64;
/// Values of Content-Encoding that encode nothing. Only `identity` is valid, but servers send the others, too.
const NOT_ENCODED: [&[u8]; 4] = [b"", b"identity", b"none", b"utf-8"];

/// A complete response. It has no `Debug`, because it may hold a token.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Its body, at most as long as the request allowed.
    pub body: Vec<u8>,
    /// How far the local clock is ahead of the server's (negative: behind), in seconds, by `Date`.
    pub clock_offset_seconds: Option<i64>,
}

impl Answer {
    pub fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub(super) enum Unreadable {
    /// A clause that begins with a verb.
    Refused(String),
    Broken(reqwest::Error),
}

/// Reads the body of a response to its end.
pub(super) async fn read_body(
    body: &mut Vec<u8>,
    response: &mut reqwest::Response,
    max_bytes: usize,
) -> Result<(), Unreadable> {
    let is_encoded = |encoding: &&HeaderValue| {
        !NOT_ENCODED.iter().any(|name| encoding.as_bytes().eq_ignore_ascii_case(name))
    };
    if let Some(encoding) = response.headers().get_all(CONTENT_ENCODING).iter().find(is_encoded) {
        let encoding = quoted(encoding.as_bytes(), MAX_ENCODING_CHARS);
        let why = format!(
            "responded with Content-Encoding {encoding}, which was not requested; turn it off in the server or in a proxy on the path"
        );
        return Err(Unreadable::Refused(why));
    }
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    body.reserve(expected.min(max_bytes.min(MAX_ANSWER_BYTES)));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > max_bytes => {
                let (limit, status) = (max_bytes / 1024, response.status().as_u16());
                return Err(Unreadable::Refused(format!(
                    "returned a response larger than {limit} KiB (HTTP {status}); check the URL"
                )));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(()),
            Err(error) if ends_with_connection(response.headers()) && is_end_of_file(&error) => return Ok(()),
            Err(error) => return Err(Unreadable::Broken(error)),
        }
    }
}

/// True if the body ends with the connection (RFC 9112, 6.3).
fn ends_with_connection(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING)
}

/// True if the connection was closed properly except for TLS's close_notify. Go accepts that as the end, because many
/// servers do it. An attacker could cut a response short that way, but only JSON is used, and no beginning of a JSON
/// object parses.
fn is_end_of_file(error: &reqwest::Error) -> bool {
    find::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
}

/// How far `now` is ahead of an HTTP date, in whole seconds like that date.
pub fn clock_offset_seconds(date: &str, now: SystemTime) -> Option<i64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).ok();
    match now.duration_since(date) {
        Ok(ahead) => whole(ahead),
        Err(behind) => whole(behind.duration() + Duration::from_millis(999)).map(|seconds| -seconds),
    }
}

/// True if the clock of a server with this offset may set the expiry of a token. With more than a day, a forged `Date`
/// could make a token last for years.
pub(crate) fn is_usable(clock_offset_seconds: i64) -> bool {
    clock_offset_seconds.unsigned_abs() <= 24 * 60 * 60
}

/// The innermost error of this type.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).filter_map(|error| error.downcast_ref::<T>()).last()
}

/// This error, and the errors that caused it.
pub(super) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error that wraps another error reports that error's source as its own.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}
