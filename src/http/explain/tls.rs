//! What a failed TLS handshake means.

use reqwest::Url;
use rustls::CertificateError;

use super::super::{Client, certificate};
use super::origin;

/// What a failed handshake with `url` means.
pub fn explain(error: &rustls::Error, url: &Url, client: Option<&Client>) -> String {
    let at = origin(url);
    let host = url.host_str().unwrap_or_default();
    let issuer = client
        .and_then(|client| client.verifier().seen())
        .and_then(|seen| certificate::read(&seen.certificate)?.issuer_name)
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
