//! Replays the requests that were recorded with two versions of Locate (`testdata/locate/cases.jsonl`; its README
//! describes the members), each with newly signed tokens.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Map, Value, json};

use crate::support::{Response, Sandbox, program};

const KEY_ID: &str = "replay";
const SUBJECT: &str = "mlab1-lga0t.mlab-sandbox.measurement-lab.org";

/// Deliberate differences of the sandbox, and its status.
const DIFFERENT: [(&str, u16); 1] = [("header-origin", 403)];

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A JWK of `testdata/keys`, and its members as bytes.
fn jwk(name: &str) -> (Value, impl Fn(&str) -> Vec<u8>) {
    let jwk: Value = serde_json::from_slice(&std::fs::read(testdata("keys").join(name)).unwrap()).unwrap();
    let members = jwk.clone();
    (jwk, move |name| URL_SAFE_NO_PAD.decode(members[name].as_str().unwrap()).unwrap())
}

fn rsa_key() -> RsaKeyPair {
    let (_, part) = jwk("rs256.json");
    let key = RsaKeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: part("n"), e: part("e") },
        d: part("d"),
        p: part("p"),
        q: part("q"),
        dP: part("dp"),
        dQ: part("dq"),
        qInv: part("qi"),
    });
    key.unwrap()
}

/// The keys that sign the requests.
struct Keys {
    monitoring: Ed25519KeyPair,
    other: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Keys {
    fn new() -> Keys {
        let rsa = rsa_key();
        let ed25519 = |seed| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Keys { monitoring: ed25519(1), other: ed25519(2), rsa }
    }

    fn public_x(&self) -> String {
        encode(self.monitoring.public_key())
    }

    fn public_jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": self.public_x(), "kid": KEY_ID, "alg": "EdDSA"})
    }

    fn valid_token(&self) -> String {
        let claims = json!({"iss": "monitoring", "sub": SUBJECT, "aud": ["locate"], "exp": 60});
        let header = json!({"alg": "EdDSA", "kid": "{KID}"});
        self.token(&json!({"claims": claims, "header": header, "key": "monitoring"}))
    }

    /// Signs a token as described in the recording.
    fn token(&self, token: &Value) -> String {
        if let Some(text) = token["text"].as_str() {
            return text.to_owned();
        }
        let claims = match token["text_claims"].as_str() {
            Some(text) => text.to_owned(),
            None => encode(claims_now(&token["claims"]).to_string()),
        };
        let header = token["header"].to_string().replace("{KID}", KEY_ID);
        let message = format!("{}.{claims}", encode(header));
        let ed25519 = |pair: &Ed25519KeyPair| encode(pair.sign(message.as_bytes()));
        let signature = match token["key"].as_str() {
            None | Some("monitoring") => ed25519(&self.monitoring),
            Some("other") => ed25519(&self.other),
            Some("none") => String::new(),
            Some("hs256") => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.public_x().as_bytes());
                encode(hmac::sign(&key, message.as_bytes()))
            }
            Some("rsa") => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let random = SystemRandom::new();
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                encode(signature)
            }
            Some("tampered") => {
                let mut tampered = claims_now(&token["claims"]);
                tampered["sub"] = "mlab2-lga0t.mlab-sandbox.measurement-lab.org".into();
                let (head, _) = message.split_once('.').unwrap();
                return format!("{head}.{}.{}", encode(tampered.to_string()), ed25519(&self.monitoring));
            }
            Some("cut") => {
                let signature = ed25519(&self.monitoring);
                signature[..signature.len() - 10].to_owned()
            }
            Some("padded") => ed25519(&self.monitoring) + "==",
            Some(other) => panic!("unknown key {other:?}"),
        };
        format!("{message}.{signature}")
    }
}

/// Times are seconds from now; text that begins with `=` is an absolute number.
fn claims_now(claims: &Value) -> Value {
    let mut claims: Map<String, Value> = claims.as_object().unwrap().clone();
    for name in ["exp", "nbf", "iat"] {
        let Some(time) = claims.get_mut(name) else { continue };
        let moved = match &*time {
            Value::Number(offset) if offset.is_f64() => {
                #[expect(clippy::cast_precision_loss, reason = "seconds")]
                let moved = now().as_secs() as f64 + offset.as_f64().unwrap();
                json!(moved)
            }
            Value::Number(offset) => {
                json!(i64::try_from(now().as_secs()).unwrap() + offset.as_i64().unwrap())
            }
            Value::String(text) if text.starts_with('=') => json!(text[1..].parse::<i64>().unwrap()),
            other => other.clone(),
        };
        *time = moved;
    }
    claims.into()
}

/// Sends a recorded request; also returns its first token.
fn send(sandbox: &Sandbox, keys: &Keys, request: &Value) -> (Response, String) {
    let tokens: Vec<String> = request["tokens"].as_array().unwrap().iter().map(|t| keys.token(t)).collect();
    let mut query: Vec<String> = tokens.iter().map(|token| format!("access_token={token}")).collect();
    match request["query"].as_str().map(|query| query.strip_prefix('!').ok_or(query)) {
        Some(Ok(first)) => query.insert(0, first.to_owned()),
        Some(Err(last)) => query.push(last.to_owned()),
        None => {}
    }
    let mut target = request["path"].as_str().unwrap().to_owned();
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let no_headers = Map::new();
    let given = request["headers"].as_object().unwrap_or(&no_headers);
    let given: Vec<(&str, String)> = given
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap().replace("{TOKEN}", &keys.valid_token())))
        .collect();
    let (body, sent): (Vec<_>, Vec<_>) = given.iter().partition(|(name, _)| *name == "X-Body");
    let body = body.first().map_or("", |(_, body)| body);
    let mut headers: Vec<(&str, &str)> = vec![("Host", sandbox.address())];
    headers.extend(sent.iter().map(|(name, value)| (*name, value.as_str())));
    let method = request["method"].as_str().unwrap();
    (sandbox.ask(method, &target, &headers, body.as_bytes()), tokens.first().cloned().unwrap_or_default())
}

/// A recorded URL with this sandbox as the machine, and without TLS.
fn on_sandbox(url: &str, sandbox: &Sandbox) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = match scheme {
        "wss" => "ws",
        "https" => "http",
        scheme => scheme,
    };
    format!("{scheme}://{}{}", sandbox.address(), &rest[rest.find('/').unwrap()..])
}

/// Replaces the recording's placeholders in a response with an access token.
fn with_placeholders(body: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap();
    let token = body["access_token"].as_str().unwrap_or_default().to_owned();
    if token.is_empty() {
        return body;
    }
    body = serde_json::from_str(&body.to_string().replace(&token, "{ACCESS_TOKEN}")).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let (mut header, mut claims) = (decoded(parts[0]), decoded(parts[1]));
    assert!(header["kid"].is_string());
    header["kid"] = "{LOCATE_KID}".into();
    let id = claims["jti"].as_str().unwrap();
    assert!(id.len() == 36 && id.split('-').count() == 5, "not a UUID: {id}");
    claims["jti"] = "{UUID}".into();
    let exp = claims.as_object_mut().unwrap().remove("exp").unwrap().as_u64().unwrap();
    // The response is only seconds old.
    let left = exp - now().as_secs();
    claims["exp_minus_now"] = if (50..=60).contains(&left) { 60 } else { left }.into();
    body["access_token"] = json!({"header": header, "claims": claims});
    if body["results"] == json!([body["target"]]) {
        body["results"] = "[target]".into();
    }
    body
}

/// The recorded response of this version, with the sandbox's URLs.
fn expected(case: &Value, version: &str, sandbox: &Sandbox, jwt: &str) -> Value {
    let same = case[version] == "same";
    let mut expected = if same { case["v0.17.6"].clone() } else { case[version].clone() };
    expected = serde_json::from_str(&expected.to_string().replace("{JWT}", jwt)).unwrap();
    let body = &mut expected["body"];
    if let Some(urls) = body.pointer_mut("/target/urls").and_then(Value::as_object_mut) {
        for url in urls.values_mut() {
            *url = on_sandbox(url.as_str().unwrap(), sandbox).into();
        }
        let audience = &mut body["access_token"]["claims"]["aud"];
        if same {
            *audience = audience[0].take();
        }
    }
    expected
}

fn differs(case: &Value, version: &str, sandbox: &Sandbox, keys: &Keys) -> Option<String> {
    let (response, jwt) = send(sandbox, keys, &case["request"]);
    let name = case["case"].as_str().unwrap();
    if let Some((_, status)) = DIFFERENT.iter().find(|(different, _)| *different == name) {
        return (response.status != *status).then(|| format!("{name}: {response:?}"));
    }
    let expected = expected(case, version, sandbox, &jwt);
    let body = match &expected["body"] {
        Value::String(_) => Value::from(response.body.as_str()),
        _ => with_placeholders(&response.body),
    };
    let ours = json!({"status": response.status, "headers": response.headers, "body": body});
    (ours != expected).then(|| format!("{name}:\n  sandbox {ours}\n  locate  {expected}"))
}

fn replay(flags: &[&str], version: &str) {
    let keys = Keys::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pub");
    std::fs::write(&file, keys.public_jwk().to_string()).unwrap();
    let sandbox = Sandbox::start(program().arg("--verify-key").arg(&file).args(flags));
    let cases = std::fs::read_to_string(testdata("locate/cases.jsonl")).unwrap();
    let cases: Vec<Value> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 165);
    let mut different = Vec::new();
    for case in &cases {
        // A time one second ahead may be reached before a busy machine sends the request.
        let mut difference = differs(case, version, &sandbox, &keys);
        for _ in 0..5 {
            if difference.is_none() || !case["case"].as_str().unwrap().contains("-future-") {
                break;
            }
            sleep(Duration::from_nanos(u64::from(1_000_000_000 - now().subsec_nanos())));
            difference = differs(case, version, &sandbox, &keys);
        }
        different.extend(difference);
    }
    assert!(
        different.is_empty(),
        "{} of 165 differ from Locate {version}:\n{}",
        different.len(),
        different.join("\n")
    );
}

#[test]
fn every_recorded_request_gets_the_response_of_locate_0_17() {
    replay(&["--locate-version=0.17"], "v0.17.6");
}

#[test]
fn every_recorded_request_gets_the_response_of_locate_0_19_by_default() {
    replay(&[], "v0.19.2");
    replay(&["--locate-version=0.19"], "v0.19.2");
}

/// Signs with a key of `testdata/keys`.
fn signed(algorithm: &str, name: &str) -> String {
    let (jwk, part) = jwk(name);
    let header = json!({"alg": algorithm, "kid": jwk["kid"]});
    let claims = json!({"iss": "monitoring", "sub": SUBJECT, "aud": "locate", "exp": now().as_secs() + 60});
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let random = SystemRandom::new();
    let ecdsa = |curve: &'static EcdsaSigningAlgorithm| {
        let point = [vec![4], part("x"), part("y")].concat();
        let key = EcdsaKeyPair::from_private_key_and_public_key(curve, &part("d"), &point, &random).unwrap();
        encode(key.sign(&random, message.as_bytes()).unwrap())
    };
    let rsa = |padding: &'static dyn RsaEncoding| {
        let key = rsa_key();
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
        encode(signature)
    };
    let signature = match algorithm {
        "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES384" => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "PS384" => rsa(&RSA_PSS_SHA384),
        "PS512" => rsa(&RSA_PSS_SHA512),
        other => panic!("{other}"),
    };
    format!("{message}.{signature}")
}

/// Locate v0.19 accepts three algorithms; v0.17, every one that fits the key.
#[test]
fn each_version_accepts_its_own_algorithms() {
    let public =
        ["es256.json.pub", "es384.json.pub", "rs256.json.pub"].map(|name| testdata("keys").join(name));
    for (version, only) in [("0.17", None), ("0.19", Some(["ES256", "RS256"]))] {
        let mut command = program();
        command.arg("--locate-version").arg(version);
        for key in &public {
            command.arg("--verify-key").arg(key);
        }
        let sandbox = Sandbox::start(&mut command);
        for (algorithm, key) in [
            ("ES256", "es256.json"),
            ("ES384", "es384.json"),
            ("RS256", "rs256.json"),
            ("RS384", "rs256.json"),
            ("RS512", "rs256.json"),
            ("PS256", "rs256.json"),
            ("PS384", "rs256.json"),
            ("PS512", "rs256.json"),
        ] {
            let path = format!("/v2/platform/monitoring/ndt/ndt7?access_token={}", signed(algorithm, key));
            let accepted = only.is_none_or(|only| only.contains(&algorithm));
            let expected = if accepted { 200 } else { 401 };
            assert_eq!(sandbox.request("GET", &path, b"").status, expected, "{algorithm}, Locate {version}");
        }
    }
}
