//! Requests to an issuer's JSON API: one header that authenticates, no cookies, no redirects; what may be
//! repeated is repeated, what may not is not.

use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use super::refusal::{Doing, Refusal, Service};
use super::{CreateError, Leftover};
use crate::error::{Failure, Stage};
use crate::http::explain::TransportError;
use crate::http::retry::{self, Next, Pauses};
use crate::http::{Answer, Client, LoadedHttp, Redirects, Request, Step};
use crate::secret::{ExposeSecret as _, SecretString, redact_url};

/// An API, its client, and the right to use it.
pub struct Api {
    service: &'static Service,
    client: Client,
    base: Url,
    headers: HeaderMap,
    retries: u32,
}

impl Api {
    /// The API below `base`. `authentication` is a header's name and what stands before the token.
    pub fn new(
        service: &'static Service,
        http: &LoadedHttp,
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
        Ok(Api { service, client, base, headers, retries: http.retries })
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

    /// What is at `url`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        url: &Url,
        doing: Doing,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let (answer, _) = self.repeatable(Method::GET, url, deadline).await?;
        let read = (answer.status == 200).then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        read.ok_or_else(|| self.refused(&answer, doing))
    }

    /// Makes something. A good answer has `status`, and is `usable`.
    pub async fn create<T: DeserializeOwned>(
        &self,
        url: &Url,
        json: &[u8],
        status: u16,
        usable: impl Fn(&T) -> bool,
        deadline: Instant,
    ) -> Result<T, CreateError> {
        let answer = self.once(url, json, deadline).await.map_err(|error| CreateError {
            leftover: error.maybe_sent.then_some(Leftover::Unanswered),
            failure: unanswered(error),
        })?;
        let read = (answer.status == status).then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        read.filter(usable).ok_or_else(|| CreateError {
            leftover: Leftover::of_refusal(answer.status, (self.service.is_own)(&answer)),
            failure: self.refused(&answer, Doing::Create),
        })
    }

    /// Deletes what is at `url`. `false`: there was nothing.
    pub async fn delete(&self, url: &Url, deadline: Instant) -> Result<bool, Failure> {
        let (answer, repeated) = self.repeatable(Method::DELETE, url, deadline).await?;
        match answer.status {
            204 => Ok(true),
            404 if (self.service.is_not_found)(&answer) => Ok(repeated),
            _ => Err(self.refused(&answer, Doing::Delete)),
        }
    }

    /// An answer that is not the one that was asked for.
    fn refused(&self, answer: &Answer, doing: Doing) -> Failure {
        let refusal = Refusal { service: self.service, origin: &self.origin(), answer, doing };
        Failure::ours(Stage::Exchange, refusal.explain())
    }

    /// Makes a request that may be made again: while the answer is one of trouble, and `deadline` leaves
    /// time. Gives the last answer, and whether it was not the first request.
    async fn repeatable(
        &self,
        method: Method,
        url: &Url,
        deadline: Instant,
    ) -> Result<(Answer, bool), Failure> {
        let mut pauses = Pauses::new(self.retries);
        let mut repeated = false;
        loop {
            let result = self.ask(method.clone(), url, None).await;
            let trouble = match &result {
                Ok(answer) if retry::is_retryable(answer.status) => {
                    Some(retry::retry_after(answer, SystemTime::now()))
                }
                // It did not happen.
                Ok(answer) if answer.status == 500 && method == Method::DELETE => Some(None),
                Err(error) if error.retryable => Some(None),
                _ => None,
            };
            let next = trouble.map(|asked| pauses.next(asked, Instant::now(), deadline));
            let Some(Next::After(pause)) = next else {
                return result.map(|answer| (answer, repeated)).map_err(unanswered);
            };
            self.pause(pause).await;
            repeated = true;
        }
    }

    /// Makes a request that must not be made twice: again only if it cannot have arrived.
    async fn once(&self, url: &Url, json: &[u8], deadline: Instant) -> Result<Answer, TransportError> {
        let mut pauses = Pauses::new(self.retries);
        loop {
            let result = self.ask(Method::POST, url, Some(json)).await;
            if !matches!(&result, Err(error) if error.retryable && !error.maybe_sent) {
                return result;
            }
            let Next::After(pause) = pauses.next(None, Instant::now(), deadline) else { return result };
            self.pause(pause).await;
        }
    }

    async fn ask(&self, method: Method, url: &Url, json: Option<&[u8]>) -> Result<Answer, TransportError> {
        tracing::debug!(%method, url = redact_url(url), "asking");
        let headers = self.headers.clone();
        let result = self.client.send(Request { method, url: url.clone(), headers, json }).await;
        if let Ok(answer) = &result {
            tracing::debug!(status = answer.status, bytes = answer.body.len(), "answered");
        }
        result
    }

    async fn pause(&self, pause: Duration) {
        tracing::debug!(pause = crate::duration::show(pause), "trying again");
        tokio::time::sleep(pause).await;
    }
}

/// The failure of a request without an answer.
fn unanswered(error: TransportError) -> Failure {
    Failure::ours(Stage::Exchange, error.message)
}
