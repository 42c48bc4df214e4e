//! What a failed request means, in words for the person who reads them at night.

use std::error::Error as StdError;
use std::io;

use reqwest::Url;
use rustls::CertificateError;

use crate::secret::redact_url;

use super::{Client, LookupFailed, RefusedRedirect, Step};

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
        if let Some(tls) = tls_cause(error) {
            return fatal(format!("{}{via}", explain_tls(tls, url, client)));
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
                        "the TLS handshake with {at}{via} failed: {what}; is it an https port?"
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

fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).filter_map(|error| error.downcast_ref::<T>()).last()
}

fn tls_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    cause::<rustls::Error>(error)
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// The system's words, without Rust's "(os error N)".
fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

fn explain_tls(error: &rustls::Error, url: &Url, client: Option<&Client>) -> String {
    let at = origin(url);
    let host = url.host_str().unwrap_or_default();
    let issuer = client
        .and_then(|client| client.verifier().seen())
        .and_then(|seen| common_name(&seen.certificate))
        .map(|name| format!(" (issuer {name:?})"))
        .unwrap_or_default();
    let rustls::Error::InvalidCertificate(why) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => {
                format!("{at} does not speak TLS on this port; is it an http URL?")
            }
            rustls::Error::AlertReceived(alert) => {
                format!("{at} refused the TLS handshake: {alert:?}")
            }
            rustls::Error::PeerIncompatible(why) => {
                format!("{at} and this program have no TLS version or cipher in common: {why:?}")
            }
            other => format!("the TLS handshake with {at} failed: {other}"),
        };
    };
    match why {
        CertificateError::UnknownIssuer => {
            let roots = client.map(|client| client.verifier().places().describe()).unwrap_or_default();
            format!(
                "the certificate of {at}{issuer} is not trusted: its issuer is not in {roots}; name its CA with -ca-file or SSL_CERT_FILE"
            )
        }
        CertificateError::Expired => {
            format!("the certificate of {at}{issuer} has expired, or the local clock is ahead")
        }
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the certificate of {at}{issuer} has expired on {}, or the local clock is ahead",
            date(not_after.as_secs())
        ),
        CertificateError::NotValidYet => {
            format!("the certificate of {at}{issuer} is not valid yet, or the local clock is behind")
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate of {at}{issuer} is not valid before {}, or the local clock is behind",
            date(not_before.as_secs())
        ),
        CertificateError::NotValidForName => {
            format!("the certificate of {at}{issuer} is not for the name {host}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the certificate of {at}{issuer} is not for the name {host}, but for {}",
            names(presented)
        ),
        CertificateError::Revoked => format!("the certificate of {at}{issuer} is revoked"),
        CertificateError::BadSignature => {
            format!("the certificate of {at}{issuer} is not signed by the CA of that name")
        }
        // webpki's word for it; Go and OpenSSL let it pass.
        CertificateError::Other(why) if why.to_string().contains("CaUsedAsEndEntity") => format!(
            "the certificate of {at}{issuer} is that of a CA, which is none for a server; make one without CA:TRUE (openssl req -addext basicConstraints=CA:FALSE)"
        ),
        other => format!("the certificate of {at}{issuer} cannot be used: {other}"),
    }
}

/// The names in a certificate, which come as `DnsName("a.example")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        inner.trim_matches('"').to_owned()
    };
    if presented.is_empty() {
        return "none".to_owned();
    }
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn date(unix_seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_seconds))
}

/// The issuer's common name (or organisation) in a DER certificate. Only for messages: it looks for the
/// first attribute of that type, and the issuer stands before the subject (RFC 5280, 4.1).
fn common_name(certificate: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    const ORGANIZATION: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0a];
    let cert = rustls::pki_types::CertificateDer::from(certificate);
    let issuer = webpki::EndEntityCert::try_from(&cert).ok()?.issuer().to_vec();
    [COMMON_NAME, ORGANIZATION].iter().find_map(|oid| {
        let at = issuer.windows(oid.len()).position(|window| window == oid)? + oid.len();
        let length = usize::from(*issuer.get(at + 1)?);
        let text = issuer.get(at + 2..at + 2 + length)?;
        Some(String::from_utf8_lossy(text).into_owned())
    })
}
