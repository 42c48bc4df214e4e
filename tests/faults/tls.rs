//! TLS: handshakes, certificates, roots.

use std::io::{Read as _, Write as _};

use super::servers::{closed_port, does, reset};
use super::{Lab, Row, Server};
use crate::support::http;
use crate::support::tls::{Authority, Identity, server_params};

/// Responds to the first bytes with this alert (RFC 8446, 6.2).
fn alert(code: u8) -> Server {
    does(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, code]);
    })
}

/// Handshakes that fail.
#[rustfmt::skip]
pub fn handshakes(_: &Lab) -> Vec<Row> {
    // A ServerHello (RFC 4346, 7.4.1.3), with TLS_RSA_WITH_AES_128_CBC_SHA.
    let old_hello = [&[0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    vec![
        ("https to an http port", does(|mut stream| { let _ = stream.read(&mut [0; 1024]); let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"); }), &["LOCATE_URL=https://{host}/"], 125, &["does not speak TLS on this port", "use http://, or correct the port"]),
        ("closed in the TLS handshake", does(|mut stream| { let _ = stream.read(&mut [0; 4096]); }), &["LOCATE_URL=https://{host}/"], 125, &["the TLS handshake with https://127.0.0.1:", "failed"]),
        ("reset in the TLS handshake", does(|mut stream| { let _ = stream.read(&mut [0; 4096]); reset(&stream); }), &["LOCATE_URL=https://{host}/"], 125, &["the TLS handshake with https://127.0.0.1:", "reset"]),
        ("TLS 1.1", does(move |mut stream| { let _ = stream.read(&mut [0; 4096]); let _ = stream.write_all(&old_hello); }), &["LOCATE_URL=https://{host}/"], 125, &["and monitoring-token have no TLS version (TLS 1.2 and 1.3 are supported) in common"]),
        ("nothing in common", alert(40), &["LOCATE_URL=https://{host}/"], 125, &["refused the TLS handshake: handshake_failure (no cipher suite", "a certificate with a P-521 key"]),
        ("an unknown host name", alert(112), &["LOCATE_URL=https://{host}/"], 125, &["refused the TLS handshake: unrecognized_name (it does not know the host name)"]),
        ("a client certificate", alert(116), &["LOCATE_URL=https://{host}/"], 125, &["refused the TLS handshake: certificate_required (it asks for a client certificate"]),
        ("only old versions of TLS", alert(70), &["LOCATE_URL=https://{host}/"], 125, &["refused the TLS handshake: protocol_version (it supports neither TLS 1.2"]),
        ("an alert that nobody knows", alert(200), &["LOCATE_URL=https://{host}/"], 125, &["refused the TLS handshake: alert 200"]),
    ]
}

/// Invalid certificates.
#[rustfmt::skip]
pub fn certificates(lab: &Lab) -> Vec<Row> {
    let good = http("200 OK", "", r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#).into_bytes();
    let local = || server_params(&["localhost", "127.0.0.1"]);
    let with = |change: fn(&mut rcgen::CertificateParams)| { let mut params = local(); change(&mut params); params };
    let tls = |host, identity| Server::Tls(host, Box::new(identity), good.clone());
    let issue = |params: &rcgen::CertificateParams| lab.authority.issue(params);
    let self_signed = Identity::self_signed(&local());
    lab.make_fifo("fifo");
    lab.write("huge.pem", "");
    std::fs::OpenOptions::new().write(true).open(lab.path("huge.pem")).unwrap().set_len(1 << 40).unwrap();
    std::fs::create_dir(lab.path("odd")).unwrap();
    lab.make_fifo("odd/fifo");
    for (name, target) in [("zero", "/dev/zero"), ("tty", "/dev/tty"), ("huge", "../huge.pem"), ("pipe", "../fifo"), ("self", "self")] {
        std::os::unix::fs::symlink(target, lab.path("odd").join(name)).unwrap();
    }
    let impostor = Authority::new("Authority of the tests").issue(&local());
    vec![
        ("unknown CA", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE=/proc/nonexistent/ca.pem"], 125, &["certificate of https://127.0.0.1:", "is not trusted: certificate signed by unknown authority \"Authority of the tests\"", "/proc/nonexistent/ca.pem (which cannot be read)", "-ca-file"]),
        ("a pipe into which nobody writes the CA", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE={dir}/fifo", "-timeout=15s"], 125, &["unknown authority \"Authority of the tests\", not found in /", "fifo"]),
        ("unknown to -ca-file and to the system", tls("127.0.0.1", Identity::self_signed(&local())), &["-ca-file={ca}"], 125, &["is not trusted: it is self-signed, not found in", "ca.pem"]),
        ("self-signed", tls("127.0.0.1", self_signed), &[], 125, &["is not trusted: it is self-signed"]),
        ("a CA certificate as openssl req -x509 makes it", tls("127.0.0.1", issue(&with(|p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)))), &["-ca-file={ca}"], 125, &["is a CA certificate", "CA:FALSE"]),
        ("another CA of the same name", tls("127.0.0.1", impostor), &["-ca-file={ca}"], 125, &["certificate of https://127.0.0.1:", "the CA \"Authority of the tests\", in ", "has the same name but another key; trust the right one"]),
        ("for another host", tls("localhost", issue(&server_params(&["other.example", "third.example"]))), &["-ca-file={ca}"], 125, &["is not valid for localhost, only for other.example, third.example"]),
        ("for another address", tls("127.0.0.1", issue(&server_params(&["127.0.0.2"]))), &["-ca-file={ca}"], 125, &["is not valid for 127.0.0.1, only for 127.0.0.2"]),
        ("for nobody", tls("localhost", issue(&server_params(&[]))), &["-ca-file={ca}"], 125, &["has no subject alternative name"]),
        ("expired", tls("127.0.0.1", issue(&with(|p| p.not_after = rcgen::date_time_ymd(2021, 2, 3)))), &["-ca-file={ca}"], 125, &["expired on Wed, 03 Feb 2021", "or the local clock is ahead"]),
        ("not yet valid", tls("127.0.0.1", issue(&with(|p| p.not_before = rcgen::date_time_ymd(2100, 1, 1)))), &["-ca-file={ca}"], 125, &["not valid before Fri, 01 Jan 2100", "or the local clock is behind"]),
        ("for clients", tls("127.0.0.1", issue(&with(|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]))), &["-ca-file={ca}"], 125, &["certificate of https://127.0.0.1:", "may not be used for servers"]),
        ("a key that is another one's", tls("127.0.0.1", Identity::new(issue(&local()).certificate, Vec::new(), issue(&local()).key)), &["-ca-file={ca}"], 125, &["could not prove that it holds the private key"]),
        ("endless roots", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE=/dev/zero"], 125, &["not found in /dev/zero (which is not a file)"]),
        ("a huge file of roots", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE={dir}/huge.pem"], 125, &["huge.pem (which is larger than 16 MiB)"]),
        ("a folder for a file of roots", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE={dir}"], 125, &["(which is not a file)"]),
        ("roots among pipes, devices and huge files", tls("127.0.0.1", issue(&local())), &["SSL_CERT_FILE=/proc/nonexistent", "SSL_CERT_DIR={dir}/odd", "-timeout=15s"], 125, &["unknown authority", "/odd"]),
        ("http to an https port", tls("127.0.0.1", issue(&local())), &["LOCATE_URL=http://{host}/"], 125, &["http://127.0.0.1:"]),
    ]
}

/// Unusable files of roots.
#[rustfmt::skip]
pub fn roots(lab: &Lab) -> Vec<Row> {
    lab.write("empty.pem", "");
    lab.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    lab.make_fifo("ca-fifo");
    vec![
        ("no such CA file", closed_port(), &["-ca-file=/proc/nonexistent/ca.pem"], 125, &["the CA file /proc/nonexistent/ca.pem cannot be read: No such file"]),
        ("a folder for a CA file", closed_port(), &["-ca-file={dir}"], 125, &["the CA file /", "Is a directory"]),
        ("an empty CA file", closed_port(), &["-ca-file={dir}/empty.pem"], 125, &["holds no PEM certificates"]),
        ("a broken certificate", closed_port(), &["-ca-file={dir}/broken.pem"], 125, &["cannot be parsed (number 1)"]),
        ("an endless CA file", closed_port(), &["-ca-file=/dev/zero"], 125, &["the CA file /dev/zero is larger than 16 MiB"]),
        ("the CA file by variable", closed_port(), &["MONITORING_TOKEN_CA_FILE=/proc/nonexistent/ca.pem"], 125, &["/proc/nonexistent/ca.pem cannot be read"]),
        ("a CA file into which nobody writes", closed_port(), &["-ca-file={dir}/ca-fifo", "-timeout=500ms"], 124, &["timed out after ", "while reading the CA file /", "check the process that writes to it"]),
    ]
}
