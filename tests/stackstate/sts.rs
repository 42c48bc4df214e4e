//! Scripts that call `sts service-token`, with monitoring-token in its place: each row of the table in
//! `docs/service-tokens.md` is run.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{CONTROL, stackstate, token_of};
use crate::support::api::{environment, relay};
use crate::support::issuer::{ISSUERS, STACKSTATE};
use crate::support::job::{Folder, make_fifo};
use crate::support::tls::{Authority, server_params};
use crate::support::{Ended, Sandbox, finish, http, kill, read_head_of, run, start, testdata, token};

/// A user's folder with saved contexts and a CA certificate.
struct Stage {
    folder: Folder,
    sandbox: Sandbox,
    certificate: String,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage {
            folder: Folder::new(),
            sandbox: Sandbox::start(&[]),
            certificate: Authority::new("a CA").pem(),
        };
        let (url, token) = (stage.sandbox.var("STS_CLI_URL"), stage.sandbox.var("STS_CLI_API_TOKEN"));
        let context = |name: &str, url: &str| {
            format!(
                "- name: {name}\n  context:\n    url: {url}\n    api-token: {token}\n    api-path: /api\n    \
                 admin-api-path: /admin\n    skip-ssl: false\n"
            )
        };
        let contexts = format!(
            "contexts:\n{}{}current-context: default\n",
            context("default", "http://127.0.0.1:1"),
            context("prod", url)
        );
        for folder in [".config/stackstate-cli", "xdg/stackstate-cli"] {
            fs::create_dir_all(stage.folder.path(folder)).unwrap();
        }
        fs::write(stage.folder.path(".config/stackstate-cli/config.yaml"), &contexts).unwrap();
        let only_prod = contexts.replace("current-context: default", "current-context: prod");
        fs::write(stage.folder.path("xdg/stackstate-cli/config.yaml"), &only_prod).unwrap();
        fs::write(stage.folder.path("other.yaml"), &only_prod).unwrap();
        fs::write(stage.folder.path("ca.pem"), &stage.certificate).unwrap();
        token_of(&stackstate(&stage.sandbox, &["create", "-n=older", "--roles=r"]));
        stage
    }

    /// The words of a row, as a shell would split them; assignments become variables.
    fn run(&self, line: &str) -> Ended {
        let id = self.sandbox.made_tokens(CONTROL)[0]["id"].to_string();
        let line = line
            .replace("URL", self.sandbox.var("STS_CLI_URL"))
            .replace("_ID", "")
            .replace("ID", &id)
            .replace("=BASE64", &format!("={}", STANDARD.encode(&self.certificate)))
            .replace(" BASE64", &format!(" {}", STANDARD.encode(&self.certificate)));
        let words = shlex::split(&line).expect("a line of a shell");
        let mut command = self.sandbox.token();
        command.env("HOME", self.folder.root()).current_dir(self.folder.root());
        // A row that names a context must get the values from it.
        let by_context = ["context", "CONTEXT", " -c ", "--config", "XDG"].iter().any(|w| line.contains(w));
        if by_context {
            command.env_remove("STS_CLI_URL").env_remove("STS_CLI_API_TOKEN");
        }
        let assignments = words.iter().take_while(|word| word.split('=').next().is_some_and(is_variable));
        let assignments: Vec<(&str, &str)> = assignments.filter_map(|word| word.split_once('=')).collect();
        command.envs(assignments.iter().copied()).arg("stackstate").args(&words[assignments.len()..]);
        run(&mut command)
    }
}

fn is_variable(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn each_row_of_the_comparison_is_true() {
    let page = include_str!("../../docs/service-tokens.md");
    let table =
        page.split("\n| `sts service-token` | monitoring-token | notes |\n").nth(1).expect("the table");
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("| "))
        .map(|line| {
            let (line, rest) = line.strip_prefix("| `").unwrap().split_once("` | ").unwrap();
            (line, rest.split(" |").next().unwrap())
        })
        .collect();
    assert!(rows.len() > 40, "{rows:?}");
    for (line, here) in rows {
        let stage = Stage::new();
        let ended = stage.run(line);
        match here {
            "same" | "more" => assert_eq!(ended.status, 0, "{line}: {ended:?}"),
            "refused" => {
                assert!([2, 125].contains(&ended.status), "{line}: {ended:?}");
                // The flag or the variable, or its value.
                let names = [
                    "--expiration",
                    "--roles",
                    "--name",
                    "output",
                    "ID",
                    "nowhere",
                    "--skip-ssl",
                    "STS_SKIP_SSL",
                    "--api-token",
                    "--service-token",
                    "--k8s-sa-token",
                    "STS_CLI_SERVICE_TOKEN",
                ];
                assert!(names.iter().any(|name| ended.stderr.contains(name)), "{line}: {ended:?}");
                assert_eq!(ended.stderr.lines().count(), 1, "{line}: {ended:?}");
            }
            other => panic!("{line}: {other}"),
        }
    }
}

#[test]
fn csv_roles_and_blanks_mean_what_they_mean_for_sts() {
    let stage = Stage::new();
    stage
        .run("create -n a --roles '\"r,1\",s' --expiration ' 2040-01-31 ' --dedicatedSubject sub")
        .succeeded();
    let made = &stage.sandbox.made_tokens(CONTROL)[1];
    assert_eq!(
        (&made["roles"], &made["expiration"]),
        (&serde_json::json!(["r,1", "s"]), &2_211_580_800_000_i64.into())
    );
    let listed = stage.run("list");
    assert!(listed.stdout.lines().next().unwrap().ends_with("| DEDICATED_SUBJECT"), "{listed:?}");
    assert!(listed.stdout.contains("| sub "), "{listed:?}");
    let json = stage.run("list -vvojson");
    assert!(json.stdout.contains("\"dedicatedSubject\": \"sub\"") && !json.stderr.is_empty(), "{json:?}");
    stage.run("list -cprod=1").failed_with(125, &["has no context prod=1"]);
    stage.run("create -name=x --roles=r").succeeded();
}

/// Pasted, it asked another installation, which had no such token.
#[test]
fn the_command_line_that_deletes_a_token_names_the_context() {
    let stage = Stage::new();
    stage
        .sandbox
        .misbehave(&format!(r#"{{"status":403,"body":"","times":1,"only":"{}"}}"#, STACKSTATE.delete));
    let ended = stage.run("exec --context prod --roles r -n x -- true");
    let hint = " to delete it now: monitoring-token stackstate ";
    let (_, hint) = ended.stderr.trim_end().split_once(hint).unwrap_or_else(|| panic!("{ended:?}"));
    assert!(hint.starts_with("delete --context prod --name x-"), "{ended:?}");
    stage.run(hint).succeeded();
}

/// Followed literally, the advice led to the same line again.
#[test]
fn the_advice_names_what_has_to_be_removed() {
    let stage = Stage::new();
    let words =
        "certificates are always verified; remove this flag or variable, and trust the server's CA with";
    stage.run("STS_SKIP_SSL=true list").failed_with(2, &[words]);
    let words = "or use --url and STS_CLI_API_TOKEN without --context and --config";
    stage.run("list --config nowhere.yaml").failed_with(125, &[words]);
}

/// There, it is a destination.
#[test]
fn an_error_of_exec_is_text_whatever_its_output_is() {
    let stage = Stage::new();
    let ended = stage.run("exec --output json --roles a -- true");
    assert!(ended.stderr.starts_with("monitoring-token: invalid value \"json\""), "{ended:?}");
    assert_eq!(ended.status, 2);
}

#[test]
fn an_error_with_json_output_is_that_of_sts() {
    let stage = Stage::new();
    for (line, status, words) in [
        ("delete -i 7 -ojson", 125, "no service token has the ID 7"),
        ("create -n a -o json", 2, "missing --roles"),
        ("list --context nowhere -o json", 125, "has no context nowhere"),
    ] {
        let ended = stage.run(line);
        let error: Value = serde_json::from_str(&ended.stderr).unwrap_or_else(|_| panic!("{ended:?}"));
        assert_eq!((ended.status, &error["error"]), (status, &true.into()), "{ended:?}");
        assert!(error["error-message"].as_str().unwrap().contains(words), "{ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1));
    }
}

#[test]
fn a_context_gives_exec_its_url_and_token_and_flags_count_more() {
    let stage = Stage::new();
    let in_home = |command: &mut Command| {
        command.env("HOME", stage.folder.root()).env_remove("STS_CLI_URL").env_remove("STS_CLI_API_TOKEN");
    };
    let mut exec = stage.sandbox.token();
    in_home(&mut exec);
    exec.args(["stackstate", "exec", "-cprod", "--roles=r", "-n=x"]);
    let seen = environment(&mut exec);
    assert_eq!(seen["STS_CLI_URL"], stage.sandbox.var("STS_CLI_URL"));
    // Of another context, `sts` would take the path and an unverified connection.
    assert_eq!((&*seen["STS_CLI_CONTEXT"], &*seen["STS_CLI_API_PATH"]), ("prod", "/api"));
    let mut of_file = stage.sandbox.token();
    in_home(&mut of_file);
    of_file.current_dir(stage.folder.root()).env("STS_CLI_API_PATH", "/other");
    let seen = environment(of_file.args([
        "stackstate",
        "exec",
        "--config=other.yaml",
        "--api-path=/api",
        "--roles=r",
    ]));
    assert_eq!((seen.get("STS_CLI_CONTEXT"), &*seen["STS_CLI_API_PATH"]), (None, "/api"));
    let made = stage.sandbox.made_tokens(CONTROL);
    assert!(made.iter().all(|token| token["name"] == "older"), "{made:?}");
    // The current context has an unreachable URL; the one in the variable works.
    let mut list = stage.sandbox.token();
    in_home(&mut list);
    run(list.args(["stackstate", "list", "-retries=0"]))
        .failed_with(125, &["cannot connect to http://127.0.0.1:1"]);
    run(list.arg("--url").arg(stage.sandbox.var("STS_CLI_URL"))).succeeded();
    // A context that is not needed may be invalid.
    fs::write(stage.folder.path(".config/stackstate-cli/config.yaml"), "\"").unwrap();
    run(stage.sandbox.token().env("HOME", stage.folder.root()).args(["stackstate", "list"])).succeeded();
    run(&mut list).failed_with(125, &["invalid YAML at line 1"]);
    fs::write(
        stage.folder.path(".config/stackstate-cli/config.yaml"),
        "url: https://x\napi-token: y\nskip-ssl: true\n",
    )
    .unwrap();
    let mut list = stage.sandbox.token();
    in_home(&mut list);
    run(list.args(["stackstate", "list"])).failed_with(125, &["context default has skip-ssl: true"]);
}

/// The private CA of a server may be given as data, in a flag, a variable or a context.
#[test]
fn a_server_is_trusted_by_a_ca_certificate_in_base64() {
    let authority = Authority::new("CA of these tests");
    let server = authority.issue(&server_params(&["127.0.0.1"])).serve(|mut stream| {
        read_head_of(&mut stream);
        let _ = stream.write_all(http("200 OK", "", "[]").as_bytes());
    });
    let folder = Folder::new();
    let list = || {
        let mut list = token();
        list.env("HOME", folder.root()).env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nowhere");
        list.env("STS_CLI_URL", format!("https://{server}")).env("STS_CLI_API_TOKEN", "x");
        list.args(["stackstate", "list", "-retries=0"]);
        list
    };
    let data = STANDARD.encode(authority.pem());
    run(&mut list()).failed_with(125, &["certificate signed by unknown authority"]);
    run(list().args(["--ca-cert-base64-data", &data])).succeeded();
    run(list().env("STS_CA_CERT_BASE64_DATA", &data)).succeeded();
    let context = format!("url: https://{server}\napi-token: x\nca-cert-base64-data: {data}\n");
    fs::create_dir_all(folder.path(".config/stackstate-cli")).unwrap();
    fs::write(folder.path(".config/stackstate-cli/config.yaml"), context).unwrap();
    run(list().env_remove("STS_CLI_URL")).succeeded();
}

/// `--config <(vault read …)`: a pipe whose writer hangs was read beyond the timeout, and no signal but SIGKILL ended
/// that.
#[test]
fn a_configuration_that_is_a_pipe_is_read_until_the_timeout_or_a_signal() {
    let folder = Folder::new();
    let pipe = folder.path(".config/stackstate-cli/config.yaml");
    fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    run(Command::new("mkfifo").arg(&pipe)).succeeded();
    let exec: &[&str] = &["exec", "--name=a", "--roles=r"];
    for verb in [
        &["list"][..],
        exec,
        &["create", "--name=a", "--roles=r"],
        &["rotate", "--token-file=t", "--name=a", "--roles=r"],
    ] {
        let command = |timeout: &str| {
            let mut command = token();
            command.env("HOME", folder.root()).current_dir(folder.root()).arg("stackstate").args(verb);
            command.arg(timeout);
            if verb == exec {
                command.args(["--", "true"]);
            }
            command
        };
        run(&mut command("--timeout=500ms")).failed_with(
            124,
            &["timed out after 500ms while reading the sts configuration", "if it is a pipe"],
        );
        let child = start(&mut command("--timeout=60s"));
        // Opening waits until it is read.
        let writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["interrupted by SIGTERM while reading the sts configuration"]);
        drop(writer);
    }
}

/// The time that the configuration takes did not count, so that a run could last for twice its timeout.
#[test]
fn a_slow_configuration_uses_up_the_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(8);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!("url: http://{}\napi-token: x\n", silent.local_addr().unwrap());
    let began = Instant::now();
    let started = [
        &["list"][..],
        &["rotate", "--token-file=t", "--name=a", "--roles=r"],
        &["exec", "--roles=r", "--", "true"],
    ]
    .map(|verb| {
        let folder = Folder::new();
        let pipe = make_fifo(&folder);
        let mut command = token();
        command.current_dir(folder.root()).arg("stackstate").args(&verb[..1]).arg("--config").arg(&pipe);
        let child = start(command.arg("--timeout=8s").args(&verb[1..]));
        // Opening waits until it is read.
        let writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
        (child, writer, folder)
    });
    std::thread::sleep((TIMEOUT * 3 / 4).saturating_sub(began.elapsed()));
    let configured = started.map(|(child, mut writer, folder)| {
        writer.write_all(config.as_bytes()).unwrap();
        (child, folder)
    });
    for (child, _folder) in configured {
        finish(child).failed_with(124, &["timed out after 8s while "]);
    }
    assert!(began.elapsed() < TIMEOUT * 3 / 2, "{:?}", began.elapsed());
}

/// Go's YAML library skips a byte order mark.
#[test]
fn a_configuration_with_a_byte_order_mark_is_read() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let (url, token) = (sandbox.var("STS_CLI_URL"), sandbox.var("STS_CLI_API_TOKEN"));
    let config = folder.write("config", format!("\u{feff}url: {url}\r\napi-token: {token}\r\n"));
    let mut list = self::token();
    run(list.args(["stackstate", "list", "--config"]).arg(config)).succeeded();
}

/// A signing key was sent to the server if it was named as the admin token by mistake.
#[test]
fn a_signing_key_is_not_sent_as_a_token() {
    let sandbox = Sandbox::start(&[]);
    let key = fs::read_to_string(testdata("keys/eddsa.json")).unwrap();
    let key = serde_json::from_str::<Value>(&key).unwrap();
    let folder = Folder::new();
    let file = folder.write("key", format!("{key}\n"));
    for issuer in ISSUERS {
        let list = || issuer.command(&sandbox, issuer.verbs[0]);
        run(list().arg("--admin-token-file").arg(&file))
            .failed_with(125, &["/key: not a token; it is JSON, such as a signing key"]);
        let variable =
            if issuer.name == "gafaelfawr" { "GAFAELFAWR_ADMIN_TOKEN" } else { "STS_CLI_API_TOKEN" };
        run(list().env(variable, STANDARD.encode(key.to_string())))
            .failed_with(125, &[&format!("{variable}: not a token; it is base64 of a key")]);
        let mut rotate = issuer.command(&sandbox, &[&["rotate"], issuer.new].concat());
        run(rotate.arg("--token-file").arg(&file)).failed_with(125, &["/key: not a token; it is JSON"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{key}\n"));
    }
    assert_eq!(sandbox.requests().len(), 0);
}

/// `sts` in the command could not reach a server with a private CA that `exec` had just used.
#[test]
fn the_command_finds_the_ca_certificate() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let pem = Authority::new("a CA").pem();
    let (file, data) = (folder.write("ca.pem", &pem), STANDARD.encode(&pem));
    let path = file.to_str().unwrap();
    let (url, token) = (sandbox.var("STS_CLI_URL"), sandbox.var("STS_CLI_API_TOKEN"));
    let context = format!("url: {url}\napi-token: {token}\nca-cert-base64-data: {data}\n");
    let config = folder.write("config", context);
    for (flags, path, data) in [
        (&[][..], None, None),
        (&["--ca-cert-path", path][..], Some(path), None),
        (&["-ca-file", path][..], Some(path), None),
        (&["--ca-cert-base64-data", &data][..], None, Some(&data)),
        (&["--config", config.to_str().unwrap()][..], None, Some(&data)),
    ] {
        let seen = environment(STACKSTATE.exec(&sandbox).args(flags));
        assert_eq!(seen.get("STS_CA_CERT_PATH").map(String::as_str), path, "{flags:?}");
        assert_eq!(seen.get("STS_CA_CERT_BASE64_DATA"), data, "{flags:?}");
    }
    // `sts` could not read a pipe a second time.
    let pipe = make_fifo(&folder);
    for flag in [None, Some("--ca-cert-path"), Some("-ca-file")] {
        let (to, pem) = (pipe.clone(), pem.clone());
        let writer = std::thread::spawn(move || fs::write(to, pem));
        let mut exec = STACKSTATE.exec(&sandbox);
        let seen = match flag {
            Some(flag) => environment(exec.arg(flag).arg(&pipe)),
            None => environment(exec.env("STS_CA_CERT_PATH", &pipe)),
        };
        writer.join().unwrap().unwrap();
        assert_eq!(seen.get("STS_CA_CERT_PATH"), None, "{flag:?}");
        assert_eq!(seen.get("STS_CA_CERT_BASE64_DATA"), Some(&data), "{flag:?}");
    }
}

/// `sts` found no such context: `exec` had it from another file, of `--config` or in another home.
#[test]
fn the_command_gets_only_a_context_that_was_named_and_is_in_the_usual_file() {
    let stage = Stage::new();
    for (variable, flags, expected) in [
        (None, &[][..], None),
        (None, &["--context=prod"], Some("prod")),
        (Some("prod"), &[], Some("prod")),
        (Some("prod"), &["--config=other.yaml"], None),
    ] {
        let mut exec = stage.sandbox.token();
        exec.env_remove("STS_CLI_URL").env_remove("STS_CLI_API_TOKEN").current_dir(stage.folder.root());
        exec.env("XDG_CONFIG_HOME", stage.folder.path("xdg"));
        exec.envs(variable.map(|name| ("STS_CLI_CONTEXT", name)));
        let seen = environment(exec.args(["stackstate", "exec", "--roles=r"]).args(flags));
        assert_eq!(seen.get("STS_CLI_CONTEXT").map(String::as_str), expected, "{variable:?} {flags:?}");
    }
    // Like `sts`, which needs no file if URL and token are given.
    let mut list = stage.sandbox.token();
    list.env("HOME", "/nonexistent").env("STS_CLI_CONTEXT", "prod").args(["stackstate", "list"]);
    run(&mut list).succeeded();
    run(list.env_remove("STS_CLI_API_TOKEN")).failed_with(125, &["cannot read the sts configuration"]);
}

/// A script that saw only `cannot write to stdout` created another token.
#[test]
fn a_token_in_a_file_is_named_if_that_cannot_be_printed() {
    for issuer in ISSUERS {
        let sandbox = Sandbox::start(&[]);
        let folder = Folder::new();
        let create = |out: &std::path::Path| {
            let mut create = issuer.command(&sandbox, &[&["create"], issuer.new].concat());
            create.arg("--out").arg(out).current_dir(folder.root());
            create
        };
        let file = folder.path("token");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = create(&file).stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
        finish(child).failed_with(
            125,
            &["cannot write to stdout: No space left on device; the token is in ", "/token"],
        );
        assert!(fs::read_to_string(&file).unwrap().starts_with(issuer.prefix));
        let ended = run(&mut create(std::path::Path::new("-")));
        assert!(ended.succeeded().stdout.contains(issuer.prefix) && !folder.path("-").exists());
    }
}

/// `sts` looks at three variables, and fails if two are set.
#[test]
fn the_command_finds_one_credential_only() {
    let sandbox = Sandbox::start(&[]);
    let mut exec = STACKSTATE.exec(&sandbox);
    exec.env("STS_CLI_K8S_SA_TOKEN_PATH", "/x");
    let seen = environment(&mut exec);
    let credentials: Vec<&String> =
        seen.keys().filter(|name| name.contains("TOKEN") && name.starts_with("STS")).collect();
    assert_eq!(credentials, ["STS_CLI_SERVICE_TOKEN"]);
    // A Kubernetes token as the administrator's credential has its own header.
    let mut list = sandbox.token();
    list.env_remove("STS_CLI_API_TOKEN").env("STS_CLI_K8S_SA_TOKEN", "eyJ.a.b").args(["stackstate", "list"]);
    run(&mut list).failed_with(125, &["rejected the credential"]);
    let requests = sandbox.shows("/sandbox/requests");
    let headers = requests.as_array().unwrap().last().unwrap()["headers"].as_array().unwrap().clone();
    assert!(headers.contains(&"x-api-servicebearer".into()), "{headers:?}");
}

/// jq 1.6 keeps numbers as floats: 9007199254740993 becomes 9007199254740992, and the deletion of that one
/// said that there is no such token. Reported for jq as jqlang/jq#369 and others; sts prints IDs as numbers.
#[test]
fn an_id_that_jq_has_rounded_is_recognized_and_names_delete_too() {
    let sandbox = Sandbox::start(&[]);
    token_of(&stackstate(&sandbox, &["create", "-n=a", "--roles=r"]));
    for args in [&["9007199254740992"][..], &["--id=9007199254740992"], &["-i9007199254740992"]] {
        stackstate(&sandbox, &[&["delete"][..], args].concat())
            .failed_with(125, &["but there is 9007199254740993 (a)", "jq", "--name"]);
    }
    stackstate(&sandbox, &["delete", "7"]).failed_with(125, &["no service token has the ID 7; see"]);
    token_of(&stackstate(&sandbox, &["create", "-n=b", "--roles=r"]));
    token_of(&stackstate(&sandbox, &["create", "-n=b", "--roles=r"]));
    stackstate(&sandbox, &["delete", "--name=b"])
        .failed_with(125, &["2 service tokens are named b", "9007199254740994, 9007199254740995"]);
    stackstate(&sandbox, &["delete", "--name=c"]).failed_with(125, &["no service token is named c"]);
    let deleted = stackstate(&sandbox, &["delete", "-na", "-ojson"]);
    assert_eq!(deleted.succeeded().stdout, "{\n  \"deleted-service-token\": 9007199254740993\n}\n");
}

/// systemd#36874: machines come up with a clock that is days behind. The expiry was then in the past for the server,
/// which refused it without mentioning the clock, and `check` succeeded.
#[test]
fn a_local_clock_that_is_days_behind_is_named() {
    let sandbox = Sandbox::start(&[]);
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let server_now = now + 3 * 86_400 + 90;
    let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(server_now));
        let mut answer = pass_on(request);
        if request.starts_with("POST") {
            let body = request.split("\r\n\r\n").nth(1).unwrap();
            let wanted: Value = serde_json::from_str(body).unwrap();
            if wanted["expiryDate"].as_u64().is_some_and(|expiry| expiry / 1000 <= server_now) {
                let error = r#"{"_type":"ServiceTokenInvalidExpiryError","message":"expiry is in the past"}"#;
                answer = crate::support::http("400 Bad Request", "date: x\r\n", error);
            }
        }
        let line = answer.lines().find(|line| line.to_lowercase().starts_with("date: ")).unwrap().to_owned();
        answer.replace(&line, &format!("date: {date}"))
    });
    // A Date that is more than a day off does not set an expiry, because it may be forged.
    let refused = run(STACKSTATE.exec(&sandbox).env("STS_CLI_URL", &url).args(["--", "true"]));
    refused.failed_with(125, &["rejected the expiry", "local clock is 72h", "behind the server: correct it"]);
    let mut check = sandbox.token();
    check.env("STS_CLI_URL", &url).args(["check", "stackstate", "exec"]).args(STACKSTATE.new);
    let checked = run(check.arg("true"));
    assert_eq!(checked.status, 125, "{checked:?}");
    assert!(checked.stdout.contains("clock       failed   the local clock is 72h"), "{checked:?}");
    // A run that lasts longer than the difference of the clocks gets a token that is still valid.
    let long = run(STACKSTATE.exec(&sandbox).env("STS_CLI_URL", &url).args(["-timeout=100h", "--", "true"]));
    long.succeeded();
    // The server may refuse a given day.
    let day = ["stackstate", "create", "-n=x", "--roles=r", "--expiration=2020-01-01"];
    run(sandbox.token().env("STS_CLI_URL", &url).args(day))
        .failed_with(125, &["rejected the expiry", "local clock is 72h", "behind the server"]);
}

/// The same, with a server or a gateway that says less.
#[test]
fn a_clock_that_is_days_behind_is_named_whatever_the_server_says() {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3 * 86_400));
    for body in ["", "<html>400</html>", r#"{"_type":"ErrorsResponse","errors":[{"message":"bad request"}]}"#]
    {
        let sandbox = Sandbox::start(&[]);
        let date = date.clone();
        let url = relay(sandbox.var("STS_CLI_URL"), move |request, pass_on| {
            if request.starts_with("POST") {
                crate::support::http("400 Bad Request", &format!("Date: {date}\r\n"), body)
            } else {
                pass_on(request)
            }
        });
        run(STACKSTATE.exec(&sandbox).env("STS_CLI_URL", &url).args(["--", "true"]))
            .failed_with(125, &["HTTP 400", "local clock is 7", "behind the server: correct it"]);
    }
}

#[test]
fn a_configuration_that_sts_can_read_is_read() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let (url, admin) = (sandbox.var("STS_CLI_URL"), sandbox.var("STS_CLI_API_TOKEN"));
    let base = format!("base: &base\n  url: {url}\n  api-token: {admin}\n");
    let context = "current-context: c\ncontexts:\n- name: c\n  context:\n";
    let named = format!("{context}    url: {url}\n    api-token: {admin}\n");
    for (config, variable) in [
        (format!("{base}{context}    <<: *base\n"), None),
        (format!("{base}{context}    <<: [{{api-path: /api}}, *base]\n    url: {url}\n"), None),
        (format!("{named}    api-path: api\n"), None),
        (format!("{named}    api-path: /%61pi\n"), None),
        (format!("{named}    service-token: x\n"), Some(admin)),
    ] {
        let mut list = token();
        list.args(["stackstate", "list", "--config"]).arg(folder.write("config", &config));
        let ended = run(list.envs(variable.map(|token| ("STS_CLI_API_TOKEN", token))));
        assert_eq!(ended.status, 0, "{config}: {ended:?}");
    }
    // Mappings that merge others again and again are not followed without end.
    let mut deep = "a0: &a0 {x: y}\n".to_owned();
    for level in 1..40 {
        deep += &format!("a{level}: &a{level} {{<<: [*a{0}, *a{0}]}}\n", level - 1);
    }
    let config = folder.write("config", format!("{deep}{context}    <<: *a39\n"));
    run(token().args(["stackstate", "list", "--config"]).arg(config)).failed_with(2, &["missing URL"]);
}
