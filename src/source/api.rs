//! Requests to an issuer's JSON API: one header that authenticates, no cookies, no redirects; what may be
//! repeated is repeated, what may not is not.

use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::error::{Failure, Stage};
use crate::http::explain::TransportError;
use crate::http::retry::{self, Next, Pauses};
use crate::http::{Answer, Client, HttpConfig, Redirects, Request, Step};
use crate::secret::{ExposeSecret as _, SecretString, redact_url};

/// An API, its client, and the right to use it.
pub struct Api {
    client: Client,
    base: Url,
    headers: HeaderMap,
    retries: u32,
}

impl Api {
    /// The API below `base`. `authentication` is a header's name and what stands before the token.
    pub fn new(
        http: &HttpConfig,
        base: Url,
        authentication: (&'static str, &str),
        token: &SecretString,
    ) -> Result<Api, Failure> {
        let failed = |message: String| Failure::ours(Stage::Exchange, message);
        let client = Client::new(http, &base, Redirects::No).map_err(|error| failed(error.message))?;
        let (name, before) = authentication;
        let mut value = HeaderValue::try_from(format!("{before}{}", token.expose_secret()))
            .map_err(|_| failed("the admin token cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
        Ok(Api { client, base, headers, retries: http.retries })
    }

    /// Where it is, for messages.
    pub fn origin(&self) -> String {
        crate::http::explain::origin(&self.base)
    }

    /// The base URL as text, without a slash at its end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The base URL.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// What is known of its connections.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How far the current request has come.
    pub fn step(&self) -> Step {
        self.client.step()
    }

    /// Whether the server may have got (some of) the current request.
    pub fn maybe_sent(&self) -> bool {
        match self.client.step() {
            Step::Lookup | Step::Connect | Step::Handshake => false,
            Step::Answer | Step::Body => true,
        }
    }

    /// The URL of a resource. The segments are escaped.
    pub fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn request<'a>(&self, method: Method, url: &Url, json: Option<&'a [u8]>) -> Request<'a> {
        Request { method, url: url.clone(), headers: self.headers.clone(), json }
    }

    /// Makes a request that may be made again: while the answer is one of trouble, `also` included, and
    /// `deadline` leaves time. Gives the last answer, and whether it was not the first request.
    pub async fn repeatable(
        &self,
        method: Method,
        url: &Url,
        deadline: Instant,
        also: &[u16],
    ) -> Result<(Answer, bool), TransportError> {
        let mut pauses = Pauses::new(self.retries);
        let mut repeated = false;
        loop {
            tracing::debug!(%method, url = redact_url(url), "asking");
            let result = self.client.send(self.request(method.clone(), url, None)).await;
            let asked = match &result {
                Ok(answer) => {
                    tracing::debug!(status = answer.status, bytes = answer.body.len(), "answered");
                    if !retry::is_retryable(answer.status) && !also.contains(&answer.status) {
                        return result.map(|answer| (answer, repeated));
                    }
                    retry::retry_after(answer, SystemTime::now())
                }
                Err(error) if !error.retryable => return result.map(|answer| (answer, repeated)),
                Err(_) => None,
            };
            match pauses.next(asked, Instant::now(), deadline) {
                Next::After(pause) => self.pause(pause).await,
                Next::GiveUp | Next::TooLate(_) => return result.map(|answer| (answer, repeated)),
            }
            repeated = true;
        }
    }

    /// Makes a request that must not be made twice: again only if it cannot have arrived.
    pub async fn once(&self, url: &Url, json: &[u8], deadline: Instant) -> Result<Answer, TransportError> {
        let mut pauses = Pauses::new(self.retries);
        loop {
            tracing::debug!(method = "POST", url = redact_url(url), "asking");
            let error = match self.client.send(self.request(Method::POST, url, Some(json))).await {
                Ok(answer) => {
                    tracing::debug!(status = answer.status, bytes = answer.body.len(), "answered");
                    return Ok(answer);
                }
                Err(error) if error.maybe_sent || !error.retryable => return Err(error),
                Err(error) => error,
            };
            match pauses.next(None, Instant::now(), deadline) {
                Next::After(pause) => self.pause(pause).await,
                Next::GiveUp | Next::TooLate(_) => return Err(error),
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        tracing::debug!(pause = crate::cli::duration::show(pause), "trying again");
        tokio::time::sleep(pause).await;
    }
}
