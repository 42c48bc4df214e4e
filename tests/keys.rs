//! Keys: created, inspected and used; Locate's verifier accepts the signatures of every accepted kind.

mod wild;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::support::job::Folder;
use crate::support::{MACHINE, Sandbox, exchange, finish, run, testdata, token};

/// The accepted keys, and whether every Locate accepts their algorithm.
const ACCEPTED: [(&str, bool); 8] = [
    ("eddsa", true),
    ("es256", true),
    ("rs256", true),
    ("rs256-3072", true),
    ("es384", false),
    ("no-alg", true),
    ("no-kid", true),
    ("padded", true),
];

/// The members of a JWK that are secret (RFC 7518, 6.2.2, 6.3.2, 6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn key(name: &str) -> PathBuf {
    testdata(&format!("keys/{name}"))
}

fn jwk(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `monitoring-token key …`, in this folder.
fn key_command(folder: &Path, args: &[&str]) -> Command {
    let mut command = token();
    command.current_dir(folder).arg("key").args(args);
    command
}

#[track_caller]
fn holds_no_private_part(text: &str, key: &Value) {
    for member in PRIVATE_MEMBERS {
        if let Some(value) = key[member].as_str() {
            let value = value.trim_end_matches('=');
            assert!(!text.contains(value), "{member} in {text}");
        }
    }
}

/// A sandbox with these public keys. Its Locate is the newer one, which accepts three algorithms.
fn sandbox_with(keys: &[PathBuf]) -> Sandbox {
    let mut args = vec!["--locate-version=0.19".to_owned()];
    args.extend(keys.iter().flat_map(|key| ["--verify-key".to_owned(), key.display().to_string()]));
    Sandbox::start(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_accepted_kind_signs_what_locate_accepts() {
    let folder = Folder::new();
    // The public halves printed by `key public`.
    let public_keys: Vec<PathBuf> = ["eddsa", "es256", "rs256", "rs256-3072", "es384", "no-kid"]
        .map(|name| {
            let path = folder.path(name);
            let ended = run(token().args(["key", "public"]).arg(key(&format!("{name}.json"))));
            std::fs::write(&path, &ended.succeeded().stdout).unwrap();
            path
        })
        .into();
    let sandbox = sandbox_with(&public_keys);
    for (name, known) in ACCEPTED {
        let path = key(&format!("{name}.json"));
        let mut command = sandbox.token();
        let ended =
            run(command.env("MONITORING_SIGNER_KEY", &path).args(["-service=ndt/ndt7", "--", "true"]));
        if known {
            ended.succeeded();
        } else {
            ended.failed_with(125, &["rejected the token (HTTP 401)", "Locate v0.19.2 rejects ES384"]);
        }
    }
}

#[test]
fn a_key_that_locate_does_not_know_is_rejected() {
    let sandbox = sandbox_with(&[key("es256.json.pub")]);
    for (name, words) in [("eddsa", "key ID \"test_eddsa\" of "), ("no-kid", "no key ID (kid)")] {
        let mut command = sandbox.token();
        command.env("MONITORING_SIGNER_KEY", key(&format!("{name}.json")));
        run(command.args(["-service=ndt/ndt7", "--", "true"])).failed_with(125, &["HTTP 401", words]);
    }
}

#[test]
fn the_variable_may_hold_the_key_itself() {
    let sandbox = sandbox_with(&[key("eddsa.json.pub")]);
    let text = std::fs::read_to_string(key("eddsa.json")).unwrap();
    for text in [text.clone(), format!("\n  {text}")] {
        let ended = run(sandbox.token().env("MONITORING_SIGNER_KEY", text).args([
            "-output=inherit",
            "-service=ndt/ndt7",
            "env",
        ]));
        ended.succeeded();
        assert!(!ended.stdout.contains("MONITORING_SIGNER_KEY"), "{ended:?}");
        holds_no_private_part(&ended.stdout, &jwk(&key("eddsa.json")));
    }
    // The flag overrides it.
    let mut command = sandbox.token();
    command
        .env("MONITORING_SIGNER_KEY", "{}")
        .arg(format!("-monitoring-signer-key={}", key("eddsa.json").display()));
    run(command.args(["-service=ndt/ndt7", "true"])).succeeded();
}

#[test]
fn the_key_may_come_through_a_pipe() {
    let sandbox = sandbox_with(&[key("rs256.json.pub")]);
    let mut shell = Command::new("bash");
    // It arrives in pieces, and late.
    let line = format!(
        "exec {} -monitoring-signer-key <(head -c 100 {1}; sleep 0.1; tail -c +101 {1}) -service=ndt/ndt7 -machine={MACHINE} true",
        env!("CARGO_BIN_EXE_monitoring-token"),
        key("rs256.json").display()
    );
    run(shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LOCATE_URL", sandbox.var("LOCATE_URL"))
        .args(["-c", &line]))
    .succeeded();
}

#[test]
fn generated_keys_sign_what_locate_accepts() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let out = format!("{algorithm}.json");
        run(&mut key_command(folder.root(), &["generate", "--alg", algorithm, "--kid=k", "--out", &out]))
            .succeeded();
        assert_eq!(jwk(&path(&out))["alg"], algorithm);
        let sandbox = sandbox_with(&[path(&format!("{algorithm}.json.pub"))]);
        let mut command = sandbox.token();
        command.env("MONITORING_SIGNER_KEY", path(&out)).args(["-service=ndt/ndt7", "--", "true"]);
        run(&mut command).succeeded();
    }
}

#[test]
fn a_generated_key_is_named_for_its_use_algorithm_and_id() {
    let folder = Folder::new();
    let ended = run(&mut key_command(folder.root(), &["generate"]));
    ended.succeeded();
    let mut names: Vec<String> = std::fs::read_dir(folder.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let private = jwk(&folder.path(&names[0]));
    let key_id = private["kid"].as_str().unwrap();
    assert_eq!(names, [format!("jwk_sig_EdDSA_{key_id}"), format!("jwk_sig_EdDSA_{key_id}.pub")]);
    assert_eq!((private["use"].as_str(), private["kty"].as_str()), (Some("sig"), Some("OKP")));
    // The id is the thumbprint (RFC 7638).
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{}}}"#, private["x"]);
    let thumbprint = ring::digest::digest(&ring::digest::SHA256, members.as_bytes());
    assert_eq!(key_id, URL_SAFE.encode(thumbprint.as_ref()));
    let inspected = run(&mut key_command(folder.root(), &["inspect", &names[0]]));
    assert!(inspected.stdout.contains(&URL_SAFE_NO_PAD.encode(thumbprint.as_ref())), "{inspected:?}");
    for line in [key_id, &names[0], &names[1]] {
        assert!(ended.stdout.contains(line), "{ended:?}");
    }
    holds_no_private_part(&ended.stdout, &private);
    let public = jwk(&folder.path(&names[1]));
    assert!(PRIVATE_MEMBERS.iter().all(|member| public.get(member).is_none()), "{public}");
    for member in ["kty", "crv", "x", "use", "alg", "kid"] {
        assert_eq!(public[member], private[member], "{member}");
    }
    run(&mut key_command(folder.root(), &["generate", "-alg=ES256", "-kid", "monitoring_2026"])).succeeded();
    assert!(folder.path("jwk_sig_ES256_monitoring_2026.pub").exists());
}

#[test]
fn files_with_a_secret_are_for_their_owner_alone_under_any_umask() {
    for umask in ["0000", "0022", "0077", "0277", "0777"] {
        let folder = Folder::new();
        let line = format!(
            "umask {umask}; {0} key generate --out k && exec {0} stackstate bootstrap --roles a --token-file t",
            env!("CARGO_BIN_EXE_monitoring-token")
        );
        run(Command::new("sh").current_dir(&folder).args(["-c", &line])).succeeded();
        let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("k"), mode("t")), (0o600, 0o600), "umask {umask}");
        let umask = u32::from_str_radix(umask, 8).unwrap();
        assert_eq!(mode("k.pub"), 0o644 & !umask, "umask {umask:o}");
    }
}

#[test]
fn no_byte_of_a_key_is_written_to_a_file_that_others_can_read() {
    let folder = Folder::new();
    let trace = folder.path("trace");
    let line = format!(
        "umask 0; exec strace -f -e trace=openat,creat,write,fchmod -o {} {} key generate --out {}",
        trace.display(),
        env!("CARGO_BIN_EXE_monitoring-token"),
        folder.path("k").display()
    );
    if Command::new("strace").arg("-V").output().is_err() {
        // The mode at creation matters; without strace, only the final mode is checked.
        return files_with_a_secret_are_for_their_owner_alone_under_any_umask();
    }
    run(Command::new("sh").args(["-c", &line]));
    let trace = std::fs::read_to_string(trace).unwrap();
    let opened = trace.lines().find(|line| line.contains("/k\"")).unwrap_or_else(|| panic!("{trace}"));
    assert!(opened.contains("O_CREAT|O_EXCL") && opened.contains(", 0600)"), "{opened}");
}

#[test]
fn nothing_is_overwritten() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    std::fs::write(path("a"), "precious").unwrap();
    std::fs::write(path("b.pub"), "precious").unwrap();
    std::os::unix::fs::symlink("nowhere", path("c")).unwrap();
    for name in ["a", "b", "c"] {
        run(&mut key_command(folder.root(), &["generate", "--out", name]))
            .failed_with(125, &["cannot write", "exists"]);
    }
    assert_eq!(std::fs::read_to_string(path("a")).unwrap(), "precious");
    assert_eq!(std::fs::read_to_string(path("b.pub")).unwrap(), "precious");
    // Half a pair is not left behind.
    for name in ["a.pub", "b", "c.pub", "nowhere"] {
        assert!(!path(name).exists(), "{name}");
    }
    run(&mut key_command(folder.root(), &["generate", "--out", "no/such/folder"]))
        .failed_with(125, &["cannot write no/such/folder"]);
}

#[test]
fn the_public_half_is_printed_alone_or_as_a_set() {
    for name in ["eddsa", "es256", "es384", "rs256"] {
        let file = key(&format!("{name}.json"));
        let expected = jwk(&key(&format!("{name}.json.pub")));
        let alone = run(token().args(["key", "public"]).arg(&file)).succeeded().stdout.clone();
        assert_eq!(serde_json::from_str::<Value>(&alone).unwrap(), expected, "{name}");
        // Flags may follow the file; a public key is its own public half.
        for args in [[Path::new("--jwks"), &file], [&key(&format!("{name}.json.pub")), Path::new("-jwks")]] {
            let set = run(token().args(["key", "public"]).args(args)).succeeded().stdout.clone();
            let set: Value = serde_json::from_str(&set).unwrap();
            assert_eq!(set, serde_json::json!({"keys": [expected]}), "{name}");
        }
    }
}

#[test]
fn inspect_describes_a_key_without_private_parts() {
    for (name, lines) in [
        (
            "eddsa.json",
            &["OKP (Ed25519)", "EdDSA", "test_eddsa", "private:     yes", "signs:       yes\n"][..],
        ),
        ("es256.json", &["EC (P-256)", "ES256", "test_es256", "signs:       yes\n"]),
        ("rs256.json", &["RSA (2048 bits)", "RS256", "test_rs256", "signs:       yes\n"]),
        (
            "es384.json",
            &[
                "EC (P-384)",
                "ES384",
                "yes, but Locate v0.19.2 rejects ES384 (it accepts EdDSA, ES256 and RS256); v0.17.6 accepts it",
            ],
        ),
        ("no-alg.json", &["none given", "signs:       yes\n"]),
        ("public.json", &["private:     no", "signs:       no: this is a public key"]),
        ("symmetric.json", &["oct", "no: this is a symmetric key"]),
        ("wrong-alg.json", &["RS256", "no: its \"alg\" \"RS256\" does not fit"]),
        ("wrong-use.json", &["enc", "no: its \"use\" is \"enc\""]),
        ("mismatched-ec.json", &["no: the public and private parts do not match"]),
        ("mismatched-ed25519.json", &["no: the public and private parts do not match"]),
        ("mismatched-rsa.json", &["no: the public and private parts do not match"]),
        ("wrong-dp.json", &["no: the public and private parts do not match"]),
        (
            "rsa-2056.json",
            &["RSA (2056 bits)", "no: an RSA key of 2056 bits is not supported; use one of 2048"],
        ),
        (
            "rsa-exponent-3.json",
            &["RSA (2048 bits)", "no: the RSA public exponent is too small (3); use 65537"],
        ),
        ("rsa-1024.json", &["RSA (1024 bits)", "no: an RSA key of 1024 bits is too short"]),
        ("rsa-5120.json", &["RSA (5120 bits)", "no: an RSA key of 5120 bits is not supported"]),
        ("p521.json", &["EC (P-521)", "no: curve"]),
        ("x25519.json", &["OKP (X25519)", "no: curve"]),
    ] {
        let ended = run(token().args(["key", "inspect"]).arg(key(name)));
        ended.succeeded();
        for line in lines {
            assert!(ended.stdout.contains(line), "no {line:?} for {name} in {ended:?}");
        }
        holds_no_private_part(&ended.stdout, &jwk(&key(name)));
    }
}

#[test]
fn every_verb_refuses_files_that_are_not_keys() {
    for (name, why) in [
        ("empty.json", "it is empty"),
        ("not-json.txt", "not valid JSON"),
        ("truncated.json", "not valid JSON"),
        ("private.pem", "this is PEM"),
        ("encrypted.jwe", "this key is encrypted (JWE)"),
        ("encrypted.json", "this key is encrypted (JWE)"),
        ("set.json", "this is a JWK set"),
        ("array.json", "expected one JSON object, found a list"),
        ("without-kty.json", "\"kty\" is missing"),
        ("kid-number.json", "\"kid\" must be a string, not a number"),
        ("nowhere.json", "cannot read key file"),
    ] {
        for verb in ["public", "inspect"] {
            let ended = run(token().args(["key", verb]).arg(key(name)));
            ended.failed_with(125, &[why]);
            assert_eq!(ended.stdout, "", "{verb} {name}");
        }
    }
    // All of a symmetric key is private.
    let ended = run(token().args(["key", "public"]).arg(key("symmetric.json")));
    ended.failed_with(125, &["cannot use the key", "symmetric.json"]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_key_in_place_of_its_file_is_not_shown() {
    let text = std::fs::read_to_string(key("eddsa.json")).unwrap();
    let unquoted = text.replace(',', ", ");
    let pem = std::fs::read_to_string(key("private.pem")).unwrap();
    let url = "https://user:S3cret-Pass@host.example/k.json";
    let secrets =
        [jwk(&key("eddsa.json"))["d"].as_str().unwrap().to_owned(), pem.lines().nth(1).unwrap().into()];
    for words in [&[text.as_str()][..], &unquoted.split(' ').collect::<Vec<_>>(), &[&pem], &[url]] {
        for verb in ["inspect", "public", "generate"] {
            let ended = run(token().args(["key", verb]).args(words));
            let hint = if words[0].starts_with('-') { "invalid flag syntax: " } else { "it is not shown" };
            ended.failed_with(2, &[hint]);
            assert!(!ended.stderr.contains("S3cret"), "{ended:?}");
            assert!(!secrets.iter().any(|secret| ended.stderr.contains(secret)), "{ended:?}");
        }
    }
}

#[test]
fn a_usage_error_of_key_is_one_line_and_status_2() {
    for (args, words) in [
        (&[][..], &["key generate", "key public", "key inspect"][..]),
        (&["nope"], &["unknown subcommand of key: nope"]),
        (&["generate", "x"], &["--out"]),
        (&["generate", "--alg=ES384"], &["\"ES384\" for -alg: expected EdDSA, ES256 or RS256"]),
        (&["generate", "--alg", "eddsa"], &["\"eddsa\" for -alg: expected EdDSA"]),
        (&["generate", "--kid=a/b"], &["must not contain a slash", "--out"]),
        (&["generate", "--nope"], &["unknown flag -nope", "monitoring-token key generate -help"]),
        (&["public"], &["missing FILE"]),
        (&["inspect", "a", "b"], &["expected one FILE, got 2: a b"]),
    ] {
        let folder = Folder::new();
        run(&mut key_command(folder.root(), args)).failed_with(2, words);
        assert_eq!(std::fs::read_dir(folder.root()).unwrap().count(), 0, "{args:?}");
    }
    for args in [&["-help"][..], &["generate", "-help"], &["public", "-h"], &["inspect", "--help"]] {
        let ended = run(token().arg("key").args(args));
        ended.succeeded();
        assert!(ended.stdout.contains("Usage: monitoring-token key"), "{ended:?}");
    }
}

#[test]
fn the_sandbox_refuses_what_locate_refuses() {
    // A test of the test: a token signed by another key is rejected.
    let sandbox = Sandbox::start(&[]);
    let address = sandbox.var("SANDBOX_URL").strip_prefix("http://").unwrap();
    for query in ["", "?access_token=", "?access_token=a.b.c", "?access_token=eyJhbGciOiJub25lIn0.e30."] {
        let request = format!(
            "GET /v2/platform/monitoring/ndt/ndt7{query} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(address, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 401") && answer.ends_with("\r\n\r\n"), "{query}: {answer}");
    }
}

/// The original reads it.
#[test]
fn a_key_whose_path_looks_like_a_key_is_read() {
    let folder = Folder::new();
    for name in ["{prod}.json", "\"k\".json", "-----BEGIN", "${KEYS}"] {
        let path = folder.path(name);
        std::fs::copy(testdata("keys/eddsa.json"), &path).unwrap();
        run(token().env("MONITORING_SIGNER_KEY", &path).args(["-exchange=false", "--", "true"])).succeeded();
    }
}

/// The original signs with it.
#[test]
fn a_private_key_with_a_member_of_a_set_or_of_an_encrypted_key_signs() {
    let jwk = std::fs::read_to_string(testdata("keys/eddsa.json")).unwrap();
    for member in ["\"keys\":[]", "\"ciphertext\":\"\""] {
        let jwk = jwk.replacen('{', &format!("{{{member},"), 1);
        run(token().env("MONITORING_SIGNER_KEY", jwk).args(["-exchange=false", "--", "true"])).succeeded();
    }
}

#[test]
fn a_key_in_another_form_in_the_variable_is_refused_unseen() {
    let d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    for form in [
        d,
        " -----BEGIN PRIVATE KEY-----MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v",
        "ewogImt0eSI6ICJPS1AiLCAiZCI6ICJuV0d4bmVfOVdtQzZoRXIwa3V3c3hFUkp4V2wi/fQ==",
        "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tTUM0Q0FRQXdCUVlESzJWd0JDSUVJ",
        "eyJrdHkiOiJPS1AiLCJkIjoibldHeG5lXzlXbUM2aEVyMGt1d3N4RVJKeFdsIn0=",
    ] {
        for words in [&["true"][..], &["check"]] {
            let ended = run(token().env("MONITORING_SIGNER_KEY", form).args(words));
            ended.failed_with(125, &["MONITORING_SIGNER_KEY", "is not shown"]);
            let shown = ended.stdout + &ended.stderr;
            assert!(!shown.contains(&form.trim()[..20]), "{shown}");
        }
    }
}

/// Files with a random name were left, and nobody was told which.
#[test]
fn a_key_whose_name_cannot_be_printed_is_not_kept() {
    let folder = Folder::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [&["generate"][..], &["generate", "--out=k"]] {
        let mut command = key_command(folder.root(), args);
        let ended = finish(command.stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).spawn().unwrap());
        ended.failed_with(125, &["cannot write to stdout: No space left on device; no key was kept"]);
        assert_eq!(std::fs::read_dir(folder.root()).unwrap().count(), 0);
    }
}
