//! The trust in servers: each chain of [`chains`] is served on loopback. A server that is not trusted must never
//! receive the token, and the message says what is wrong with its certificate.

mod altered;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use crate::support::chains::{self, Case};
use crate::support::job::Folder;
use crate::support::tls::Identity;
use crate::support::{MACHINE, http, messages, read_head_of, start, testdata, token, wait_for};

const ANSWER: &str = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#;

/// A Locate with this certificate; returns its port, and the headers of the requests that reach it.
fn serve(server: &Identity, host: &str) -> (u16, Receiver<String>) {
    let (seen, requests) = channel();
    let host = if host == "[::1]" { "::1" } else { "127.0.0.1" };
    let address = server.serve_at(host, move |mut stream| {
        let head = read_head_of(&mut stream);
        if !head.is_empty() {
            let _ = seen.send(head);
        }
        let _ = stream.write_all(http("200 OK", "", ANSWER).as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    (address.port(), requests)
}

/// A run that asks the Locate at this port and trusts nothing from this machine.
fn ask(host: &str, port: u16) -> Command {
    let mut command = token();
    command
        .args(["-service=ndt/ndt7", "-retries=0", "-timeout=25s"])
        .env("LOCATE_URL", format!("https://{host}:{port}/"))
        .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
        .env("MACHINE", MACHINE)
        .env("SSL_CERT_FILE", "/proc/nonexistent")
        .env("SSL_CERT_DIR", "/proc/nonexistent");
    command
}

/// The places of a trust store.
#[derive(Clone, Copy, Debug)]
enum Store {
    Variable,
    Directory,
    Flag,
}

impl Store {
    const ALL: [Store; 3] = [Store::Variable, Store::Directory, Store::Flag];

    /// Puts the roots of a case there. An empty `-ca-file` would be an error of its own.
    fn give(self, command: &mut Command, case: &Case, folder: &Path) {
        let dir = folder.join("certs");
        std::fs::create_dir_all(&dir).unwrap();
        for (number, root) in case.roots.iter().enumerate() {
            std::fs::write(dir.join(format!("{number}.pem")), crate::support::tls::pem_of(root)).unwrap();
        }
        let file = folder.join("bundle.pem");
        std::fs::write(&file, case.roots_pem()).unwrap();
        match self {
            Store::Flag if !case.roots.is_empty() => {
                command.arg(format!("-ca-file={}", file.display()));
            }
            Store::Directory => {
                command.env("SSL_CERT_DIR", dir);
            }
            _ => {
                command.env("SSL_CERT_FILE", file);
            }
        }
    }
}

/// Tries a case with its roots in each of the places; returns what went wrong.
fn try_case(case: &Case, stores: &[Store]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (port, requests) = serve(&case.server, case.host);
    for store in stores {
        let folder = Folder::new();
        let ran = folder.path("ran");
        let mut command = ask(case.host, port);
        store.give(&mut command, case, folder.root());
        let ended = wait_for(start(command.arg("--").arg("touch").arg(&ran)));
        let asked = requests.try_recv().is_ok();
        let mut found = |what: String| {
            wrong.push(format!("{}, {store:?}: {what}: {}", case.name, ended.stderr.trim_end()));
        };
        let Some(words) = case.refused else {
            if (ended.status, ended.stderr.as_str(), asked, ran.exists()) != (0, "", true, true) {
                found(format!("status {}, not trusted", ended.status));
            }
            continue;
        };
        if let Err(why) = messages::explain(ended.stderr.trim_end(), Some(125)) {
            found(why);
        }
        if ended.status != 125 || ended.stderr.lines().count() != 1 {
            found(format!("status {}", ended.status));
        }
        if asked || ran.exists() {
            found("the server was trusted".to_owned());
        }
        let sound = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        if ended.stderr.len() > 1500 || !ended.stderr.chars().all(sound) {
            found("not a readable line".to_owned());
        }
        let start = format!("monitoring-token: the certificate of https://{}:{port}", case.host);
        for word in words.iter().copied().chain([start.as_str()]) {
            if !ended.stderr.contains(word) {
                found(format!("no {word:?}"));
            }
        }
    }
    wrong
}

#[track_caller]
fn hold(cases: &[Case], stores: impl Fn(usize) -> Vec<Store>) {
    let wrong: Vec<String> =
        cases.iter().enumerate().flat_map(|(at, case)| try_case(case, &stores(at))).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The stores in turn, because the checks do not depend on the store.
fn one(at: usize) -> Vec<Store> {
    vec![Store::ALL[at % Store::ALL.len()]]
}

/// Any certificate in the trust store, such as Debian's ssl-cert-snakeoil.pem in /etc/ssl/certs, was once accepted as a
/// CA for every name.
#[test]
fn a_trust_anchor_must_be_a_valid_ca_wherever_it_lies() {
    hold(&chains::anchors(), |_| Store::ALL.to_vec());
}

#[test]
fn path_length_and_name_constraints_of_a_trust_anchor_are_honored() {
    hold(&chains::constraints(), one);
}

/// The AddTrust root expired on May 30, 2020, while its renewed name was in every trust store; clients that tried
/// only the first path failed.
#[test]
fn every_candidate_of_a_name_is_tried() {
    hold(&chains::same_names(), one);
}

#[test]
fn an_intermediate_must_be_a_valid_ca() {
    hold(&chains::intermediates(), one);
}

#[test]
fn a_pinned_certificate_counts_for_itself_only() {
    hold(&chains::pinned(), |_| Store::ALL.to_vec());
}

/// mqttui#142, rustls#1091: "its issuer is not in FILE" of a version 1 certificate. openssl#31377: "not for the name
/// 127.0.0.1, but for 127.0.0.1".
#[test]
fn a_server_certificate_that_cannot_be_used_is_described_truly() {
    hold(&chains::leaves(), one);
    hold(&chains::names(), one);
}

/// webpki#62: "not signed by the CA of that name" of an RSA key of 1024 bits. turborepo#13036, rustls#2536,
/// rustls#1367: debug text of DER bytes about P-521 keys and SHA-512.
#[test]
fn keys_and_signatures_that_are_not_supported_are_named() {
    hold(&chains::algorithms(), one);
}
