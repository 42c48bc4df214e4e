//! Keys and tokens: the program's in go-jose, and go-jose's in the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::go::Go;
use crate::support::{MACHINE, run, token};
use crate::{Check, Found, Peers};

pub const CHECKS: &[Check] = &[
    Check {
        peer: "go-jose v4.1.8",
        claim: "loads keys made by key generate, and verifies tokens signed with them",
        run: our_keys,
    },
    Check {
        peer: "go-jose v4.1.8",
        claim: "refuses our token once it has expired, and with another key",
        run: refusals,
    },
    Check {
        peer: "jwk-keygen v2.6.0",
        claim: "its keys load here, and sign tokens that go-jose verifies",
        run: jwk_keygen,
    },
    Check {
        peer: "jose-util v4.1.8",
        claim: "its keys load here, and sign tokens that go-jose verifies",
        run: jose_util,
    },
];

/// The token that the command gets with this key.
fn token_of(key: &Path) -> Result<String, String> {
    let ended = run(token().env("MONITORING_SIGNER_KEY", key).args([
        "-exchange=false",
        "-output=inherit",
        "-machine",
        MACHINE,
        "--",
        "printenv",
        "MONITORING_URL",
    ]));
    let url = ended.stdout.trim().to_owned();
    match url.split_once("access_token=") {
        Some((_, token)) if ended.status == 0 => Ok(token.to_owned()),
        _ => Err(format!("{ended:?}")),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn generate(folder: &Path, alg: &str) -> Result<PathBuf, String> {
    let key = folder.join(alg);
    let ended = run(token().args(["key", "generate", "--alg", alg, "--kid", "interop", "--out"]).arg(&key));
    if ended.status == 0 { Ok(key) } else { Err(format!("{ended:?}")) }
}

fn scratch() -> Result<tempfile::TempDir, String> {
    tempfile::tempdir().map_err(|error| error.to_string())
}

/// Asks whether `public` verifies the token of the key at `private`.
fn verify(go: &mut Go, private: &Path, public: &str, seconds_from_now: &str) -> Result<String, String> {
    let answer = go.ask(&["verify", public, &token_of(private)?, seconds_from_now])?;
    Ok(answer.as_str().unwrap_or("no answer").to_owned())
}

fn expect(found: &str, wanted: &str, what: &str) -> Result<(), String> {
    if found.contains(wanted) && (!wanted.is_empty() || found.is_empty()) {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {wanted:?}"))
    }
}

fn our_keys(peers: &Peers) -> Found {
    let (mut go, folder) = (Go::start(peers)?, scratch()?);
    for alg in ["EdDSA", "ES256", "RS256"] {
        let key = generate(folder.path(), alg)?;
        let loaded = go.ask(&["private", &read(&key)?])?;
        expect(loaded.as_str().unwrap_or("no answer"), "", alg)?;
        let public = read(&key.with_extension("pub"))?;
        expect(&verify(&mut go, &key, &public, "0")?, "", alg)?;
        expect(&verify(&mut go, &key, &public, "58")?, "", alg)?;
    }
    Ok("EdDSA, ES256, RS256".to_owned())
}

fn refusals(peers: &Peers) -> Found {
    let (mut go, folder) = (Go::start(peers)?, scratch()?);
    let key = generate(folder.path(), "EdDSA")?;
    let other = generate(scratch()?.path(), "EdDSA").and_then(|other| read(&other.with_extension("pub")));
    let public = read(&key.with_extension("pub"))?;
    expect(&verify(&mut go, &key, &public, "62")?, "expired", "after 62 s")?;
    expect(&verify(&mut go, &key, &other?, "0")?, "error in cryptographic primitive", "another key")?;
    Ok("expired and foreign tokens are refused".to_owned())
}

/// Runs a key generator in its own folder and tries each pair.
fn foreign_keys(peers: &Peers, make: impl Fn(&Path, &str) -> Command, algorithms: &[&str]) -> Found {
    let mut go = Go::start(peers)?;
    for alg in algorithms {
        let folder = scratch()?;
        let made = make(folder.path(), alg)
            .current_dir(folder.path())
            .output()
            .map_err(|error| error.to_string())?;
        if !made.status.success() {
            return Err(format!("{alg}: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let files: Vec<PathBuf> = folder
            .path()
            .read_dir()
            .map_err(|error| error.to_string())?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        let is_public = |path: &&PathBuf| {
            path.to_string_lossy().ends_with(".pub") || path.to_string_lossy().ends_with("-pub.json")
        };
        let public = files.iter().find(is_public).ok_or("no public key")?;
        let private = files.iter().find(|path| !is_public(path)).ok_or("no private key")?;
        expect(&verify(&mut go, private, &read(public)?, "0")?, "", alg)?;
    }
    Ok(algorithms.join(", "))
}

fn jwk_keygen(peers: &Peers) -> Found {
    let make = |_: &Path, alg: &str| {
        let mut command = Command::new(peers.program("jwk-keygen"));
        command.args(["--use=sig", "--kid=monitoring_20240101", "--alg", alg]);
        command
    };
    foreign_keys(peers, make, &["EdDSA", "ES256", "RS256"])
}

fn jose_util(peers: &Peers) -> Found {
    let make = |_: &Path, alg: &str| {
        let mut command = Command::new(peers.program("jose-util"));
        command.args(["generate-key", "--use=sig", "--kid=interop", "--alg", alg]);
        command
    };
    foreign_keys(peers, make, &["EdDSA", "ES256", "RS256"])
}
