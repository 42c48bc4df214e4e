//! Reading a response, and the server's clock from its `Date`.

use std::io;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

use super::explain;

/// How much of a response body is read, unless the request sets another limit.
pub const MAX_ANSWER_BYTES: usize = 512 * 1024;

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
    Compressed(String),
    TooLarge,
    Broken(reqwest::Error),
}

/// Reads a body to its end, for at most `patience`. The error includes the part that was read.
pub(super) async fn read_body(
    response: &mut reqwest::Response,
    headers: &HeaderMap,
    max_bytes: usize,
    patience: Option<Duration>,
) -> Result<Vec<u8>, (Vec<u8>, Unreadable)> {
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| String::from_utf8_lossy(encoding.as_bytes()));
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err((Vec::new(), Unreadable::Compressed(encoding.into_owned())));
    }
    let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(max_bytes.min(MAX_ANSWER_BYTES)));
    let end = read_into(&mut body, response, headers, max_bytes);
    let result = match patience {
        Some(patience) => tokio::time::timeout(patience, end).await.unwrap_or(Ok(())),
        None => end.await,
    };
    match result {
        Ok(()) => Ok(body),
        Err(why) => Err((body, why)),
    }
}

async fn read_into(
    body: &mut Vec<u8>,
    response: &mut reqwest::Response,
    headers: &HeaderMap,
    max_bytes: usize,
) -> Result<(), Unreadable> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > max_bytes => return Err(Unreadable::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(()),
            Err(error) if ends_with_connection(headers) && is_end_of_file(&error) => return Ok(()),
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
    explain::find::<io::Error>(error).is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
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
