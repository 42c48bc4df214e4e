//! Access to the sandbox, its memory limits, and its output.

use std::fs;
use std::process::Command;

use crate::support::{Sandbox, program};

fn start() -> Sandbox {
    Sandbox::start(&mut program())
}

#[test]
fn a_web_page_cannot_use_the_sandbox() {
    let sandbox = start();
    let paths = [
        "/v2/platform/monitoring/ndt/ndt7",
        "/auth/api/v1/token-info",
        "/api/security/tokens",
        "/sandbox/gafaelfawr",
        "/sandbox/requests",
        "/sandbox/fault",
        "/nothing",
    ];
    let own = sandbox.address().to_owned();
    for path in paths {
        for headers in [
            &[("Host", "evil.example")][..],
            &[("Host", "127.0.0.1.evil.example:80")],
            &[("Host", "192.0.2.1")],
            &[("Host", "")],
            &[("Host", &own), ("Origin", "http://evil.example")],
            &[("Host", &own), ("Origin", "null")],
            &[("Host", &own), ("Origin", &format!("http://{own}"))],
        ] {
            for method in ["GET", "POST", "OPTIONS"] {
                let response = sandbox.ask(method, path, headers, b"");
                assert_eq!(response.status, 403, "{method} {path} {headers:?}: {response:?}");
                assert!(!response.body.contains("gt-"), "{response:?}");
            }
        }
        for host in [own.as_str(), "localhost", "localhost:1", "x.localhost:80", "[::1]:80", "127.1.2.3"] {
            assert_ne!(sandbox.ask("GET", path, &[("Host", host)], b"").status, 403, "{host} {path}");
        }
    }
    // The host in the request line is checked, too.
    let target = "http://evil.example/sandbox/gafaelfawr";
    assert_eq!(sandbox.ask("GET", target, &[("Host", &own)], b"").status, 403);
}

/// The resident memory of a process, in KiB.
fn resident(sandbox: &Sandbox) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", sandbox.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn the_request_log_is_bounded_by_bytes() {
    let sandbox = start();
    // Small as text, large as parsed JSON.
    let body = format!("[{}0]", "0,".repeat(500_000));
    for _ in 0..12 {
        sandbox.request("POST", "/api/security/tokens", body.as_bytes());
    }
    assert!(resident(&sandbox) < 64 * 1024, "{} KiB", resident(&sandbox));
    sandbox.request("GET", "/api/last", b"");
    let shown = sandbox.request("GET", "/sandbox/requests", b"").body;
    assert!(shown.len() < 9 * 1024 * 1024, "{}", shown.len());
    let requests: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
    assert_eq!(requests.last().unwrap()["path"], "/api/last");
    assert!(requests.len() > 1, "older requests are kept as long as they fit");
}

#[test]
fn the_token_store_is_bounded_by_bytes() {
    let sandbox = start();
    let token = |name: &str| {
        let line = sandbox.exports.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap().to_owned()
    };
    let (api_token, admin_token) = (token("STS_CLI_API_TOKEN"), token("GAFAELFAWR_ADMIN_TOKEN"));
    let name = "x".repeat(900_000);
    let stackstate = format!(r#"{{"name":"{name}","roles":[]}}"#);
    let gafaelfawr = format!(
        r#"{{"username":"bot-a","token_type":"service","token_name":"{name}","scopes":["read:all"]}}"#
    );
    for (path, header, value, body, refused) in [
        ("/api/security/tokens", "X-API-Token", api_token, stackstate, 507),
        ("/auth/api/v1/tokens", "Authorization", format!("bearer {admin_token}"), gafaelfawr, 500),
    ] {
        let headers =
            [("Host", sandbox.address()), ("Content-Type", "application/json"), (header, value.as_str())];
        let statuses: Vec<u16> =
            (0..12).map(|_| sandbox.ask("POST", path, &headers, body.as_bytes()).status).collect();
        assert!(statuses[..8].iter().all(|status| [200, 201].contains(status)), "{path}: {statuses:?}");
        assert!(statuses[9..].iter().all(|&status| status == refused), "{path}: {statuses:?}");
    }
}

#[test]
fn a_shell_reads_the_variables_as_they_are_meant() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("it's $(touch nothing); `id` \"x\" *");
    fs::create_dir(&odd).unwrap();
    let sandbox = Sandbox::start(program().env("TMPDIR", &odd));
    let script = format!("{}\ncat \"$MONITORING_SIGNER_KEY\"", sandbox.exports);
    let shell = Command::new("sh").args(["-eu", "-c", &script]).current_dir(&folder).output().unwrap();
    assert!(shell.status.success(), "{shell:?}");
    let key: serde_json::Value = serde_json::from_slice(&shell.stdout).unwrap();
    assert_eq!(key["kid"], "sandbox");
    assert!(!folder.path().join("nothing").exists());
}

#[test]
fn a_signal_ends_it_and_its_key_goes() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let mut sandbox = Sandbox::start(program().env("TMPDIR", folder.path()));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        // SAFETY: kill does not access memory.
        unsafe { libc::kill(i32::try_from(sandbox.child.id()).unwrap(), signal) };
        assert!(sandbox.child.wait().unwrap().success());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

#[test]
fn a_usage_error_has_status_2() {
    for args in [&["--fault", r#"{"foo":1}"#][..], &["--nope"], &["probe"]] {
        let status = program().args(args).status().expect("the sandbox starts");
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
}
