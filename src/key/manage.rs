//! `monitoring-token key`: makes, converts and explains JWKs, with josekit.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use josekit::jwk::Jwk;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use zeroize::Zeroizing;

use super::generate::private_jwk;
use super::load::read_file;
use super::{Algorithm, PrivateKey};
use crate::cli::Line;
use crate::error::{Failure, Stage, brief};
use crate::read::{DEFAULT_PATIENCE, Until};

/// The members that are text wherever they stand (RFC 7517, section 4; RFC 7518, section 6).
const TEXT_MEMBERS: [&str; 15] =
    ["kid", "alg", "use", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k"];

/// `key generate`: writes FILE (0600) and FILE.pub, and says so.
pub fn generate(line: &Line) -> Result<String, Failure> {
    if let Some(word) = line.words.first() {
        return Err(Failure::usage(format!(
            "key generate takes no argument {}; name the file with --out",
            brief(word)
        )));
    }
    let values = line.values();
    let algorithm = match values.text("alg")? {
        None | Some("EdDSA") => Algorithm::EdDsa,
        Some("ES256") => Algorithm::Es256,
        Some("RS256") => Algorithm::Rs256,
        Some(_) => {
            return Err(
                values.refuse("alg", "is not EdDSA, ES256 or RS256, the algorithms that Locate takes")
            );
        }
    };
    if values.get("kid").is_some_and(|given| given.text.is_empty()) {
        return Err(Failure::usage("-kid: is empty; give an id, or leave it out for the key's thumbprint"));
    }
    let mut jwk = private_jwk(algorithm).map_err(|why| failure(format!("cannot make a key: {why}")))?;
    let kid = match values.text("kid")? {
        Some(kid) => kid.to_owned(),
        // As `jwk-keygen --kid-rand`: padded.
        None => URL_SAFE.encode(thumbprint(&jwk)?),
    };
    jwk.set_key_id(&kid);
    let private_path = match values.path("out")? {
        Some(path) => path,
        None if kid.contains('/') => {
            return Err(Failure::usage("-kid: holds a slash, so name the file with --out"));
        }
        None => PathBuf::from(format!("jwk_sig_{}_{kid}", algorithm.name())),
    };
    let public_path = with_suffix(&private_path, ".pub");
    let private = Zeroizing::new(to_json(&jwk)?);
    let public = to_json(&public_half(&jwk)?)?;
    write_new(&private_path, &private, 0o600)?;
    write_new(&public_path, &public, 0o644).inspect_err(|_| {
        // Half a pair is of no use.
        let _ = std::fs::remove_file(&private_path);
    })?;
    Ok(format!(
        "key id:      {}\nprivate key: {}\npublic key:  {}\n",
        crate::error::printable(&kid),
        private_path.display(),
        public_path.display()
    ))
}

/// `key public FILE`: the public JWK, or a set of it.
pub fn public(line: &Line) -> Result<String, Failure> {
    let path = file_of(line)?;
    let public =
        to_json(&public_half(&parse(&path, &read(&path, line)?)?).map_err(|failure| at(&path, &failure))?)?;
    let as_set = line.values().boolean("jwks")?.unwrap_or(false);
    Ok(if as_set { format!("{{\"keys\":[{public}]}}\n") } else { public + "\n" })
}

/// `key inspect FILE`: what the key is, and whether it can sign monitoring requests.
pub fn inspect(line: &Line) -> Result<String, Failure> {
    let path = file_of(line)?;
    inspect_json(&path, &read(&path, line)?)
}

/// See [`inspect`]; `path` is for messages.
pub fn inspect_json(path: &Path, json: &[u8]) -> Result<String, Failure> {
    let jwk = parse(path, json)?;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<12} {}", format!("{name}:"), crate::error::printable(value));
    };
    row(
        "type",
        &match jwk.curve() {
            Some(curve) => format!("{} ({curve})", jwk.key_type()),
            None => format!("{}{}", jwk.key_type(), bits(&jwk)),
        },
    );
    row("algorithm", jwk.algorithm().unwrap_or("none given"));
    row("use", jwk.key_use().unwrap_or("none given"));
    row("key id", jwk.key_id().unwrap_or("none"));
    row("thumbprint", &thumbprint(&jwk).map_or("none".to_owned(), |hash| URL_SAFE_NO_PAD.encode(hash)));
    row("private", if jwk.parameter("d").is_some() { "yes" } else { "no" });
    row("signs", &verdict(json));
    Ok(text)
}

/// Whether a run could use the key.
fn verdict(json: &[u8]) -> String {
    match PrivateKey::from_jwk(json).and_then(|key| key.check().map(|()| key.algorithm)) {
        Ok(algorithm) if algorithm.is_known_to_locate() => "yes".to_owned(),
        Ok(algorithm) => {
            format!("yes, but Locate does not take {}; it takes EdDSA, ES256 and RS256", algorithm.name())
        }
        Err(refusal) => format!("no: {refusal}"),
    }
}

fn bits(jwk: &Jwk) -> String {
    let modulus = jwk.parameter("n").and_then(|n| n.as_str()).and_then(|n| URL_SAFE_NO_PAD.decode(n).ok());
    modulus.map(|n| format!(" ({} bits)", n.len() * 8)).unwrap_or_default()
}

fn failure(message: String) -> Failure {
    Failure::ours(Stage::Sign, message)
}

fn at(path: &Path, failure: &Failure) -> Failure {
    Failure { message: format!("cannot use the key {}: {failure}", path.display()), ..failure.clone() }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn file_of(line: &Line) -> Result<PathBuf, Failure> {
    match line.words.as_slice() {
        [file] => Ok(PathBuf::from(file)),
        _ => Err(Failure::usage("give one FILE, the JWK")),
    }
}

fn read(path: &Path, line: &Line) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let patience = line.values().positive_duration("timeout")?.unwrap_or(DEFAULT_PATIENCE);
    read_file(path, &Until::in_time(patience), "give the path of a JWK")
}

fn parse(path: &Path, json: &[u8]) -> Result<Jwk, Failure> {
    let members: Option<serde_json::Map<String, Value>> = serde_json::from_slice(json).ok();
    // josekit takes these for granted, and panics where they are not.
    let sound = |members: &serde_json::Map<String, Value>| {
        members.get("kty").is_some_and(Value::is_string)
            && TEXT_MEMBERS.iter().all(|name| members.get(*name).is_none_or(Value::is_string))
    };
    members.filter(sound).and_then(|_| serde_json::from_slice(json).ok()).ok_or_else(|| {
        let why = PrivateKey::from_jwk(json).err().unwrap_or_else(|| "it is no JWK".to_owned());
        failure(format!("cannot use the key {}: {why}", path.display()))
    })
}

/// The public key of a pair, with what names it.
fn public_half(jwk: &Jwk) -> Result<Jwk, Failure> {
    let mut public = jwk.to_public_key().map_err(|error| failure(error.to_string()))?;
    if let Some(algorithm) = jwk.algorithm() {
        public.set_algorithm(algorithm);
    }
    if let Some(kid) = jwk.key_id() {
        public.set_key_id(kid);
    }
    Ok(public)
}

fn to_json(jwk: &Jwk) -> Result<String, Failure> {
    serde_json::to_string(jwk.as_ref()).map_err(|error| failure(format!("cannot write a JWK: {error}")))
}

/// The thumbprint (RFC 7638, SHA-256): the required members, in order, without blanks.
fn thumbprint(jwk: &Jwk) -> Result<Vec<u8>, Failure> {
    let names: &[&str] = match jwk.key_type() {
        "OKP" => &["crv", "kty", "x"],
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        _ => return Err(failure("a key of this type has no public thumbprint".to_owned())),
    };
    let members: Option<Vec<String>> = names
        .iter()
        .map(|name| Some(format!("\"{name}\":{}", jwk.parameter(name).filter(|value| value.is_string())?)))
        .collect();
    let members = members.ok_or_else(|| failure(format!("one of {} is missing", names.join(", "))))?;
    Ok(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()).as_ref().to_vec())
}

/// Writes a file that must not exist yet, with its mode from the first byte.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "name another with --out",
            _ => "see --out",
        };
        failure(format!("cannot write {}: {error}; {advice}", path.display()))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(cannot)?;
    // The umask may have taken more away than is asked for, and a key that its owner cannot read is none.
    let whole_mode = match mode & 0o077 {
        0 => file.set_permissions(Permissions::from_mode(mode)),
        _ => Ok(()),
    };
    whole_mode
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            let _ = std::fs::remove_file(path);
            cannot(error)
        })
}
