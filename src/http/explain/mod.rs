//! What a failed request means, in words for the person who reads them at night.

mod tls;

use std::error::Error as StdError;
use std::io;

use reqwest::Url;

use crate::secret::{redact_url, shown};

use super::redirect::RefusedRedirect;
use super::resolve::LookupFailed;
use super::{Client, Step};

/// How much of an error of the HTTP library is shown, which may quote a server.
const MAX_CAUSE_CHARS: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// One clause, such as `cannot connect to http://h:1: connection refused; is it running there?`
    pub message: String,
    /// Whether another try may help.
    pub retryable: bool,
    /// Whether the server may have got the request.
    pub maybe_sent: bool,
}

impl TransportError {
    /// Something is wrong on our side, before any connection.
    pub fn setup(message: String) -> TransportError {
        TransportError { message, retryable: false, maybe_sent: false }
    }

    /// The answer cannot be used.
    pub fn answer(url: &Url, message: &str) -> TransportError {
        TransportError { message: format!("{} {message}", origin(url)), retryable: false, maybe_sent: true }
    }

    /// Finds the cause in what the HTTP library says.
    pub fn explain(error: &reqwest::Error, url: &Url, client: Option<&Client>) -> TransportError {
        let at = origin(url);
        let proxy = client.and_then(|client| client.proxy.as_ref());
        let via = client.map(Client::via).unwrap_or_default();
        let maybe_sent = !error.is_connect();
        let fatal = |message: String| TransportError { message, retryable: false, maybe_sent };
        let passing = |message: String| TransportError { message, retryable: true, maybe_sent };
        if let Some(refused) = cause::<RefusedRedirect>(error) {
            return fatal(format!("{at} {refused}"));
        }
        if let Some(lookup) = cause::<LookupFailed>(error) {
            let is_proxy = proxy.and_then(Url::host_str) == Some(lookup.host.as_str());
            let whose = if is_proxy { "the proxy " } else { "" };
            return passing(format!(
                "cannot look up {whose}{}: {lookup}; check the host name and this machine's DNS",
                lookup.host
            ));
        }
        if let Some(failed) = cause::<rustls::Error>(error) {
            return fatal(tls::explain(failed, &tls_peer(url, client), client));
        }
        if let Some(io) = cause::<io::Error>(error) {
            let what = io_words(io);
            if error.is_connect() {
                let advice = match io.kind() {
                    io::ErrorKind::ConnectionRefused => "; is it running, and is the port right?",
                    io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                        "; check the network of this machine"
                    }
                    io::ErrorKind::TimedOut => "; is a firewall in between?",
                    _ => "",
                };
                if client.is_some_and(|client| client.step() == Step::Handshake) {
                    return passing(format!(
                        "the TLS handshake with {} failed: {what}; is it an https port?",
                        tls_peer(url, client)
                    ));
                }
                if let Some(proxy) = proxy {
                    return passing(format!(
                        "cannot connect to the proxy {} for {at}: {what}; check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
                        redact_url(proxy)
                    ));
                }
                return passing(format!("cannot connect to {at}: {what}{advice}"));
            }
            return passing(format!("the connection to {at}{via} broke {}: {what}", during(client)));
        }
        let text = innermost(error);
        if proxy.is_some() && error.is_connect() {
            let text = if text.contains("unsuccessful") { "it refused the tunnel (CONNECT)" } else { &text };
            return passing(format!(
                "cannot reach {at}{via}: {text}; check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
            ));
        }
        if text.contains("connection closed before message completed") || text.contains("end of file before")
        {
            return passing(format!("{at}{via} closed the connection {}", during(client)));
        }
        if error.is_connect() {
            return passing(format!("cannot connect to {at}{via}: {text}"));
        }
        fatal(format!("{at}{via} did not answer in HTTP: {text}; are scheme and port of the URL right?"))
    }
}

/// The peer of the last TLS handshake, which an https proxy makes first.
fn tls_peer(url: &Url, client: Option<&Client>) -> String {
    let proxy = client.filter(|client| client.is_handshake_with_proxy()).and_then(|it| it.proxy.as_ref());
    match proxy {
        Some(proxy) => format!("the proxy {}", origin(proxy)),
        None => format!("{}{}", origin(url), client.map(Client::via).unwrap_or_default()),
    }
}

fn during(client: Option<&Client>) -> &'static str {
    match client.map(Client::step) {
        Some(Step::Body) => "in the middle of its answer",
        _ => "before it answered",
    }
}

/// Scheme, host and port of `url`.
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error that carries another error has that one's source for its own.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

pub(super) fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).filter_map(|error| error.downcast_ref::<T>()).last()
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(|last| shown(&last.to_string(), MAX_CAUSE_CHARS)).unwrap_or_default()
}

/// The system's words, without Rust's "(os error N)".
fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        // rustls adds the address of its manual.
        None => text.split(": https://").next().unwrap_or_default().to_owned(),
    }
}
