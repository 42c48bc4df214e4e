//! Locate's response: no bytes cause a panic, a message of several lines, or an invalid URL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_token::failure::printable;
use monitoring_token::http::{Answer, Client, LoadedHttp, Redirects};
use monitoring_token::issuer::locate::{Endpoint, Exchange, Locate, LocateConfig};
use monitoring_token::key::{KeySource, PrivateKey};
use monitoring_token::secret::{ExposeSecret as _, SecretString};

/// The longest acceptable message.
const LONGEST_MESSAGE: usize = 8 * 1024;

thread_local! {
    static LOCATE: (LocateConfig, PrivateKey, Client) = locate();
}

fn locate() -> (LocateConfig, PrivateKey, Client) {
    let jwk = include_bytes!("../../testdata/keys/eddsa.json");
    let key = PrivateKey::from_jwk(jwk).expect("a sound key");
    let locate = LocateConfig {
        endpoint: Endpoint::new("https://locate.example/v2/platform/monitoring/", "ndt/ndt7").expect("a URL"),
        key: KeySource::Inline(SecretString::from("{}")),
        machine: "m".to_owned(),
        env_name: "MONITORING_URL".into(),
        exchange: Exchange::Both,
        url_key: None,
        drop_service_url: false,
    };
    let client = Client::new(&LoadedHttp::default(), &locate.endpoint.url, Redirects::No).expect("a client");
    (locate, key, client)
}

fuzz_target!(|input: (u16, i16, &[u8])| {
    let (status, offset, body) = input;
    let answer = Answer {
        status: 100 + status % 500,
        headers: reqwest::header::HeaderMap::new(),
        body: body.to_vec(),
        clock_offset_seconds: Some(i64::from(offset)),
    };
    let taken = LOCATE.with(|(locate, key, client)| {
        Locate { config: locate, client, key }.read(&answer).and_then(|offer| locate.choose(offer))
    });
    match taken {
        Ok(granted) => {
            let url = granted.url.expose_secret();
            assert!(!url.is_empty() && !granted.hostname.is_empty());
            assert!(!url.chars().any(char::is_control));
            assert!((200..300).contains(&answer.status));
        }
        Err(failure) => {
            assert_eq!(failure.status.code(), 125);
            assert!(failure.message.len() < LONGEST_MESSAGE, "{} bytes", failure.message.len());
            // Text from the response was already made visible.
            assert_eq!(printable(&failure.message), failure.message);
        }
    }
});
