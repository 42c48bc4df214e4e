//! Servers for the benchmarks.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::support::http;
use crate::support::tls::{Authority, server_params};

/// A Locate behind TLS, trusted through a bundle of `roots` and one more; returns the environment of a run. Its
/// response has `padding` additional bytes.
pub fn https(folder: &Path, roots: &str, padding: usize) -> Vec<(String, String)> {
    https_with(folder, roots, padding, Duration::ZERO)
}

/// As [`https`], with a response after `delay`.
#[allow(dead_code, reason = "not every benchmark waits")]
pub fn https_after(folder: &Path, delay: Duration) -> Vec<(String, String)> {
    https_with(folder, "", 1, delay)
}

fn https_with(folder: &Path, roots: &str, padding: usize, delay: Duration) -> Vec<(String, String)> {
    let authority = Authority::new("bench CA");
    let address = authority.issue(&server_params(&["127.0.0.1"])).serve(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        std::thread::sleep(delay);
        let urls = r#"{"wss:///ndt/v7/download":"wss://127.0.0.1/ndt/v7/download?access_token=x"}"#;
        let body = format!(r#"{{"padding":"{}","target":{{"urls":{urls}}}}}"#, "x".repeat(padding));
        let _ = stream.write_all(http("200 OK", "", &body).as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let bundle = folder.join(format!("roots-{padding}.pem"));
    std::fs::write(&bundle, roots.to_owned() + &authority.pem()).expect("the bundle can be written");
    vec![
        ("LOCATE_URL".to_owned(), format!("https://{address}/")),
        ("SSL_CERT_FILE".to_owned(), bundle.display().to_string()),
        (
            "MONITORING_SIGNER_KEY".to_owned(),
            crate::support::testdata("keys/eddsa.json").display().to_string(),
        ),
        ("MACHINE".to_owned(), crate::support::MACHINE.to_owned()),
    ]
}
