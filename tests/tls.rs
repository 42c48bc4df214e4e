//! TLS connections: through a proxy with TLS, to their end, and with roots from a pipe. `certificates` tests which
//! servers are trusted.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::date_time_ymd;
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;

use crate::support::job::Folder;
use crate::support::tls::{Authority, Identity, server_params};
use crate::support::{MACHINE, finish, http, kill, read_head_of, run, serve, start, testdata, token};

const TARGET: &str = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#;

fn command(ca: &std::path::Path) -> Command {
    let mut command = token();
    command
        .args(["-service=ndt/ndt7", "-retries=0", "-timeout=25s"])
        .arg(format!("-ca-file={}", ca.display()))
        .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
        .env("MACHINE", MACHINE);
    command
}

/// An authority, and a file with its certificate.
fn authority(folder: &Folder) -> (Authority, std::path::PathBuf) {
    let authority = Authority::new("CA of these tests");
    let file = folder.path("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    (authority, file)
}

/// Responds to a request with these bytes, and closes the connection without TLS's close_notify.
fn closes_silently(identity: &Identity, answer: String) -> SocketAddr {
    identity.serve(move |mut stream| {
        read_head_of(&mut stream);
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// reqwest#2802: a response that ends with the connection was an error if the server did not send TLS's close_notify,
/// as many do not. Go accepts it. A response with a length must have that length.
#[test]
fn the_end_of_a_connection_without_close_notify_ends_an_answer_of_unknown_length() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let identity = authority.issue(&server_params(&["127.0.0.1"]));
    let ask = |answer: String| {
        let origin = format!("https://{}/", closes_silently(&identity, answer));
        run(command(&ca).env("LOCATE_URL", origin).args(["--", "true"]))
    };
    let length = TARGET.len();
    ask(format!("HTTP/1.1 200 OK\r\n\r\n{TARGET}")).succeeded();
    ask(format!("HTTP/1.0 200 OK\r\n\r\n{TARGET}")).succeeded();
    ask(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n{TARGET}"))
        .succeeded();
    ask(http("200 OK", "", TARGET)).succeeded();
    ask(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{TARGET}\r\n0\r\n\r\n"))
        .succeeded();
    ask("HTTP/1.1 401 Unauthorized\r\n\r\n".to_owned()).failed_with(125, &["HTTP 401"]);
    // A response that an attacker has cut off is not used.
    ask(format!("HTTP/1.1 200 OK\r\n\r\n{}", &TARGET[..length - 1])).failed_with(125, &["HTTP 200"]);
    ask("HTTP/1.1 200 OK\r\n\r\n".to_owned()).failed_with(125, &["HTTP 200"]);
    ask(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TARGET}", length + 1))
        .failed_with(125, &["in the middle of"]);
    ask(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{TARGET}\r\n"))
        .failed_with(125, &["in the middle of"]);
    ask("HTTP/1.1 200 OK\r\nDate: ".to_owned()).failed_with(125, &["before it responded"]);
}

/// A proxy with TLS, and a server with TLS behind it. Returns the headers of the requests that reach the proxy, and of
/// those that reach the server.
fn https_proxy(proxy: &Identity, server: &Identity) -> (SocketAddr, Receiver<String>, Receiver<String>) {
    let config = server.config();
    let ((connects, to_proxy), (requests, to_server)) = (channel(), channel());
    let address = proxy.serve(move |mut stream| {
        let head = read_head_of(&mut stream);
        if head.is_empty() {
            return;
        }
        let is_tunnel = head.starts_with("CONNECT ");
        connects.send(head).unwrap();
        if !is_tunnel {
            answer(&mut stream);
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let _ = stream.flush();
        let inner = ServerConnection::new(Arc::clone(&config)).expect("a sound configuration");
        let mut inner = StreamOwned::new(inner, stream);
        let head = read_head_of(&mut inner);
        if !head.is_empty() {
            requests.send(head).unwrap();
            answer(&mut inner);
        }
    });
    (address, to_proxy, to_server)
}

fn answer(stream: &mut (impl Read + Write)) {
    let _ = stream.write_all(http("200 OK", "", TARGET).as_bytes());
    let _ = stream.flush();
}

/// urllib3#422, proxy-agents#131: the message about a proxy's invalid certificate blamed the server behind it.
#[test]
fn a_message_about_the_certificate_of_a_proxy_names_the_proxy() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let issue = |names: &[&str]| authority.issue(&server_params(names));
    let (proxy, server) = (issue(&["localhost"]), issue(&["locate.test"]));
    let mut expired = server_params(&["localhost"]);
    expired.not_after = date_time_ymd(2021, 2, 3);
    let stranger = || Authority::new("a stranger");
    let ask = |proxy: &Identity, server: &Identity, url: &str| {
        let (address, to_proxy, to_server) = https_proxy(proxy, server);
        let proxy = format!("https://localhost:{}", address.port());
        let mut command = command(&ca);
        command.env("LOCATE_URL", url).env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy);
        let ended = run(command.args(["--", "true"]));
        (ended, proxy, to_proxy, to_server)
    };
    let (ended, _, to_proxy, to_server) = ask(&proxy, &server, "https://locate.test/");
    ended.succeeded();
    assert!(to_proxy.try_recv().unwrap().starts_with("CONNECT locate.test:443 "));
    assert!(to_server.try_recv().unwrap().starts_with("GET /ndt/ndt7?access_token="));

    let bad = [
        (
            stranger().issue(&server_params(&["localhost"])),
            "certificate signed by unknown authority \"a stranger\"",
        ),
        (authority.issue(&expired), "(issuer \"CA of these tests\") expired on Wed, 03 Feb 2021"),
        (issue(&["other.test"]), "is not valid for localhost, only for other.test"),
        (issue(&["::1"]), "is not valid for localhost, only for ::1"),
    ];
    for (bad, words) in &bad {
        for url in ["https://locate.test/", "http://locate.test/"] {
            let (ended, proxy, to_proxy, to_server) = ask(bad, &server, url);
            let named = format!("monitoring-token: the certificate of the proxy {proxy} ");
            ended.failed_with(125, &[&named, words]);
            let certificate = ended.stderr.split(" through ").next().unwrap_or_default();
            assert!(!certificate.contains("locate.test is"), "{ended:?}");
            assert_eq!((to_proxy.try_recv().ok(), to_server.try_recv().ok()), (None, None));
        }
        // The proxy is sound, and the server behind it is not.
        let (ended, proxy, _, to_server) = ask(&proxy, bad, "https://locate.test/");
        let named =
            format!("monitoring-token: the certificate of https://locate.test through the proxy {proxy}");
        ended.failed_with(125, &[&named]);
        assert_eq!(to_server.try_recv().ok(), None);
    }
}

#[test]
fn a_proxy_that_fails_in_its_handshake_is_named() {
    let folder = Folder::new();
    let (_, ca) = authority(&folder);
    let no_tls = serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let refuses = serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]);
    });
    let hangs_up = serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    for (address, words) in [
        (no_tls, "does not speak TLS on this port"),
        (refuses, "refused the TLS handshake: handshake_failure"),
        (hangs_up, "failed"),
    ] {
        let proxy = format!("https://localhost:{}", address.port());
        let mut command = command(&ca);
        command.env("LOCATE_URL", "https://locate.test/").env("HTTPS_PROXY", &proxy);
        let ended = run(command.args(["--", "true"]));
        ended.failed_with(125, &[&format!("the proxy {proxy} "), words]);
    }
}

/// Its TLS was blamed.
#[test]
fn a_proxy_that_does_not_open_the_tunnel_is_not_blamed_for_its_tls() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let identity = authority.issue(&server_params(&["localhost"]));
    let address = identity.serve(|mut stream| {
        read_head_of(&mut stream);
        let _ = stream.read(&mut [0; 1024]);
    });
    let mut command = command(&ca);
    command.env("LOCATE_URL", "https://locate.test/");
    command.env("HTTPS_PROXY", format!("https://localhost:{}", address.port()));
    let ended = run(command.args(["-timeout=2s", "--", "true"]));
    ended.failed_with(124, &["while connecting to https://locate.test through the proxy https://localhost:"]);
}

/// The advice was to use http://, which would have sent the token in the clear.
#[test]
fn a_chain_that_is_too_long_is_not_called_another_protocol() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let mut identity = authority.issue(&server_params(&["127.0.0.1"]));
    identity.intermediates = vec![identity.certificate.clone(); 300];
    let address = identity.serve(|mut stream| drop(stream.read(&mut [0; 1024])));
    let ended = run(command(&ca).env("LOCATE_URL", format!("https://{address}/")).args(["--", "true"]));
    ended.failed_with(
        125,
        &[&format!(
            "the TLS handshake with https://{address} failed: it sent more than 64 KiB of certificates"
        )],
    );
}

#[test]
fn check_blames_the_proxy_for_its_certificate() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let proxy = Authority::new("a stranger").issue(&server_params(&["localhost"]));
    let server = authority.issue(&server_params(&["locate.test"]));
    for url in ["https://locate.test/", "http://locate.test/"] {
        let (address, ..) = https_proxy(&proxy, &server);
        let proxy = format!("https://localhost:{}", address.port());
        let mut command = token();
        command
            .args(["check", "--json", "-service=ndt/ndt7", "-retries=0", "-timeout=25s"])
            .arg(format!("-ca-file={}", ca.display()))
            .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
            .env("MACHINE", MACHINE)
            .env("LOCATE_URL", url)
            .env("HTTPS_PROXY", &proxy)
            .env("HTTP_PROXY", &proxy);
        let ended = run(&mut command);
        assert_eq!(ended.status, 125, "{ended:?}");
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let rows: Vec<(&str, &str)> = report["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["step"].as_str().unwrap(), row["outcome"].as_str().unwrap()))
            .collect();
        let outcome = |name| rows.iter().filter(|row| row.0 == name).map(|row| row.1).collect::<Vec<_>>();
        assert_eq!(outcome("proxy"), ["failed"], "{rows:?}");
        assert_eq!(outcome("tcp"), ["ok"], "{rows:?}");
        assert_eq!(outcome("tls"), ["skipped"], "{rows:?}");
    }
}

/// A pipe can be read only once, but each retry makes its own handshake.
#[test]
fn roots_that_come_through_a_pipe_last_for_all_retries() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let answers = Mutex::new(vec![http("200 OK", "", TARGET), http("503 Service Unavailable", "", "")]);
    let address = authority.issue(&server_params(&["127.0.0.1"])).serve(move |mut stream| {
        read_head_of(&mut stream);
        let _ = stream.write_all(answers.lock().unwrap().pop().unwrap().as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let line = format!(
        "SSL_CERT_FILE=<(head -c 100 {0}; sleep 0.1; tail -c +101 {0}) exec {1} -retries=1 -service=ndt/ndt7 -- true",
        ca.display(),
        env!("CARGO_BIN_EXE_monitoring-token"),
    );
    run(Command::new("bash")
        .args(["-c", &line])
        .env("LOCATE_URL", format!("https://{address}/"))
        .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
        .env("MACHINE", MACHINE))
    .succeeded();
}

#[test]
fn a_signal_ends_the_wait_for_roots_from_a_pipe() {
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The wait is one second long, and a busy machine may let it pass before the signal comes.
    for _ in 0..20 {
        let child = start(
            token()
                .args(["-service=ndt/ndt7", "-retries=0", "--", "true"])
                .env("LOCATE_URL", "https://127.0.0.1:9/")
                .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
                .env("SSL_CERT_FILE", &fifo),
        );
        std::thread::sleep(Duration::from_millis(300));
        kill(child.id(), libc::SIGTERM);
        let ended = finish(child);
        if ended.stderr.contains("while reading SSL_CERT_FILE") {
            ended.failed_with(128 + libc::SIGTERM, &["interrupted by SIGTERM while reading SSL_CERT_FILE /"]);
            return;
        }
    }
    panic!("the signal never came in time");
}

/// A server that asks for a client certificate and gets none, with this version of TLS, up to where it has read what the
/// client sends for it.
fn wants_a_client_certificate(
    authority: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
    end: impl Fn(&mut StreamOwned<ServerConnection, std::net::TcpStream>) + Send + 'static,
) -> SocketAddr {
    let identity = authority.issue(&server_params(&["127.0.0.1"]));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::pem::PemObject::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = rustls::pki_types::PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![identity.certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    serve(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        // The first flight of each side.
        let _ = stream.conn.read_tls(&mut stream.sock);
        let _ = stream.conn.process_new_packets();
        while stream.conn.wants_write() && stream.conn.write_tls(&mut stream.sock).is_ok() {}
        let _ = stream.sock.read(&mut [0; 4096]);
        end(&mut stream);
    })
}

/// OpenSSL refuses a client without a certificate by handshake_failure in TLS 1.2, which was explained by cipher suites.
/// Other servers hang up.
#[test]
fn a_server_that_wants_a_client_certificate_is_named_whatever_it_does_then() {
    let folder = Folder::new();
    let (authority, ca) = authority(&folder);
    let ask = |address: SocketAddr| {
        run(command(&ca).env("LOCATE_URL", format!("https://{address}/")).args(["--", "true"]))
    };
    for (alert, name) in [
        (40, "handshake_failure"),
        (42, "bad_certificate"),
        (43, "unsupported_certificate"),
        (46, "certificate_unknown"),
        (116, "certificate_required"),
    ] {
        let address = wants_a_client_certificate(&authority, &rustls::version::TLS12, move |stream| {
            let _ = stream.sock.write_all(&[0x15, 3, 3, 0, 2, 2, alert]);
        });
        ask(address).failed_with(125, &[name, "it asks for a client certificate, which is not supported"]);
    }
    let versions: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
    for version in versions {
        let address = wants_a_client_certificate(&authority, version, |stream| {
            let _ = stream.sock.shutdown(std::net::Shutdown::Both);
        });
        ask(address).failed_with(125, &["; it asks for a client certificate, which is not supported"]);
    }
}
