//! The deployment files do not rot: each command line in them is one that the program takes, and the scripts
//! run against the sandbox. `tests/deploy.sh` has the validators of other programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use monitoring_token::cli::catalog;
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::lines::{all_are_taken, in_text, in_yaml};
use crate::manual::which;
use crate::support::{Ended, MACHINE, Sandbox, http, read_head, run, serve};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(name: &str) -> String {
    fs::read_to_string(deploy().join(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// All files under a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let mut with_commands = Vec::new();
    for path in files(&deploy()) {
        let name = path.strip_prefix(deploy()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).expect("a text");
        let is_yaml = path.extension().is_some_and(|kind| kind == "yml" || kind == "yaml");
        let mut lines = if is_yaml { in_yaml(&text) } else { in_text(&text.replace("ExecStart=", "")) };
        if name == "alerts.yml" {
            // Its texts are for people: the program's name may stand in them without a command.
            let names: Vec<String> =
                catalog::subcommands().iter().map(|command| command.get_name().to_owned()).collect();
            lines.retain(|line| line[0].starts_with('-') || names.contains(&line[0]));
        }
        all_are_taken(&format!("deploy/{name}"), &lines);
        if !lines.is_empty() {
            with_commands.push(name);
        }
    }
    // The search finds what a reader finds.
    for name in [
        "gitlab/stackstate.gitlab-ci.yml",
        "jenkins/Jenkinsfile",
        "kubernetes/cronjob.yaml",
        "kubernetes/machines-job.yaml",
        "script_exporter/m-lab.yml",
        "script_exporter/ricoberger.yml",
        "systemd/monitoring-token@.service",
    ] {
        assert!(with_commands.iter().any(|found| found == name), "no command found in deploy/{name}");
    }
}

/// A folder to be put first in PATH, with the program and stand-ins of the ndt clients. Each stand-in writes
/// its words into a file named like itself, tries the target, and ends with `STUB_STATUS`.
struct Clients(tempfile::TempDir);

impl Clients {
    fn new() -> Clients {
        let folder = tempfile::tempdir().expect("a folder");
        symlink(env!("CARGO_BIN_EXE_monitoring-token"), folder.path().join("monitoring-token")).unwrap();
        let clients = Clients(folder);
        for name in ["ndt7-client", "wehe-client.sh"] {
            let probe = env!("CARGO_BIN_EXE_monitoring-sandbox");
            let script = format!(
                "#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n{probe} probe || exit\nexit ${{STUB_STATUS:-0}}\n",
                clients.path(&format!("{name}.args")).display()
            );
            fs::write(clients.path(name), script).unwrap();
            fs::set_permissions(clients.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        clients
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The words that a client got, if it was run.
    fn args(&self, name: &str) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.path(&format!("{name}.args"))).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// `/bin/sh`, as an exporter starts it, with the sandbox as Locate.
    fn shell(&self, sandbox: &Sandbox) -> Command {
        let mut command = Command::new("/bin/sh");
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        command.env_clear().env("PATH", path).env("HOME", self.0.path());
        command.env("MONITORING_TOKEN_CACHE_DIR", self.path("cache"));
        command.env("MONITORING_TOKEN_RETRIES", "0");
        for name in ["LOCATE_URL", "MONITORING_SIGNER_KEY"] {
            command.env(name, sandbox.var(name));
        }
        command.stdin(std::process::Stdio::null());
        command
    }
}

/// The scripts of an exporter's configuration: name, and how to start them for a machine.
fn scripts(file: &str) -> Vec<(String, Yaml<'static>)> {
    let text: &'static str = Box::leak(read(file).into_boxed_str());
    let documents = Yaml::load_from_str(text).expect("the file is YAML");
    let scripts = documents[0]["scripts"].as_sequence().expect("there are scripts").clone();
    scripts.into_iter().map(|script| (script["name"].as_str().unwrap().to_owned(), script)).collect()
}

/// m-lab/script_exporter v1.2.0 writes the script into the shell's standard input, and sets TARGET.
fn run_m_lab(script: &Yaml<'_>, clients: &Clients, sandbox: &Sandbox, status: &str) -> Ended {
    let path = clients.path("script");
    fs::write(&path, script["script"].as_str().expect("a script")).unwrap();
    let stdin = fs::File::open(&path).unwrap();
    run(clients.shell(sandbox).env("TARGET", MACHINE).env("STUB_STATUS", status).stdin(stdin))
}

/// ricoberger/script_exporter puts the parameter after the arguments.
fn run_ricoberger(script: &Yaml<'_>, clients: &Clients, sandbox: &Sandbox, status: &str) -> Ended {
    assert_eq!(script["command"].as_str(), Some("/bin/sh"));
    let args = script["args"].as_sequence().expect("arguments").iter().map(|arg| arg.as_str().unwrap());
    run(clients.shell(sandbox).args(args).arg(MACHINE).env("STUB_STATUS", status))
}

#[test]
fn both_exporters_scripts_reach_the_target_and_pass_the_status_on() {
    type Run = fn(&Yaml<'_>, &Clients, &Sandbox, &str) -> Ended;
    let exporters: [(&str, Run); 2] =
        [("script_exporter/m-lab.yml", run_m_lab), ("script_exporter/ricoberger.yml", run_ricoberger)];
    for (file, run_script) in exporters {
        let scripts = scripts(file);
        let names: Vec<&str> = scripts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ndt7_client", "wehe_client"], "{file}");
        for (name, script) in &scripts {
            let (client, words): (&str, &[&str]) = match name.as_str() {
                "ndt7_client" => ("ndt7-client", &["-client-name=mlab-e2e-monitoring"]),
                _ => ("wehe-client.sh", &["-n", "amazon", "-t", "wehe-cmdline/res/", "-c"]),
            };
            let sandbox = Sandbox::start(&[]);
            let clients = Clients::new();
            // The client's failure comes first: it is not cached.
            let ended = run_script(script, &clients, &sandbox, "7");
            assert_eq!((ended.status, ended.stderr.as_str()), (7, ""), "{file} {name}: {ended:?}");
            run_script(script, &clients, &sandbox, "0").succeeded();
            assert_eq!(clients.args(client).expect("the client was run"), words, "{file} {name}");

            // A Locate that is broken is our side's, and the client is not run.
            let clients = Clients::new();
            sandbox.misbehave(r#"{"status":500}"#);
            run_script(script, &clients, &sandbox, "0").failed_with(125, &["500"]);
            assert_eq!(clients.args(client), None, "{file} {name}");
        }
    }
}

/// The names in a mapping, sorted.
fn names(node: &Yaml<'_>) -> Vec<String> {
    let mapping = node.as_mapping().expect("a mapping");
    let mut names: Vec<String> =
        mapping.iter().filter_map(|(name, _)| name.as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn the_exporters_configurations_have_the_fields_that_their_exporters_read() {
    // m-lab/script_exporter v1.2.0: an unknown field is dropped in silence; the timeout is whole seconds.
    for (name, script) in scripts("script_exporter/m-lab.yml") {
        assert_eq!(names(&script), ["name", "script", "timeout"], "{name}");
        assert!(script["timeout"].as_integer().is_some(), "{name}");
    }
    // ricoberger/script_exporter v2.
    for (name, script) in scripts("script_exporter/ricoberger.yml") {
        assert_eq!(names(&script), ["args", "command", "name", "timeout"], "{name}");
        assert_eq!(names(&script["timeout"]), ["enforced", "max_timeout"], "{name}");
        assert_eq!(script["timeout"]["enforced"].as_bool(), Some(true), "{name}");
    }
}

#[test]
fn the_runs_end_before_the_exporters_limits() {
    for (name, script) in scripts("script_exporter/m-lab.yml") {
        let text = script["script"].as_str().unwrap();
        let seconds = |flag: &str| -> i64 {
            let word = text.split_whitespace().find_map(|word| word.strip_prefix(flag)).expect(flag);
            word.strip_suffix('s').expect("seconds").parse().expect("a number")
        };
        let limit = script["timeout"].as_integer().expect("a limit in seconds");
        assert!(seconds("-timeout=") + seconds("-kill-after=") < limit, "{name}");
        assert!(text.contains(" -die-with-parent "), "{name}");
    }
    // Here SCRIPT_DEADLINE shortens the run.
    for (name, script) in scripts("script_exporter/ricoberger.yml") {
        let text = script["args"][1].as_str().unwrap();
        assert!(text.contains(" -die-with-parent "), "{name}");
        assert!(!text.contains(" -timeout="), "{name}");
    }
}

#[test]
fn each_index_of_the_job_probes_its_own_machine() {
    let text = read("kubernetes/machines-job.yaml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let list = documents[0]["data"]["machines"].as_str().expect("a list of machines");
    let job = &documents[1]["spec"];
    assert_eq!(job["completions"].as_integer(), i64::try_from(list.lines().count()).ok());
    let command = job["template"]["spec"]["containers"][0]["command"].as_sequence().unwrap();
    let words: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[..2], ["/bin/sh", "-euc"]);

    let sandbox = Sandbox::start(&[]);
    let clients = Clients::new();
    let machines = clients.path("machines");
    fs::write(&machines, list).unwrap();
    let pod = |index: usize| {
        let mut shell = clients.shell(&sandbox);
        run(shell.args(&words[1..]).env("MACHINES", &machines).env("JOB_COMPLETION_INDEX", index.to_string()))
    };
    for index in 0..list.lines().count() {
        pod(index).succeeded();
    }
    let ended = pod(list.lines().count());
    assert_eq!(ended.status, 125, "{ended:?}");
    assert!(ended.stderr.contains("no machine in line 5"), "{ended:?}");

    // Each pod signs for the machine of its own line: the sub of the token that Locate gets.
    let (sent, seen) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = sent.send(head.lines().next().unwrap_or_default().to_owned());
        let _ = std::io::Write::write_all(&mut stream, http("404 Not Found", "", "").as_bytes());
    });
    for (index, machine) in list.lines().enumerate() {
        let mut shell = clients.shell(&sandbox);
        shell.args(&words[1..]).env("MACHINES", &machines).env("JOB_COMPLETION_INDEX", index.to_string());
        run(shell.env("LOCATE_URL", format!("http://{address}/"))).failed_with(125, &["404"]);
        let request = seen.recv_timeout(crate::support::PATIENCE).expect("a request");
        assert_eq!(subject(&request), machine);
    }
}

/// The `sub` of the token in a request line.
fn subject(request: &str) -> String {
    use base64::Engine as _;
    let token = request.split("access_token=").nth(1).expect("a token");
    let claims = token.split('.').nth(1).expect("claims");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    claims["sub"].as_str().expect("a sub").to_owned()
}

#[test]
fn the_metrics_script_sends_the_authorization_and_hides_it() {
    let (sent, seen) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = sent.send(head);
        let _ = std::io::Write::write_all(&mut stream, http("200 OK", "", "{}").as_bytes());
    });
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics.json");
    fs::write(&metrics, "{\"records\":[]}").unwrap();
    let mut script = Command::new(deploy().join("jenkins/send-metrics.sh"));
    script
        .arg(&metrics)
        .env("GAFAELFAWR_URL", format!("http://{address}/"))
        .env("SASQUATCH_TOPIC", "lsst.debug.nightly")
        .env("SERVICE_AUTHORIZATION", "bearer gt-throwaway.token")
        .env("no_proxy", "*");
    if which("curl").is_none() {
        let path = std::env::var("PATH").unwrap();
        script.env("PATH", format!("{}/tests/stand-ins:{path}", env!("CARGO_MANIFEST_DIR")));
    }
    let ended = run(&mut script);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let head = seen.recv_timeout(crate::support::PATIENCE).expect("a request");
    assert!(head.starts_with("POST /sasquatch-rest-proxy/topics/lsst.debug.nightly HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nAuthorization: bearer gt-throwaway.token\r\n"), "{head}");
    let text = read("jenkins/send-metrics.sh");
    let curl = text.split("curl ").nth(1).expect("it calls curl");
    assert!(!curl.contains("SERVICE_AUTHORIZATION"), "the token would be in curl's arguments");
}

/// The instructions of a Dockerfile: name and rest, continuation lines joined.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split =
        |line: &str| line.trim().split_once(char::is_whitespace).map(|(a, b)| (a.to_owned(), b.to_owned()));
    joined.lines().filter_map(split).collect()
}

#[test]
fn the_images_last_stage_has_no_shell_and_copies_what_the_first_makes() {
    let dockerfile = instructions(&read("Dockerfile"));
    let known = ["FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"];
    assert!(dockerfile.iter().all(|(name, _)| known.contains(&name.as_str())), "{dockerfile:?}");
    let last = dockerfile.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let (build, image) = dockerfile.split_at(last);
    assert_eq!(image[0].1, "scratch");
    assert!(image.iter().all(|(name, _)| name != "RUN"), "there is no shell to run anything");
    assert_eq!(build[0].1, "rust:1.95-bookworm AS build");

    // What is copied out of the first stage is what its script puts there.
    let made = &build.iter().find(|(name, _)| name == "RUN").expect("it builds").1;
    let copies: Vec<&str> =
        image.iter().filter(|(name, _)| name == "COPY").map(|(_, rest)| rest.as_str()).collect();
    assert_eq!(copies, ["--from=build /root-of-image /"]);
    for part in [
        "target/$TARGET/release/monitoring-token\"",
        "target/$TARGET/release/monitoring-sandbox\" /root-of-image/usr/bin/",
        "cp /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/",
        "cp LICENSE /root-of-image/",
        "cargo build --release --locked --target \"$TARGET\"",
    ] {
        assert!(made.contains(part), "{part} is not in: {made}");
    }
    assert!(deploy().join("../LICENSE").is_file());
    // As static as the others.
    let makefile = read("../Makefile");
    let flags = makefile.lines().find_map(|line| line.strip_prefix("STATIC_FLAGS := ")).expect("flags");
    let env = format!("RUSTFLAGS=\"{flags}\"");
    assert!(build.iter().any(|(name, rest)| name == "ENV" && *rest == env), "{env}");
    let entry = &image.iter().find(|(name, _)| name == "ENTRYPOINT").expect("an entry point").1;
    assert_eq!(entry, "[\"/usr/bin/monitoring-token\"]");
    // Root has no business in it.
    assert!(image.iter().any(|(name, rest)| name == "USER" && rest == "65534:65534"));
}

/// The words in `text` that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| w.starts_with(prefix)).collect()
}

#[test]
fn what_is_deployed_uses_the_metrics_that_are_written_and_shows_all_of_them() {
    let sandbox = Sandbox::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.prom");
    let flag = format!("-metrics-textfile={}", file.display());
    run(sandbox.token().args([&flag, "true"])).succeeded();
    let text = fs::read_to_string(&file).unwrap();
    let written: BTreeSet<&str> = words(&text, "monitoring_token_");
    assert_eq!(written.len(), 8, "{written:?}");
    let files: Vec<(PathBuf, String)> =
        files(&deploy()).into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    for (path, text) in &files {
        for name in words(text, "monitoring_token_") {
            assert!(written.contains(name), "{}: {name} is not written", path.display());
        }
    }
    let of = |name: &str| &files.iter().find(|(path, _)| path.ends_with(name)).expect(name).1;
    for name in ["alerts.yml", "grafana-dashboard.json"] {
        // The rest of script_exporter's metrics are not the same in its two versions.
        assert_eq!(
            words(of(name), "script_e"),
            BTreeSet::from(["script_exit_code", "script_exporter"]),
            "{name}"
        );
        assert!(words(of(name), "script_s").is_subset(&BTreeSet::from(["script_success"])), "{name}");
    }
    assert_eq!(words(of("grafana-dashboard.json"), "monitoring_token_"), written);
    let dashboard: serde_json::Value = serde_json::from_str(of("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    // Each alert is one that the tests of the rules know, so that none goes untried.
    for alert in of("alerts.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(of("alerts.test.yml").contains(alert), "{alert} is not tried");
    }
}
