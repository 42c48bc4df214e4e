//! The server: its state, its address, and the dispatch to services.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::fault::{self, Fault, Faults};
use crate::http::{MAX_REQUEST_BYTES, Request};
use crate::jwt::{Signer, VerifyKeys};
use crate::locate::{self, Locate};
use crate::requests::{self, Requests};
use crate::{gafaelfawr, guard, stackstate, target};

const MACHINE: &str = "mlab1-lga0t.mlab-sandbox.measurement-lab.org";

/// The command line.
#[derive(Default)]
pub struct Options {
    /// Port on 127.0.0.1; 0 for a free one.
    pub port: u16,
    /// Files with public JWKs that may sign monitoring requests.
    pub verify_keys: Vec<PathBuf>,
    /// The version of Locate.
    pub locate_version: locate::Version,
    /// The initial fault, as JSON.
    pub fault: Option<String>,
}

struct Sandbox {
    locate: Locate,
    target: target::Target,
    gafaelfawr: gafaelfawr::Environment,
    stackstate: stackstate::Installation,
    faults: Faults,
    requests: Requests,
}

/// A listening sandbox. Its temporary key is removed with this value.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    sandbox: Arc<Sandbox>,
    key: Key,
}

/// A key for users who have none.
struct Key {
    folder: TempDir,
    signer: Signer,
}

impl Key {
    fn generate() -> Result<Key, String> {
        let signer = Signer::generate("sandbox")?;
        let folder = tempfile::Builder::new().prefix("monitoring-sandbox-").tempdir();
        let key = Key { folder: folder.map_err(|error| error.to_string())?, signer };
        let path = key.path();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| writeln!(file, "{}", key.signer.private_jwk))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(key)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("jwk_sig_EdDSA_sandbox")
    }
}

fn verify_keys(paths: &[PathBuf], own: &Signer) -> Result<VerifyKeys, String> {
    let mut keys = VerifyKeys::default();
    for path in paths {
        let add = |path: &Path, keys: &mut VerifyKeys| -> Result<(), String> {
            let text = std::fs::read(path).map_err(|error| error.to_string())?;
            keys.add(&serde_json::from_slice(&text).map_err(|error| error.to_string())?)
        };
        add(path, &mut keys).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    keys.add(&own.public_jwk)?;
    Ok(keys)
}

impl Server {
    /// Listens on 127.0.0.1, with fresh keys and credentials.
    ///
    /// # Errors
    /// Says which key or fault is invalid, or that the port is in use.
    pub async fn listen(options: Options) -> Result<Server, String> {
        let key = Key::generate()?;
        let monitoring_keys = verify_keys(&options.verify_keys, &key.signer)?;
        let fault = match &options.fault {
            Some(json) => serde_json::from_str::<Fault>(json).map_err(|error| format!("--fault: {error}"))?,
            None => Fault::default(),
        };
        let port = options.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let locate_signer = Signer::generate("sandbox-locate")?;
        let sandbox = Arc::new(Sandbox {
            target: target::Target::new(&locate_signer.public_jwk)?,
            locate: Locate {
                version: options.locate_version,
                address,
                monitoring_keys,
                signer: locate_signer,
            },
            gafaelfawr: gafaelfawr::Environment::new(address.ip())?,
            stackstate: stackstate::Installation::new()?,
            faults: Faults::new(fault),
            requests: Requests::default(),
        });
        Ok(Server { listener, address, sandbox, key })
    }

    /// The variables for clients, as shell commands. `SANDBOX_URL` is the last one, so a reader that has seen it can
    /// begin.
    ///
    /// # Errors
    /// A value that cannot be quoted for a shell.
    pub fn exports(&self) -> Result<String, String> {
        let url = format!("http://{}", self.address);
        let key = self.key.path();
        let key = key.to_str().ok_or_else(|| format!("{} is not valid UTF-8", key.display()))?;
        let variables = [
            ("LOCATE_URL", format!("{url}{}", locate::PATH)),
            ("MONITORING_SIGNER_KEY", key.to_owned()),
            ("MACHINE", MACHINE.to_owned()),
            ("GAFAELFAWR_URL", url.clone()),
            ("GAFAELFAWR_ADMIN_TOKEN", self.sandbox.gafaelfawr.admin_token().to_owned()),
            ("STS_CLI_URL", url.clone()),
            ("STS_CLI_API_TOKEN", self.sandbox.stackstate.api_token().to_owned()),
            ("SANDBOX_URL", url),
        ];
        let mut lines = String::new();
        for (name, value) in variables {
            let value = shlex::try_quote(&value).map_err(|error| format!("{name}: {error}"))?;
            lines.push_str(&format!("export {name}={value}\n"));
        }
        Ok(lines)
    }

    /// Serves until `end` is ready.
    ///
    /// # Errors
    /// Serving failed.
    pub async fn serve_until(self, end: impl Future<Output = ()>) -> Result<(), String> {
        let router = Router::new().fallback(respond).with_state(self.sandbox);
        tokio::select! {
            served = axum::serve(self.listener, router) => served.map_err(|error| error.to_string()),
            () = end => Ok(()),
        }
    }
}

async fn respond(State(sandbox): State<Arc<Sandbox>>, request: axum::extract::Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Some(why) = guard::refusal(&parts.uri, &parts.headers) {
        crate::log::rejected("a request", &why);
        return (StatusCode::FORBIDDEN, format!("monitoring-sandbox rejects this request: {why}\n"))
            .into_response();
    }
    let Ok(body) = to_bytes(body, MAX_REQUEST_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request = Request { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    match request.uri.path() {
        fault::PATH => return sandbox.faults.change(&request),
        requests::PATH => return sandbox.requests.show(),
        gafaelfawr::CONTROL => return sandbox.gafaelfawr.control(&request),
        stackstate::CONTROL => return sandbox.stackstate.control(),
        _ => {}
    }
    let path = request.uri.path();
    let recorded = gafaelfawr::is_path(path) || path.starts_with(stackstate::PATH);
    let number = recorded.then(|| sandbox.requests.begin(&request));
    let fault = sandbox.faults.take(&request);
    let (before, after) = if fault.after { (None, Some(fault)) } else { (Some(fault), None) };
    if let Some(fault) = before
        && let Some(response) = fault.apply().await
    {
        return response;
    }
    let mut response = sandbox.route(&request).await;
    if let Some(number) = number {
        response = sandbox.requests.end(number, response).await;
    }
    match after {
        Some(fault) => fault.apply().await.unwrap_or(response),
        None => response,
    }
}

impl Sandbox {
    async fn route(&self, request: &Request) -> Response<Body> {
        let path = request.uri.path();
        if locate::is_path(path) {
            self.locate.respond(request)
        } else if target::is_path(path) {
            self.target.respond(request)
        } else if gafaelfawr::is_path(path) {
            self.gafaelfawr.respond(request).await
        } else if path.starts_with(stackstate::PATH) {
            self.stackstate.respond(request)
        } else {
            locate::not_found()
        }
    }
}
