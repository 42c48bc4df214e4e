//! StackState's API as `testdata/stackstate/openapi.yaml` describes it: a mock server made from that by Prism,
//! which refuses every request that does not fit.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::support::{Ended, eventually, run, testdata, token};
use crate::{Check, Found, Peers};

pub const CHECKS: &[Check] = &[
    Check {
        peer: "Prism v5.16.0",
        claim: "stackstate create is a request as described, its answer parses",
        run: create,
    },
    Check {
        peer: "Prism v5.16.0",
        claim: "stackstate list is a request as described, its answer parses",
        run: list,
    },
    Check { peer: "Prism v5.16.0", claim: "stackstate delete is a request as described", run: delete },
    Check {
        peer: "Prism v5.16.0",
        claim: "stackstate exec runs the command with a token of the mock",
        run: exec,
    },
    Check {
        peer: "Prism v5.16.0",
        claim: "check stackstate is requests as described, its answers parse",
        run: check,
    },
];

/// A running mock; ends with the value.
struct Prism {
    child: Child,
    port: u16,
}

impl Prism {
    fn start(peers: &Peers) -> Result<Prism, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|error| error.to_string())?.port();
        let child = Command::new(peers.folder.join("npm/node_modules/.bin/prism"))
            .args(["mock", "--errors", "-h", "127.0.0.1", "-p", &port.to_string()])
            .arg(testdata("stackstate/openapi.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("Prism does not start: {error}"))?;
        let prism = Prism { child, port };
        eventually("Prism", || TcpStream::connect(("127.0.0.1", port)).ok());
        Ok(prism)
    }

    /// Runs `stackstate` against the mock.
    fn stackstate(&self, args: &[&str]) -> Ended {
        self.token(&[&["stackstate"], args].concat())
    }

    /// Runs the program with the mock for its server.
    fn token(&self, args: &[&str]) -> Ended {
        let url = format!("http://127.0.0.1:{}", self.port);
        // The description has no base path.
        let env =
            [("STS_CLI_URL", url.as_str()), ("STS_CLI_API_PATH", "/"), ("STS_CLI_API_TOKEN", "interop")];
        run(token().envs(env).args(args))
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn succeeds(ended: &Ended, words: &str) -> Found {
    if ended.status == 0 && ended.stdout.contains(words) {
        Ok(String::new())
    } else {
        Err(format!("{ended:?}"))
    }
}

fn create(peers: &Peers) -> Found {
    let prism = Prism::start(peers)?;
    let all = [
        "create",
        "--name",
        "interop",
        "--roles",
        "a,b",
        "--expiration",
        "2040-01-31",
        "--dedicated-subject",
        "s",
    ];
    succeeds(&prism.stackstate(&all), "Service token created: ")?;
    succeeds(
        &prism.stackstate(&["create", "-n", "interop", "--roles", "a", "-o", "json"]),
        "\"service-token\"",
    )
}

fn list(peers: &Peers) -> Found {
    let prism = Prism::start(peers)?;
    succeeds(&prism.stackstate(&["list"]), "ID")?;
    succeeds(&prism.stackstate(&["list", "-o", "json"]), "\"service-tokens\"")
}

fn delete(peers: &Peers) -> Found {
    let prism = Prism::start(peers)?;
    succeeds(&prism.stackstate(&["delete", "7863864384244841"]), "Service token deleted: 7863864384244841")
}

fn exec(peers: &Peers) -> Found {
    let prism = Prism::start(peers)?;
    let script = "test -n \"$SERVICE_TOKEN\" && echo ran with it";
    let ended = prism.stackstate(&["exec", "--roles", "a", "-output=inherit", "--", "sh", "-c", script]);
    // The mock keeps nothing, so that the token is not in its list: the warning says so.
    if ended.stderr.lines().count() > 1 || (!ended.stderr.is_empty() && !ended.stderr.contains("warning")) {
        return Err(format!("{ended:?}"));
    }
    succeeds(&ended, "ran with it")
}

fn check(peers: &Peers) -> Found {
    let prism = Prism::start(peers)?;
    let ended = prism.token(&["check", "stackstate", "exec", "--roles", "a", "--json", "--", "true"]);
    succeeds(&ended, &format!("StackState at http://127.0.0.1:{}: 0.0.0", prism.port))
}
