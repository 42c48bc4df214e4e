//! Requests to an issuer's JSON API: one authentication header, no cookies, no redirects; requests are retried only if
//! that is safe.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use reqwest::Method;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use super::credential::issuer_of;
use super::refusal::{Dialect, Doing, Refusal};
use super::{CreateError, Leftover};
use crate::failure::{Failure, Reason, Stage};
use crate::http::explain::TransportError;
use crate::http::retry::{self, Again, Pauses, is_retryable, retry_after};
use crate::http::{Answer, Client, LoadedHttp, Redirects, Request};
use crate::secret::{ExposeSecret as _, SecretString, redact_url};

/// Large enough for a list of a hundred thousand tokens with 150 bytes each.
const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

pub(crate) struct Api {
    dialect: &'static Dialect,
    pub client: Client,
    base: Url,
    scheme: Scheme,
    headers: RefCell<HeaderMap>,
    flags: String,
    /// How often a repeatable request is repeated; `None`: for as long as the deadline allows.
    retries: Cell<Option<u32>>,
    /// No pause before a repetition lasts until then.
    deadline: Cell<Instant>,
    /// No try of the current request can have had an effect, and the next one has not begun.
    idle: Cell<bool>,
    /// The credential was accepted by a request that is not open to the bootstrap token.
    accepted: Cell<bool>,
}

/// How a credential is sent: the name of a header, and what stands before the credential.
pub(crate) type Scheme = (&'static str, &'static str);

fn authentication((name, before): Scheme, credential: &SecretString) -> Result<HeaderMap, Failure> {
    let mut value =
        HeaderValue::try_from(format!("{before}{}", credential.expose_secret())).map_err(|_| {
            let message = "the admin token has characters that an HTTP header cannot have";
            Failure::failed(Stage::Sign, Reason::CredentialInvalid, message)
        })?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
}

/// The headers with the admin's `credential`. A token of another issuer is not sent.
fn admin_headers(
    dialect: &Dialect,
    scheme: Scheme,
    credential: &SecretString,
    base: &Url,
) -> Result<HeaderMap, Failure> {
    if let Some(other) = issuer_of(credential.expose_secret()).filter(|other| *other != dialect.owner) {
        let Dialect { name, owner, .. } = dialect;
        let message = format!(
            "the admin token looks like a token of {other}, so it was not sent to {name} at {}; set the admin token of {owner}",
            crate::http::explain::origin(base)
        );
        return Err(Failure::failed(Stage::Sign, Reason::CredentialInvalid, message));
    }
    authentication(scheme, credential)
}

pub(crate) struct Access<'a> {
    pub http: &'a LoadedHttp,
    pub url: Url,
    pub credential: &'a SecretString,
    pub deadline: Instant,
    /// See [`Site`](super::Site).
    pub flags: String,
}

impl Api {
    /// The API below the URL of `access`.
    pub(crate) fn new(dialect: &'static Dialect, access: Access<'_>, scheme: Scheme) -> Result<Api, Failure> {
        let Access { http, url: base, credential, deadline, flags } = access;
        let client = Client::new(http, &base, Redirects::No).map_err(TransportError::into_failure)?;
        let headers = admin_headers(dialect, scheme, credential, &base)?.into();
        let (retries, deadline) = (Cell::new(Some(http.retries)), Cell::new(deadline));
        let (idle, accepted) = (Cell::new(false), Cell::new(false));
        Ok(Api { dialect, client, base, scheme, headers, flags, retries, deadline, idle, accepted })
    }

    /// Goes on with another credential of the same kind. False if it is none, or the known one.
    pub(crate) fn renew(&self, credential: &SecretString) -> bool {
        let Ok(headers) = admin_headers(self.dialect, self.scheme, credential, &self.base) else {
            return false;
        };
        let is_new = headers != *self.headers.borrow();
        if is_new {
            self.headers.replace(headers);
            self.accepted.set(false);
        }
        is_new
    }

    /// From now on, repeats requests for as long as `deadline` allows: only the clean-up is left.
    pub(crate) fn insist(&self, deadline: Instant) {
        self.retries.set(None);
        self.set_deadline(deadline);
    }

    /// The run has ended: what is under way is not begun again.
    pub(crate) fn give_up(&self) {
        self.retries.set(Some(0));
    }

    pub(crate) fn set_deadline(&self, deadline: Instant) {
        self.deadline.set(deadline);
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    pub(crate) fn origin(&self) -> String {
        crate::http::explain::origin(&self.base)
    }

    /// The base URL without a trailing slash.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(crate) fn url(&self) -> &Url {
        &self.base
    }

    /// A command line that asks the same server with this verb.
    pub(crate) fn command_line(&self, verb: &str) -> String {
        format!("monitoring-token {} {verb}{}", self.dialect.name, self.flags)
    }

    /// The current step with the server, such as `connecting to https://h`.
    pub(crate) fn doing(&self) -> String {
        self.client.doing(&self.base)
    }

    /// As [`Api::doing`], with advice for a request that stops there.
    pub(crate) fn stuck(&self) -> String {
        self.client.stuck(&self.base)
    }

    /// True if the server may have received (part of) the current request.
    pub(crate) fn maybe_sent(&self) -> bool {
        !self.idle.get() && Leftover::of_interruption(self.client.attempt().phase).is_some()
    }

    /// The URL of a resource; the segments are escaped.
    pub(crate) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &Url, doing: Doing) -> Result<T, Failure> {
        let answer = self.ask(self.request(url)).await?;
        let read = read(&answer, 200).ok_or_else(|| self.refused(&answer, url, doing))?;
        self.accepted.set(true);
        Ok(read)
    }

    /// Gets the resource at `url` with the token of a file as the credential; `None` if the response `is_invalid`,
    /// which means that the token is not or no longer valid.
    pub(crate) async fn get_if_valid<T: DeserializeOwned>(
        &self,
        url: &Url,
        (scheme, token): (Scheme, &SecretString),
        is_invalid: fn(&Answer) -> bool,
    ) -> Result<Option<T>, Failure> {
        let headers = authentication(scheme, token)?;
        let answer = self.ask(Request { headers, ..self.request(url) }).await?;
        if is_invalid(&answer) {
            return Ok(None);
        }
        read(&answer, 200).map(Some).ok_or_else(|| self.refused(&answer, url, Doing::Verify))
    }

    /// How far the local clock is ahead of the server's; zero if no response had a credible date.
    pub(crate) async fn clock_offset_seconds(&self, url: &Url) -> Result<i64, Failure> {
        self.ask(self.request(url)).await?;
        Ok(self.client.usable_clock_offset_seconds().unwrap_or_default())
    }

    /// Creates a resource. A successful response has `status`, and its content is `usable`.
    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        url: &Url,
        json: &[u8],
        status: u16,
        usable: impl Fn(&T) -> bool,
    ) -> Result<T, CreateError> {
        let request = Request { method: Method::POST, json: Some(json), ..self.request(url) };
        let answer = self.send(&request).await.0.map_err(|error| CreateError {
            leftover: error.maybe_sent.then(|| {
                Leftover::of_interruption(self.client.attempt().phase).unwrap_or(Leftover::Unanswered)
            }),
            failure: error.into_failure(),
        })?;
        read(&answer, status).filter(usable).ok_or_else(|| CreateError {
            leftover: Leftover::of_refusal(&answer, (self.dialect.is_own)(&answer)),
            failure: self.refused(&answer, url, Doing::Create),
        })
    }

    /// Deletes the resource at `url`. `false`: it did not exist.
    pub(crate) async fn delete(&self, url: &Url) -> Result<bool, Failure> {
        let request = Request { method: Method::DELETE, ..self.request(url) };
        let (result, maybe_done) = self.send(&request).await;
        let answer = result.map_err(TransportError::into_failure)?;
        match answer.status {
            204 => Ok(true),
            404 if (self.dialect.is_not_found)(&answer) => Ok(maybe_done),
            _ => Err(self.refused(&answer, url, Doing::Delete)),
        }
    }

    fn refused(&self, answer: &Answer, url: &Url, doing: Doing) -> Failure {
        let (origin, path, proxy) = (&self.origin(), url.path(), self.client.proxy());
        let accepted_before = self.accepted.get();
        let refusal = Refusal { dialect: self.dialect, origin, path, proxy, answer, doing, accepted_before };
        Failure::failed(Stage::Exchange, refusal.reason(), refusal.explain())
    }

    fn request(&self, url: &Url) -> Request<'static> {
        Request { headers: self.headers.borrow().clone(), ..Request::get(url.clone()) }
    }

    async fn ask(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let request = Request { max_answer_bytes: MAX_LIST_BYTES, ..request };
        self.send(&request).await.0.map_err(TransportError::into_failure)
    }

    /// Makes a request, and repeats it while [`may_repeat`] and the deadline allow it. Returns the last result, and
    /// whether an earlier try may have been carried out.
    async fn send(&self, request: &Request<'_>) -> (Result<Answer, TransportError>, bool) {
        let pauses = self.retries.get().map_or_else(Pauses::until_deadline, Pauses::new);
        let mut maybe_done = false;
        let tried = retry::repeat(pauses, self.deadline.get(), async || {
            self.idle.set(false);
            tracing::debug!(method = %request.method, url = redact_url(&request.url), "asking");
            let result = self.client.send(request).await;
            if let Ok(answer) = &result {
                tracing::debug!(status = answer.status, bytes = answer.body.len(), "answered");
            }
            let again = if self.retries.get() != Some(0) && may_repeat(&request.method, &result) {
                maybe_done |= maybe_carried_out(&result);
                self.idle.set(!maybe_done);
                Again::After(result.as_ref().ok().and_then(retry_after))
            } else {
                Again::No
            };
            (result, again)
        });
        let result = tried.await.result;
        (result, maybe_done)
    }
}

/// The retry rule of each method, as documented. A rate limiter has not passed the request on, so every request is
/// repeated after a 429. Reading and deleting may happen twice, so they are repeated after any connection error and any
/// gateway error; a deletion also after HTTP 500, because it did not happen. A creation is repeated only if it cannot
/// have arrived.
fn may_repeat(method: &Method, result: &Result<Answer, TransportError>) -> bool {
    match result {
        Ok(answer) if answer.status == 429 => true,
        Ok(_) if *method == Method::POST => false,
        Ok(answer) if answer.status == 500 => *method == Method::DELETE,
        Ok(answer) => is_retryable(answer.status),
        Err(error) => error.retryable && (*method != Method::POST || !error.maybe_sent),
    }
}

/// True if a gateway has given up on the issuer, or the connection broke after the request: it may still arrive.
fn maybe_carried_out(result: &Result<Answer, TransportError>) -> bool {
    match result {
        Ok(answer) => is_retryable(answer.status) && answer.status != 429,
        Err(error) => error.maybe_sent,
    }
}

/// The content of a response with this status; `None` if it has another one, or does not come from the issuer.
fn read<T: DeserializeOwned>(answer: &Answer, status: u16) -> Option<T> {
    (answer.status == status).then(|| serde_json::from_slice(&answer.body).ok()).flatten()
}
