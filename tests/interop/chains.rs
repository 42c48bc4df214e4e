//! Certificate chains: compares the program's decision (`support/chains.rs`, with its reasons) with Go's crypto/x509
//! and `openssl verify`, and tries real OpenSSL servers with keys that ring does not support.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::go::Go;
use crate::support::chains::{self, Case};
use crate::support::tls::pem_of;
use crate::support::{MACHINE, run, testdata, token};
use crate::{Check, Found, Peers};

pub const CHECKS: &[Check] = &[
    Check {
        peer: "Go's crypto/x509",
        claim: "trusts the servers that we trust, but for differences",
        run: go,
    },
    Check {
        peer: "openssl verify",
        claim: "trusts the servers that we trust, but for differences",
        run: openssl,
    },
    Check {
        peer: "openssl s_server",
        claim: "with keys that are not supported is refused in words",
        run: servers,
    },
];

/// Compares the verdicts; `differs` is the reason if the peer's is the opposite.
fn compare(
    differs: fn(&Case) -> Option<&'static str>,
    mut refusal: impl FnMut(&Case) -> Result<Option<String>, String>,
) -> Found {
    let cases = chains::all();
    let mut wrong = Vec::new();
    for case in &cases {
        let theirs = refusal(case)?;
        let expected = case.refused.is_none() != differs(case).is_some();
        if theirs.is_none() != expected {
            let verdict = theirs.unwrap_or_else(|| "trusted".to_owned());
            wrong.push(format!("{}: {verdict}", case.name));
        }
    }
    let different = cases.iter().filter(|case| differs(case).is_some()).count();
    if wrong.is_empty() {
        Ok(format!("{} chains, {different} documented differences", cases.len()))
    } else {
        Err(wrong.join("; "))
    }
}

fn sent(case: &Case) -> String {
    case.server.intermediates.iter().map(pem_of).collect()
}

fn go(peers: &Peers) -> Found {
    let mut go = Go::start(peers)?;
    compare(
        |case| case.go,
        |case| {
            let chain = case.server.pem.clone() + &sent(case);
            let answer = go.ask(&["chain", &case.roots_pem(), &chain, case.host])?;
            let why = answer.as_str().ok_or("no text")?;
            Ok(Some(why.to_owned()).filter(|why| !why.is_empty()))
        },
    )
}

fn openssl(_: &Peers) -> Found {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    compare(
        |case| case.openssl,
        |case| {
            let file = |name: &str, text: String| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).map(|()| path).map_err(|error| error.to_string())
            };
            let host = case.host.trim_matches(['[', ']']);
            let is_address = host.parse::<std::net::IpAddr>().is_ok();
            let mut command = Command::new("openssl");
            command.args(["verify", "-no-CApath", "-no-CAstore", "-purpose", "sslserver", "-CAfile"]);
            command.arg(file("roots.pem", case.roots_pem())?);
            command.args([if is_address { "-verify_ip" } else { "-verify_hostname" }, host]);
            if !case.server.intermediates.is_empty() {
                command.arg("-untrusted").arg(file("sent.pem", sent(case))?);
            }
            let output = command.arg(file("server.pem", case.server.pem.clone())?).output();
            let output = output.map_err(|error| format!("openssl does not start: {error}"))?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok((!output.status.success()).then_some(text))
        },
    )
}

/// Makes a CA and a server's certificate with `openssl`; the options are those of `openssl genpkey` and `req`.
fn make(folder: &Path, ca: &[&str], server: &[&str], digest: &str) -> Result<(), String> {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(folder).output();
        let output = output.map_err(|error| format!("openssl does not start: {error}"))?;
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(why)
    };
    openssl(&[&["genpkey", "-out", "ca.key"], ca].concat())?;
    openssl(&[&["genpkey", "-out", "server.key"], server].concat())?;
    openssl(&["req", "-x509", "-key", "ca.key", "-out", "ca.pem", "-days", "9", "-subj", "/CN=the CA"])?;
    openssl(&["req", "-new", "-key", "server.key", "-out", "server.csr", "-subj", "/CN=server"])?;
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").map_err(|error| error.to_string())?;
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "9",
        "-extfile",
        "names",
        "-out",
        "server.pem",
        digest,
    ])
}

/// A server, stopped when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path) -> Result<(Server, String), String> {
    let mut child = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-naccept",
            "1",
            "-cert",
            "server.pem",
            "-key",
            "server.key",
        ])
        .args(["-cipher", "ALL:@SECLEVEL=0"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("openssl does not start: {error}"))?;
    let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
    let server = Server(child);
    let accept = stdout.lines().map_while(Result::ok).find_map(|line| {
        let (_, address) = line.split_once("ACCEPT ")?;
        address.rsplit(':').next().map(str::to_owned)
    });
    Ok((server, accept.ok_or("openssl s_server does not listen")?))
}

fn servers(_: &Peers) -> Found {
    const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    const P521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
    const RSA_1024: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
    let rows: &[(&str, &[&str], &[&str], &str, &str)] = &[
        ("a P-521 server", P256, P521, "-sha256", "a certificate with a P-521 key"),
        (
            "an RSA-1024 server",
            P256,
            RSA_1024,
            "-sha256",
            "the server's key is too short (RSA with 1024 bits",
        ),
        ("a P-521 CA", P521, P256, "-sha256", "is of a type that is not supported (EC P-521)"),
        ("an RSA-1024 CA", RSA_1024, P256, "-sha256", "its key is too short (RSA with 1024 bits"),
        ("SHA-512 by a P-256 CA", P256, P256, "-sha512", "not supported (ECDSA with SHA-512)"),
        ("SHA-1", P256, P256, "-sha1", "not supported (ECDSA with SHA-1)"),
    ];
    for (name, ca, server, digest, words) in rows {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        make(folder.path(), ca, server, digest).map_err(|why| format!("{name}: {why}"))?;
        let (_server, port) = serve(folder.path())?;
        let ended = run(token()
            .args(["-service=ndt/ndt7", "-retries=0", "-timeout=20s", "--", "true"])
            .env("LOCATE_URL", format!("https://127.0.0.1:{port}/"))
            .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
            .env("MACHINE", MACHINE)
            .env("SSL_CERT_FILE", folder.path().join("ca.pem")));
        if ended.status != 125 || !ended.stderr.contains(words) {
            return Err(format!("{name}: {ended:?}"));
        }
    }
    Ok(format!("{} servers", rows.len()))
}
