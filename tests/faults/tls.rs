//! TLS: handshakes, certificates, roots.

use std::io::{Read as _, Write as _};

use super::servers::{closed_port, does, reset};
use super::{Fault, Lab, Server, fault};
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
pub fn handshakes(_: &Lab) -> Vec<Fault> {
    // A ServerHello (RFC 4346, 7.4.1.3), with TLS_RSA_WITH_AES_128_CBC_SHA.
    let old_hello = [&[0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    vec![
        fault(
            "https to an http port",
            does(|mut stream| {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }),
            &["does not speak TLS on this port", "use http://, or correct the port"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "closed in the TLS handshake",
            does(|mut stream| {
                let _ = stream.read(&mut [0; 4096]);
            }),
            &["the TLS handshake with https://127.0.0.1:", "failed"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "reset in the TLS handshake",
            does(|mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                reset(&stream);
            }),
            &["the TLS handshake with https://127.0.0.1:", "reset"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "TLS 1.1",
            does(move |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&old_hello);
            }),
            &["and monitoring-token have no TLS version (TLS 1.2 and 1.3 are supported) in common"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "nothing in common",
            alert(40),
            &[
                "refused the TLS handshake: handshake_failure (no cipher suite",
                "does not support CBC ciphers, the key exchanges P-521 and X25519MLKEM768, or a certificate with a P-521 key",
            ],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "an unknown host name",
            alert(112),
            &["refused the TLS handshake: unrecognized_name (it does not know the host name)"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "a client certificate",
            alert(116),
            &["refused the TLS handshake: certificate_required (it asks for a client certificate"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault(
            "only old versions of TLS",
            alert(70),
            &["refused the TLS handshake: protocol_version (it supports neither TLS 1.2"],
        )
        .with(&["LOCATE_URL=https://{host}/"]),
        fault("an alert that nobody knows", alert(200), &["refused the TLS handshake: alert 200"])
            .with(&["LOCATE_URL=https://{host}/"]),
    ]
}

/// Invalid certificates.
pub fn certificates(lab: &Lab) -> Vec<Fault> {
    let good =
        http("200 OK", "", r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#).into_bytes();
    let local = || server_params(&["localhost", "127.0.0.1"]);
    let with = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = local();
        change(&mut params);
        params
    };
    let tls = |host, identity| Server::Tls(host, Box::new(identity), good.clone());
    let issue = |params: &rcgen::CertificateParams| lab.authority.issue(params);
    let self_signed = Identity::self_signed(&local());
    lab.make_fifo("fifo");
    lab.write("huge.pem", "");
    std::fs::OpenOptions::new().write(true).open(lab.path("huge.pem")).unwrap().set_len(1 << 40).unwrap();
    std::fs::create_dir(lab.path("odd")).unwrap();
    lab.make_fifo("odd/fifo");
    for (name, target) in [
        ("zero", "/dev/zero"),
        ("tty", "/dev/tty"),
        ("huge", "../huge.pem"),
        ("pipe", "../fifo"),
        ("self", "self"),
    ] {
        std::os::unix::fs::symlink(target, lab.path("odd").join(name)).unwrap();
    }
    let impostor = Authority::new("Authority of the tests").issue(&local());
    vec![
        fault(
            "unknown CA",
            tls("127.0.0.1", issue(&local())),
            &[
                "certificate of https://127.0.0.1:",
                "is not trusted: certificate signed by unknown authority \"Authority of the tests\"",
                "/proc/nonexistent/ca.pem (which cannot be read)",
                "-ca-file",
            ],
        )
        .with(&["SSL_CERT_FILE=/proc/nonexistent/ca.pem"]),
        fault(
            "a pipe into which nobody writes the CA",
            tls("127.0.0.1", issue(&local())),
            &["unknown authority \"Authority of the tests\", not found in /", "fifo"],
        )
        .with(&["SSL_CERT_FILE={dir}/fifo", "-timeout=15s"]),
        fault(
            "unknown to -ca-file and to the system",
            tls("127.0.0.1", Identity::self_signed(&local())),
            &["is not trusted: it is self-signed, not found in", "ca.pem"],
        )
        .with(&["-ca-file={ca}"]),
        fault("self-signed", tls("127.0.0.1", self_signed), &["is not trusted: it is self-signed"]),
        fault(
            "a CA certificate as openssl req -x509 makes it",
            tls(
                "127.0.0.1",
                issue(&with(|p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained))),
            ),
            &["is a CA certificate", "CA:FALSE"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "another CA of the same name",
            tls("127.0.0.1", impostor),
            &[
                "certificate of https://127.0.0.1:",
                "the CA \"Authority of the tests\", in ",
                "has the same name but another key; trust the right one",
            ],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "for another host",
            tls("localhost", issue(&server_params(&["other.example", "third.example"]))),
            &["is not valid for localhost, only for other.example, third.example"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "for another address",
            tls("127.0.0.1", issue(&server_params(&["127.0.0.2"]))),
            &["is not valid for 127.0.0.1, only for 127.0.0.2"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "for nobody",
            tls("localhost", issue(&server_params(&[]))),
            &["has no subject alternative name"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "expired",
            tls("127.0.0.1", issue(&with(|p| p.not_after = rcgen::date_time_ymd(2021, 2, 3)))),
            &["expired on Wed, 03 Feb 2021", "or the local clock is ahead"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "not yet valid",
            tls("127.0.0.1", issue(&with(|p| p.not_before = rcgen::date_time_ymd(2100, 1, 1)))),
            &["not valid before Fri, 01 Jan 2100", "or the local clock is behind"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "for clients",
            tls(
                "127.0.0.1",
                issue(&with(|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth])),
            ),
            &["certificate of https://127.0.0.1:", "is not meant for servers"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "a key that is another one's",
            tls("127.0.0.1", Identity::new(issue(&local()).certificate, Vec::new(), issue(&local()).key)),
            &["could not prove that it holds the private key"],
        )
        .with(&["-ca-file={ca}"]),
        fault(
            "endless roots",
            tls("127.0.0.1", issue(&local())),
            &["not found in /dev/zero (which is not a file)"],
        )
        .with(&["SSL_CERT_FILE=/dev/zero"]),
        fault(
            "a huge file of roots",
            tls("127.0.0.1", issue(&local())),
            &["huge.pem (which is larger than 16 MiB)"],
        )
        .with(&["SSL_CERT_FILE={dir}/huge.pem"]),
        fault("a folder for a file of roots", tls("127.0.0.1", issue(&local())), &["(which is not a file)"])
            .with(&["SSL_CERT_FILE={dir}"]),
        fault(
            "roots among pipes, devices and huge files",
            tls("127.0.0.1", issue(&local())),
            &["unknown authority", "/odd"],
        )
        .with(&["SSL_CERT_FILE=/proc/nonexistent", "SSL_CERT_DIR={dir}/odd", "-timeout=15s"]),
        fault("http to an https port", tls("127.0.0.1", issue(&local())), &["http://127.0.0.1:"])
            .with(&["LOCATE_URL=http://{host}/"]),
    ]
}

/// Unusable files of roots.
pub fn roots(lab: &Lab) -> Vec<Fault> {
    lab.write("empty.pem", "");
    lab.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    lab.make_fifo("ca-fifo");
    vec![
        fault(
            "no such CA file",
            closed_port(),
            &["the CA file /proc/nonexistent/ca.pem cannot be read: No such file"],
        )
        .with(&["-ca-file=/proc/nonexistent/ca.pem"]),
        fault("a folder for a CA file", closed_port(), &["the CA file /", "Is a directory"])
            .with(&["-ca-file={dir}"]),
        fault("an empty CA file", closed_port(), &["holds no PEM certificates"])
            .with(&["-ca-file={dir}/empty.pem"]),
        fault("a broken certificate", closed_port(), &["cannot be parsed (number 1)"])
            .with(&["-ca-file={dir}/broken.pem"]),
        fault("an endless CA file", closed_port(), &["the CA file /dev/zero is larger than 16 MiB"])
            .with(&["-ca-file=/dev/zero"]),
        fault("the CA file by variable", closed_port(), &["/proc/nonexistent/ca.pem cannot be read"])
            .with(&["MONITORING_TOKEN_CA_FILE=/proc/nonexistent/ca.pem"]),
        fault(
            "a CA file into which nobody writes",
            closed_port(),
            &["timed out after ", "while reading the CA file /", "check the process that writes to it"],
        )
        .with(&["-ca-file={dir}/ca-fifo", "-timeout=500ms"])
        .exits(124),
    ]
}
