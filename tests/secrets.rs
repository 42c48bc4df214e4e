//! Keys and tokens are only where they belong.

mod echo;
mod lines;
mod mask;
mod memory;
mod output;
mod scrub;
mod shown;
mod stream;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};

use crate::support::job::Folder;
use crate::support::{http, read_head, run, serve, testdata, token};

/// A private key made for this test, and the parts that must not be shown.
struct Key {
    /// Where the file is.
    path: PathBuf,
    /// The JWK.
    jwk: String,
    members: serde_json::Map<String, serde_json::Value>,
    _folder: Folder,
}

impl Key {
    fn make(algorithm: &str) -> Key {
        let folder = Folder::new();
        let path = folder.path("key");
        if algorithm == "RS256" {
            // Generating an RSA key takes a random time, too long for a busy machine.
            std::fs::copy(testdata("keys/rs256.json"), &path).unwrap();
        } else {
            run(token().args(["key", "generate", "--alg", algorithm, "--out"]).arg(&path)).succeeded();
        }
        let jwk = std::fs::read_to_string(&path).unwrap();
        let members = serde_json::from_str(&jwk).unwrap();
        Key { path, jwk, members, _folder: folder }
    }

    /// The private members, as base64url text.
    fn private(&self) -> Vec<&str> {
        let names = ["d", "p", "q", "dp", "dq", "qi"];
        names.iter().filter_map(|&name| self.members.get(name)?.as_str()).collect()
    }
}

const ACCESS_TOKEN: &str =
    "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJsb2NhdGUifQ.c2lnbmF0dXJlLW9mLWFuLWFjY2Vzcy10b2tlbg";
/// Its secret part.
const ACCESS_SIGNATURE: &str = "c2lnbmF0dXJlLW9mLWFuLWFjY2Vzcy10b2tlbg";

/// A Locate that reports each token it gets, and responds with a text made from that token.
struct Locate {
    address: SocketAddr,
    tokens: Receiver<String>,
}

impl Locate {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Locate {
        let (tell, tokens) = mpsc::channel();
        let address = serve(move |mut stream| {
            let head = read_head(&mut stream);
            let token = head.split("access_token=").nth(1).unwrap_or_default();
            let token = token.split([' ', '&']).next().unwrap_or_default();
            // First, so that it is known when the run has ended.
            let _ = tell.send(token.to_owned());
            let _ = stream.write_all(answer(token).as_bytes());
        });
        Locate { address, tokens }
    }

    /// Responds with a service URL that holds [`ACCESS_TOKEN`].
    fn that_grants() -> Locate {
        Locate::start(|_| granted())
    }

    fn url(&self) -> String {
        format!("http://{}/v2/platform/monitoring/", self.address)
    }

    /// The signatures of the tokens so far.
    fn signatures(&self) -> Vec<String> {
        self.tokens.try_iter().filter_map(|token| Some(token.rsplit_once('.')?.1.to_owned())).collect()
    }
}

fn granted() -> String {
    let url = format!("wss://127.0.0.1/ndt/v7/download?access_token={ACCESS_TOKEN}");
    http("200 OK", "", &serde_json::json!({"target": {"urls": {"wss:///ndt/v7/download": url}}}).to_string())
}
