//! StackState's API as in `testdata/stackstate/openapi.yaml`: a mock server made from it by Prism, which refuses every
//! request that does not fit. And the values of `bootstrap`, passed to a chart by Helm.

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
    Check { peer: "Helm v3.18.6", claim: "a chart reads the values of stackstate bootstrap", run: bootstrap },
    Check {
        peer: "Helm v3.18.6",
        claim: "a chart takes the token from the Secret that bootstrap prints",
        run: bootstrap_external,
    },
];

/// A running mock, stopped when dropped.
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
    // The mock keeps nothing, so the token is not in its list, and there is a warning.
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

/// The output of `helm template` for `testdata/stackstate/chart` with these values.
fn template(peers: &Peers, values: &str) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    std::fs::write(file.path(), values).map_err(|error| error.to_string())?;
    let output = Command::new(peers.program("helm"))
        .args(["template", "release"])
        .arg(testdata("stackstate/chart"))
        .arg("--values")
        .arg(file.path())
        .output()
        .map_err(|error| format!("Helm does not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn has_all(text: &str, pieces: &[&str]) -> Found {
    match pieces.iter().find(|piece| !text.contains(*piece)) {
        None => Ok(String::new()),
        Some(missing) => Err(format!("{missing:?} is missing from {text}")),
    }
}

fn bootstrap(peers: &Peers) -> Found {
    let roles = "a,team:admin,null";
    let flags = ["bootstrap", "--roles", roles, "--ttl", "1h30m", "--dedicated-subject", "ci"];
    let values = run(token().arg("stackstate").args(flags)).stdout;
    let printed =
        values.split('"').find(|piece| piece.starts_with("svctok-")).ok_or("no token is printed")?;
    let token_line = format!("bootstrap_token: \"{printed}\"");
    let roles = r#"roles = [a,"team:admin","null"]"#;
    has_all(&template(peers, &values)?, &[&token_line, "secret: own", roles, "ttl = 90m", "subject = ci"])?;
    // The older spelling is silently ignored, and so is a missing value.
    let ignored = template(peers, &values.replace("serviceToken", "servicetoken"))?;
    if ignored.contains("roles =") {
        Err(format!("servicetoken is read: {ignored}"))
    } else {
        Ok(String::new())
    }
}

fn bootstrap_external(peers: &Peers) -> Found {
    let flags = ["bootstrap", "--roles=a", "--external-secret=sts-auth", "--print=values"];
    let values = run(token().arg("stackstate").args(flags)).stdout;
    let made = template(peers, &values)?;
    has_all(&made, &["secret: sts-auth", "roles = [a]", "ttl = 24h"])?;
    if made.contains("kind: Secret") {
        Err(format!("the chart makes a Secret: {made}"))
    } else {
        Ok(String::new())
    }
}
