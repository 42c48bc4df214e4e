//! Keys as people really have them. Each row tells its story and its public source; a run, `key inspect` and
//! `key public` must agree on each, because a person who looks at a key wants to know what a run makes of it.
//!
//! - latchset/jose and python-jose users, and node-jose#77, panva/jose#26: RSA keys with p and q, but without
//!   dp, dq and qi. Go computes them, so that the original signs with such keys; this program refused them.
//! - Keys written by serializers of other languages: `"kid":null`, `"alg":null`. A run worked, while
//!   `key inspect` refused the file.
//! - did-key-spec#73: a modulus with the leading zero byte of its ASN.1 form. `key inspect` said 2056 bits,
//!   and another thumbprint than everybody else.
//! - rust-base64#193: stray last bits in base64url, which Go ignores.
//! - ring#401: a modulus of 2056 bits, or the exponent 3, was refused with a name of the library.
//! - go-jose: a member that appears twice, a list or a string instead of an object were "the wrong type".
//! - klog#217, jq#2351: byte order marks, UTF-16 and CRLF from editors on Windows.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{holds_no_private_part, jwk, key};
use crate::support::job::Folder;
use crate::support::{Ended, run, testdata, token};

/// The result of a run with a key.
#[derive(Clone, Copy)]
enum Verdict {
    /// It signs with this algorithm.
    Signs(&'static str),
    /// It is a key, but not one that signs here, for this reason.
    Cannot(&'static str),
    /// Every verb says that it is not a JWK.
    Unreadable(&'static str),
}
use Verdict::{Cannot, Signs, Unreadable};

/// A run that prints the token, `key inspect`, and `key public`.
fn look_at(path: &Path) -> [Ended; 3] {
    let arguments = ["-exchange=false", "-output=inherit", "--", "printenv", "MONITORING_URL"];
    let signed = run(token().env("MONITORING_SIGNER_KEY", path).args(arguments));
    let key = |verb: &str| run(token().args(["key", verb]).arg(path));
    [signed, key("inspect"), key("public")]
}

#[track_caller]
fn is_as_promised(name: &str, path: &Path, verdict: Verdict) {
    let [signed, inspected, public] = look_at(path);
    for library in ["ring", "josekit", "serde", "jsonwebtoken", "Inconsistent", "TooSmall", "Encoding"] {
        for ended in [&signed, &inspected, &public] {
            assert!(!ended.stderr.contains(&format!(" {library}")), "{name}: {ended:?}");
        }
    }
    match verdict {
        Signs(algorithm) => {
            assert_eq!((signed.status, signed.stderr.as_str()), (0, ""), "{name}: {signed:?}");
            assert_eq!(header_of(&signed.stdout)["alg"], algorithm, "{name}");
            assert!(inspected.stdout.contains("signs:       yes"), "{name}: {inspected:?}");
            assert_eq!((inspected.status, public.status), (0, 0), "{name}: {public:?}");
        }
        Cannot(why) => {
            assert_eq!(signed.status, 125, "{name}: {signed:?}");
            assert!(signed.stderr.contains(why), "{name}: {signed:?}");
            // If a key cannot be described, the reason is the same.
            let shown = if inspected.status == 0 { &inspected.stdout } else { &inspected.stderr };
            assert!(shown.contains(why), "{name}: {inspected:?}");
        }
        Unreadable(why) => {
            for ended in [signed, inspected, public] {
                assert_eq!((ended.status, ended.stdout.as_str()), (125, ""), "{name}: {ended:?}");
                assert!(ended.stderr.contains(why), "{name}: {ended:?}");
            }
        }
    }
}

fn header_of(url: &str) -> Value {
    use base64::Engine as _;
    let token = url.split_once("access_token=").expect("the token").1;
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

/// The keys that the original was tried with, sorted by name.
const RECORDED: [(&str, Verdict); 83] = [
    ("alged25519", Cannot("its \"alg\" \"Ed25519\" does not fit this key, which signs with EdDSA")),
    ("algeddsa-lower", Cannot("its \"alg\" \"eddsa\" does not fit")),
    ("alges256-on-okp", Cannot("its \"alg\" \"ES256\" does not fit")),
    ("alghs256-on-okp", Cannot("its \"alg\" \"HS256\" does not fit")),
    ("algnone", Cannot("its \"alg\" \"none\" does not fit")),
    ("algunknown", Cannot("its \"alg\" \"XYZ\" does not fit")),
    ("array", Unreadable("expected one JSON object, found a list")),
    ("bare", Signs("EdDSA")),
    ("big", Unreadable("larger than 64 KiB")),
    ("blank", Unreadable("it is empty")),
    ("bom", Signs("EdDSA")),
    ("capitals", Unreadable("\"kty\" is missing (\"KTY\" is another name: case matters)")),
    ("comment", Unreadable("not valid JSON (line 1, column 1)")),
    ("crlf", Signs("EdDSA")),
    ("crvx25519", Cannot("curve \"X25519\" cannot sign; use Ed25519")),
    ("cutoff", Unreadable("not valid JSON")),
    ("dempty", Cannot("this is a public key")),
    ("dnull", Cannot("this is a public key")),
    ("duplicate", Unreadable("member \"kid\" appears twice")),
    ("ed25519", Signs("EdDSA")),
    ("emptyalg", Signs("EdDSA")),
    ("emptyfile", Unreadable("it is empty")),
    ("emptykid", Signs("EdDSA")),
    ("emptyobject", Unreadable("this is not a JWK: \"kty\" is missing")),
    ("es256", Signs("ES256")),
    ("es256-mismatch", Cannot("the public and private parts do not match")),
    ("es256-noalg", Signs("ES256")),
    ("es256-otherpub", Cannot("the public and private parts do not match")),
    ("es384", Signs("ES384")),
    ("es384-on-p256", Cannot("its \"alg\" \"ES384\" does not fit this key, which signs with ES256")),
    ("es512", Cannot("curve \"P-521\" is not supported; use P-256 or P-384")),
    ("extra", Signs("EdDSA")),
    ("jwe", Unreadable("this key is encrypted (JWE)")),
    ("jwkset", Unreadable("this is a JWK set")),
    ("kb60", Signs("EdDSA")),
    ("keygen-eddsa", Signs("EdDSA")),
    ("keygen-es256", Signs("ES256")),
    ("keygen-rs256", Signs("RS256")),
    ("keyops", Signs("EdDSA")),
    ("keyops-verify", Cannot("its \"key_ops\" are \"verify\"; signing needs \"sign\"")),
    ("ktylower", Cannot("key type \"okp\" is not supported")),
    ("mismatch", Cannot("the public and private parts do not match")),
    ("newline", Signs("EdDSA")),
    ("noalg", Signs("EdDSA")),
    ("nocrv", Cannot("\"crv\" is missing")),
    ("nokid", Signs("EdDSA")),
    ("nouse", Signs("EdDSA")),
    ("nox", Cannot("\"x\" is missing")),
    ("nul", Unreadable("not valid JSON")),
    ("null", Unreadable("expected a JSON object, found null")),
    ("numkid", Unreadable("\"kid\" must be a string, not a number")),
    ("oct", Cannot("this is a symmetric key")),
    ("oct-noalg", Cannot("this is a symmetric key")),
    ("ours-eddsa", Signs("EdDSA")),
    ("paddedd", Signs("EdDSA")),
    ("pem", Unreadable("this is PEM, not a JWK")),
    ("pretty", Signs("EdDSA")),
    ("ps256", Signs("PS256")),
    ("ps384", Signs("PS384")),
    ("ps512", Signs("PS512")),
    ("public", Cannot("this is a public key")),
    ("public-es256", Cannot("this is a public key")),
    ("rs256", Signs("RS256")),
    ("rs256-on-p256", Cannot("its \"alg\" \"RS256\" does not fit")),
    ("rs384", Signs("RS384")),
    ("rs512", Signs("RS512")),
    ("rsa-noalg", Signs("RS256")),
    ("rsa-onlynd", Cannot("\"p\" and \"q\" are missing")),
    ("rsa1024", Cannot("an RSA key of 1024 bits is too short")),
    ("rsa3072", Signs("RS256")),
    ("secp256k1", Cannot("curve \"secp256k1\" is not supported")),
    ("shortd", Cannot("\"d\" must have 32 bytes, not 15")),
    ("spaces", Signs("EdDSA")),
    ("string", Unreadable("expected a JSON object, found a string; remove the quotes")),
    ("trailing", Unreadable("not valid JSON")),
    ("two", Unreadable("not valid JSON")),
    ("unicodekid", Signs("EdDSA")),
    ("useempty", Signs("EdDSA")),
    ("useenc", Cannot("its \"use\" is \"enc\"; signing needs \"sig\"")),
    ("utf16", Unreadable("this is UTF-16 text; convert it to UTF-8")),
    ("x5c", Signs("EdDSA")),
    ("x5t", Signs("EdDSA")),
    ("", Unreadable("Is a directory")),
];

#[test]
fn each_recorded_key_behaves_as_promised() {
    let mut files: Vec<String> = testdata("original/keys")
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap().replace(".json", ""))
        .collect();
    files.sort_unstable();
    let names: Vec<&str> = RECORDED.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
    assert_eq!(files, names);
    for (name, verdict) in RECORDED {
        let file = if name.is_empty() { String::new() } else { format!("{name}.json") };
        is_as_promised(name, &testdata("original/keys").join(file), verdict);
    }
}

/// Changes a key of `testdata/keys`, and tries what comes out.
struct Workbench(Folder);

impl Workbench {
    #[track_caller]
    fn tries(&self, name: &str, text: impl AsRef<[u8]>, verdict: Verdict) {
        is_as_promised(name, &self.0.write("key.json", text), verdict);
    }
}

fn workbench() -> Workbench {
    Workbench(Folder::new())
}

fn with(from: &Value, members: &Value) -> String {
    let mut changed = from.clone();
    changed.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    changed.to_string()
}

fn without(from: &Value, names: &[&str]) -> String {
    let mut changed = from.clone();
    for name in names {
        changed.as_object_mut().unwrap().remove(*name);
    }
    changed.to_string()
}

/// The base64url of the same bytes with zero bytes before them.
fn with_leading_zeros(value: &Value, zeros: usize) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap();
    json!(URL_SAFE_NO_PAD.encode([vec![0; zeros], bytes].concat()))
}

#[test]
fn rsa_parts_that_are_missing_are_computed() {
    let (bench, rsa) = (workbench(), jwk(&key("rs256.json")));
    for missing in [&["dp", "dq", "qi"][..], &["qi"], &["dp"], &["dq", "qi"]] {
        bench.tries(&missing.join(" "), without(&rsa, missing), Signs("RS256"));
    }
    bench.tries("null", with(&rsa, &json!({"dp": null, "dq": null, "qi": null})), Signs("RS256"));
    bench.tries("empty", with(&rsa, &json!({"qi": ""})), Signs("RS256"));
    let swapped = with(&rsa, &json!({"p": rsa["q"], "q": rsa["p"], "dp": null}));
    bench.tries("p and q swapped", swapped, Signs("RS256"));
    let whole = with(&rsa, &json!({"p": rsa["q"], "q": rsa["p"], "dp": rsa["dq"], "dq": rsa["dp"]}));
    bench.tries("swapped, another qi", whole, Cannot("the public and private parts do not match"));
    // Members that cannot be computed, or belong to another key.
    let mixed = with(&rsa, &json!({"d": jwk(&key("rs256-3072.json"))["d"], "dp": null}));
    bench.tries("another d", mixed, Cannot("the public and private parts do not match"));
    bench.tries("no q", without(&rsa, &["q"]), Cannot("\"q\" is missing"));
    bench.tries("no primes", without(&rsa, &["p", "q"]), Cannot("\"p\" and \"q\" are missing"));
    bench.tries("three primes", with(&rsa, &json!({"oth": [{"r": "AQAB"}]})), Cannot("more than two primes"));
    bench.tries("no other primes", with(&rsa, &json!({"oth": null})), Signs("RS256"));
}

#[test]
fn rsa_keys_that_cannot_be_used_are_explained_in_words() {
    let (bench, rsa) = (workbench(), jwk(&key("rs256.json")));
    is_as_promised(
        "2056",
        &key("rsa-2056.json"),
        Cannot("an RSA key of 2056 bits is not supported; use one of"),
    );
    is_as_promised("e=3", &key("rsa-exponent-3.json"), Cannot("exponent is too small (3); use 65537"));
    is_as_promised("5120", &key("rsa-5120.json"), Cannot("an RSA key of 5120 bits is not supported"));
    for (e, why) in [
        ("AQ", "too small (1)"),
        ("AA", "too small (0)"),
        ("AQAC", "even (65538)"),
        ("AwAAAAE", "too large (12884901889)"),
        ("AQABAQABAQ", "too large (7 bytes)"),
    ] {
        bench.tries(e, with(&rsa, &json!({"e": e})), Cannot(why));
    }
    bench.tries("uneven", with(&rsa, &json!({"p": "Aw"})), Cannot("its primes have 2 and 1024 bits"));
    bench.tries("nothing", with(&rsa, &json!({"n": "AA"})), Cannot("an RSA key of 0 bits is too short"));
    for algorithm in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        bench.tries(algorithm, with(&rsa, &json!({"alg": algorithm})), Signs(algorithm));
    }
}

#[test]
fn a_null_member_counts_as_absent() {
    let (bench, eddsa, rsa) = (workbench(), jwk(&key("eddsa.json")), jwk(&key("rs256.json")));
    for name in ["kid", "alg", "use", "key_ops", "x5c", "keys", "ciphertext", "nonsense"] {
        bench.tries(name, with(&eddsa, &json!({name: null})), Signs("EdDSA"));
    }
    bench.tries("crv of RSA", with(&rsa, &json!({"crv": null, "kid": null})), Signs("RS256"));
    bench.tries("kty", with(&eddsa, &json!({"kty": null})), Unreadable("\"kty\" is missing"));
    bench.tries("crv", with(&eddsa, &json!({"crv": null})), Cannot("\"crv\" is missing"));
}

#[test]
fn a_number_has_one_size_and_one_thumbprint_however_it_is_written() {
    let bench = workbench();
    for (name, members, lines) in [
        ("rs256.json", &["n", "e", "d", "p", "dp", "qi"][..], "RSA (2048 bits)"),
        ("es256.json", &["x", "y", "d"], "EC (P-256)"),
        ("es384.json", &["x"], "EC (P-384)"),
    ] {
        let plain = jwk(&key(name));
        let algorithm: &'static str = plain["alg"].as_str().unwrap().to_owned().leak();
        let [_, inspected, public] = look_at(&key(name));
        for zeros in [1, 3] {
            let padded = members.iter().map(|&n| (n.to_owned(), with_leading_zeros(&plain[n], zeros)));
            let text = with(&plain, &Value::Object(padded.collect()));
            bench.tries(name, &text, Signs(algorithm));
            let [_, inspected_again, public_again] = look_at(&bench.0.path("key.json"));
            assert_eq!(inspected_again.stdout, inspected.stdout);
            assert_eq!(public_again.stdout, public.stdout);
            assert!(inspected.stdout.contains(lines), "{inspected:?}");
        }
    }
    // An Ed25519 key is bytes, not a number.
    let eddsa = jwk(&key("eddsa.json"));
    let longer = with(&eddsa, &json!({"d": with_leading_zeros(&eddsa["d"], 1)}));
    bench.tries("Ed25519", longer, Cannot("\"d\" must have 32 bytes, not 33"));
}

#[test]
fn base64url_is_read_as_loosely_as_by_the_original() {
    let (bench, eddsa) = (workbench(), jwk(&key("eddsa.json")));
    let d = eddsa["d"].as_str().unwrap();
    // 43 characters hold 258 bits: the last two are stray.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(d.chars().last().unwrap()).unwrap();
    assert_eq!(last % 4, 0);
    for stray in 1..4 {
        let d = format!("{}{}", &d[..42], &alphabet[last + stray..=last + stray]);
        bench.tries("stray bits", with(&eddsa, &json!({"d": d})), Signs("EdDSA"));
    }
    bench.tries(
        "line breaks",
        with(&eddsa, &json!({"d": format!("{}\r\n{}\n", &d[..20], &d[20..])})),
        Signs("EdDSA"),
    );
    bench.tries("padding", with(&eddsa, &json!({"d": format!("{d}=")})), Signs("EdDSA"));
    for wrong in [format!("{d}!"), d.replace(&d[..1], " "), format!("{}+/", &d[..40]), d[..41].to_owned()] {
        bench.tries(&wrong, with(&eddsa, &json!({"d": wrong})), Cannot("\"d\" "));
    }
}

#[test]
fn ambiguous_keys_are_refused_by_name() {
    let bench = workbench();
    let text = fs::read_to_string(key("eddsa.json")).unwrap();
    let twice = |name: &str| text.replacen('{', &format!("{{\"{name}\":\"x\","), 1);
    bench.tries("kid", twice("kid"), Unreadable("member \"kid\" appears twice"));
    bench.tries("d", twice("d"), Unreadable("member \"d\" appears twice"));
    let unknown = text.replacen('{', "{\"note\":1,\"note\":2,", 1);
    bench.tries("note", unknown, Unreadable("member \"note\" appears twice"));
    let escaped = text.replacen('{', "{\"k\\u0069d\":\"x\",", 1);
    bench.tries("escaped", escaped, Unreadable("member \"kid\" appears twice"));
    bench.tries("list", format!("[{text}]"), Unreadable("expected one JSON object, found a list"));
    bench.tries("string", json!(text).to_string(), Unreadable("expected a JSON object, found a string"));
    bench.tries("number", "1", Unreadable("expected a JSON object, found a number"));
    bench.tries("negative number", "-1.5", Unreadable("expected a JSON object, found a number"));
    bench.tries("boolean", "true", Unreadable("expected a JSON object, found a boolean"));
    let eddsa = jwk(&key("eddsa.json"));
    bench.tries(
        "alg",
        with(&eddsa, &json!({"alg": ["EdDSA"]})),
        Unreadable("\"alg\" must be a string, not a list"),
    );
    bench.tries("d", with(&eddsa, &json!({"d": {}})), Unreadable("\"d\" must be a string, not an object"));
}

/// The original signs with all of these.
#[test]
fn members_that_are_not_read_may_be_anything() {
    let (bench, eddsa) = (workbench(), fs::read(key("eddsa.json")).unwrap());
    let deep = format!("\"deep\":{}{}", "[".repeat(1000), "]".repeat(1000));
    for member in [
        b"\"comment\":\"Schl\xfcssel\"",
        br#""comment":"\ud83d""#.as_slice(),
        deep.as_bytes(),
        br#""large":1e400"#,
        br#""keys":[]"#,
        br#""keys":{"d":1}"#,
        br#""ciphertext":"""#,
        br#""ciphertext":1"#,
    ] {
        let text = [b"{", member, b",", eddsa.trim_ascii().strip_prefix(b"{").unwrap()].concat();
        bench.tries(&String::from_utf8_lossy(member), text, Signs("EdDSA"));
    }
    let damaged = [b"{\"kid\":\"\xfc\",", &eddsa[1..]].concat();
    bench.tries("a member that is read", damaged, Unreadable("this is not UTF-8 text"));
}

/// As libsodium and TweetNaCl write it.
#[test]
fn an_ed25519_seed_may_be_followed_by_its_public_key() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (bench, eddsa) = (workbench(), jwk(&key("eddsa.json")));
    let part = |name: &str| URL_SAFE_NO_PAD.decode(eddsa[name].as_str().unwrap()).unwrap();
    let followed_by = |second: &str| {
        let both = URL_SAFE_NO_PAD.encode([part("d"), part(second)].concat());
        with(&eddsa, &json!({"d": both}))
    };
    bench.tries("its own", followed_by("x"), Signs("EdDSA"));
    bench.tries("another", followed_by("d"), Cannot("\"d\" must have 32 bytes, not 64"));
}

#[test]
fn a_key_for_another_use_does_not_sign() {
    let (bench, eddsa) = (workbench(), jwk(&key("eddsa.json")));
    for (ops, verdict) in [
        (json!(["verify"]), Cannot("its \"key_ops\" are \"verify\"; signing needs \"sign\"")),
        (json!(["encrypt", "wrapKey"]), Cannot("are \"encrypt\", \"wrapKey\"; signing needs")),
        (json!(["Sign"]), Cannot("are \"Sign\"; signing needs \"sign\"")),
        (json!(["verify", "sign"]), Signs("EdDSA")),
        (json!([]), Signs("EdDSA")),
        // RFC 7517, section 4.3, wants a list.
        (json!("verify"), Cannot("its \"key_ops\" are \"verify\"; signing needs \"sign\"")),
        (json!("sign"), Signs("EdDSA")),
        (json!({}), Signs("EdDSA")),
    ] {
        bench.tries(&ops.to_string(), with(&eddsa, &json!({"key_ops": ops})), verdict);
    }
    bench.tries("use", with(&eddsa, &json!({"use": "SIG"})), Cannot("its \"use\" is \"SIG\""));
}

#[test]
fn traces_of_windows_editors_are_skipped_or_named() {
    let bench = workbench();
    let text = fs::read_to_string(key("eddsa.json")).unwrap();
    bench.tries("byte order mark", format!("\u{feff}{text}"), Signs("EdDSA"));
    bench.tries("and CRLF", format!("\u{feff}\r\n{}\r\n", text.replace(',', ",\r\n")), Signs("EdDSA"));
    let utf16 = |big: bool| -> Vec<u8> {
        let unit = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(unit).collect()
    };
    for big in [false, true] {
        bench.tries("without a mark", utf16(big), Unreadable("this is UTF-16 text; convert it to UTF-8"));
        let mark = if big { [0xfe, 0xff] } else { [0xff, 0xfe] };
        bench.tries("with a mark", [&mark[..], &utf16(big)].concat(), Unreadable("this is UTF-16 text"));
    }
    bench.tries(
        "Latin-1",
        [text.as_bytes(), b"\xe9"].concat(),
        Unreadable("this is not UTF-8 text, so it cannot be a JWK"),
    );
    bench.tries(
        "DER",
        b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\xff",
        Unreadable("this is not UTF-8 text, so it cannot be a JWK"),
    );
    // In the variable, too.
    for text in [format!("\u{feff}{text}"), format!("\u{feff} {text}")] {
        run(token().env("MONITORING_SIGNER_KEY", text).args(["-exchange=false", "true"])).succeeded();
    }
}

#[test]
fn token_files_from_windows_are_read_too() {
    let folder = Folder::new();
    let file = folder.path("token");
    let list = |text: &[u8]| {
        fs::write(&file, text).unwrap();
        // There is no listener: if the token was read, the run tries to connect.
        let arguments = ["gafaelfawr", "list", "--username=bot-x", "--retries=0", "--url=http://127.0.0.1:1"];
        run(token().args(arguments).arg("--admin-token-file").arg(&file))
    };
    for text in [&b"\xef\xbb\xbfgt-abc.def\r\n"[..], b"gt-abc.def\r\n", b"\xef\xbb\xbf\r\ngt-abc.def"] {
        list(text).failed_with(125, &["cannot connect"]);
    }
    let utf16: Vec<u8> = "gt-abc.def".encode_utf16().flat_map(u16::to_le_bytes).collect();
    list(&utf16).failed_with(125, &["token", "UTF-16"]);
    list(&[&b"\xff\xfe"[..], &utf16].concat()).failed_with(125, &["token", "UTF-16"]);
    list(b"gt-\xe9.x").failed_with(125, &["token", "is not text"]);
}

#[test]
fn inspect_says_which_locate_accepts_the_algorithm() {
    for (name, algorithm) in [("rs384", "RS384"), ("ps256", "PS256"), ("ps512", "PS512"), ("es384", "ES384")]
    {
        let path = testdata("original/keys").join(format!("{name}.json"));
        let inspected = run(token().args(["key", "inspect"]).arg(&path));
        let expected = format!(
            "yes, but Locate v0.19.2 rejects {algorithm} (it accepts EdDSA, ES256 and RS256); v0.17.6 accepts it"
        );
        assert!(inspected.succeeded().stdout.contains(&expected), "{inspected:?}");
        holds_no_private_part(&inspected.stdout, &jwk(&path));
        let check = run(token().env("MONITORING_SIGNER_KEY", &path).args(["check", "-exchange=false"]));
        let told = format!("Locate v0.19.2 rejects {algorithm}");
        assert!(check.succeeded().stdout.contains(&told), "{check:?}");
    }
    for name in ["ed25519", "es256", "rs256"] {
        let path = testdata("original/keys").join(format!("{name}.json"));
        let inspected = run(token().args(["key", "inspect"]).arg(&path));
        assert!(inspected.succeeded().stdout.contains("signs:       yes\n"), "{inspected:?}");
    }
}
