//! The deployment files stay valid: the program accepts each command line in them, and the scripts run against the
//! sandbox. `tests/deploy.sh` uses the validators of other programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use monitoring_token::{cli, dispatch};
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::docs::lines::{all_are_taken, in_text, in_yaml};
use crate::docs::manual::{repository, which};
use crate::support::job::Folder;
use crate::support::{MACHINE, Sandbox, http, read_head, run, sandbox_program, serve};

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
        if name.ends_with("README.md") {
            continue; // prose
        }
        // A line of cron.d has the user before the command.
        let text = text
            .replace(" monitoring-token monitoring-token ", " monitoring-token ")
            .replace("ExecStart=", "")
            // The instance name, as systemd inserts it.
            .replace("%i", "instance");
        let mut lines = if is_yaml { in_yaml(&text) } else { in_text(&text) };
        if name == "alerts.yml" || name.ends_with("prometheusrule.yaml") {
            // Its texts are for people and may mention the program without a command.
            let names: Vec<String> =
                dispatch::subcommands().iter().map(|command| command.get_name().to_owned()).collect();
            lines.retain(|line| line[0].starts_with('-') || names.contains(&line[0]));
        }
        all_are_taken(&format!("deploy/{name}"), &lines);
        if !lines.is_empty() {
            with_commands.push(name);
        }
    }
    // The search finds the lines that a reader would.
    for name in [
        "cron/monitoring-token",
        "gitlab/stackstate.gitlab-ci.yml",
        "jenkins/Jenkinsfile",
        "kubernetes/cronjob.yaml",
        "kubernetes/rotate-cronjob.yaml",
        "kubernetes/machines-job.yaml",
        "script_exporter/m-lab.yml",
        "script_exporter/ricoberger-v2.yml",
        "script_exporter/ricoberger-v3.yml",
        "systemd/monitoring-token-rotate@.service",
        "systemd/monitoring-token@.service",
    ] {
        assert!(with_commands.iter().any(|found| found == name), "no command found in deploy/{name}");
    }
}

/// A folder for the front of PATH, with the program and clients. Each client writes its arguments into a file with its
/// own name, runs its stand-in, and exits with `STUB_STATUS`.
struct Clients(Folder);

impl Clients {
    fn new() -> Clients {
        let folder = Folder::new();
        symlink(env!("CARGO_BIN_EXE_monitoring-token"), folder.path("monitoring-token")).unwrap();
        symlink(sandbox_program(), folder.path("monitoring-sandbox")).unwrap();
        let clients = Clients(folder);
        for name in ["ndt7-client", "java"] {
            let script = format!(
                "#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n{} \"$@\" || exit\nexit ${{STUB_STATUS:-0}}\n",
                clients.path(&format!("{name}.args")).display(),
                repository().join("tests/stand-ins").join(name).display()
            );
            fs::write(clients.path(name), script).unwrap();
            fs::set_permissions(clients.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        clients
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn search_path(&self) -> String {
        format!("{}:{}", self.0.root().display(), std::env::var("PATH").unwrap())
    }

    /// The arguments of a client, if it ran.
    fn args(&self, name: &str) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.path(&format!("{name}.args"))).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// `/bin/sh`, as an exporter starts it, with the sandbox as Locate.
    fn shell(&self, sandbox: &Sandbox) -> Command {
        self.command("/bin/sh", sandbox)
    }

    /// A program with the environment of an exporter, with the sandbox as Locate. The working directory is read-only,
    /// as with readOnlyRootFilesystem.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, sandbox: &Sandbox) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/proc");
        command.env_clear().env("PATH", self.search_path()).env("HOME", self.0.root());
        command.env("MONITORING_TOKEN_CACHE_DIR", self.path("cache"));
        command.env("MONITORING_TOKEN_RETRIES", "0");
        for name in ["LOCATE_URL", "MONITORING_SIGNER_KEY"] {
            command.env(name, sandbox.var(name));
        }
        command.stdin(std::process::Stdio::null());
        command
    }
}

/// The scripts of an exporter's configuration, with their names.
fn scripts(file: &str) -> Vec<(String, Yaml<'static>)> {
    let text: &'static str = Box::leak(read(file).into_boxed_str());
    let documents = Yaml::load_from_str(text).expect("the file is YAML");
    let scripts = documents[0]["scripts"].as_sequence().expect("there are scripts").clone();
    scripts.into_iter().map(|script| (script["name"].as_str().unwrap().to_owned(), script)).collect()
}

/// The query of a scrape of ricoberger's exporter, besides `script`.
type Query<'a> = &'a [(&'a str, &'a str)];

/// How an exporter starts a script for a target.
type Start = fn(&Yaml<'_>, &Clients, &Sandbox, target: &str) -> Command;

const EXPORTERS: [(&str, Start); 3] = [
    ("script_exporter/m-lab.yml", start_by_m_lab),
    ("script_exporter/ricoberger-v2.yml", start_by_ricoberger),
    ("script_exporter/ricoberger-v3.yml", start_by_ricoberger),
];

/// m-lab/script_exporter v1.2.0 writes the script to the shell's standard input and sets TARGET.
fn start_by_m_lab(script: &Yaml<'_>, clients: &Clients, sandbox: &Sandbox, target: &str) -> Command {
    let path = clients.path("script");
    fs::write(&path, script["script"].as_str().expect("a script")).unwrap();
    let mut shell = clients.shell(sandbox);
    shell.env("TARGET", target).stdin(fs::File::open(&path).unwrap());
    shell
}

fn start_by_ricoberger(script: &Yaml<'_>, clients: &Clients, sandbox: &Sandbox, target: &str) -> Command {
    let mut command = scrape_ricoberger(script, clients, sandbox, &[("MACHINE", target)]);
    // Where the file names production, the sandbox takes its place.
    for name in ["LOCATE_URL", "MONITORING_SIGNER_KEY"] {
        command.env(name, sandbox.var(name));
    }
    command.env("MONITORING_TOKEN_CACHE_DIR", clients.path("cache")).env("MONITORING_TOKEN_RETRIES", "0");
    command.env("PATH", clients.search_path());
    // A writable folder, as the file says.
    command.current_dir(clients.path(""));
    command
}

/// ricoberger/script_exporter v2.24.3 and v3.2.0: the program is `command` (v2: a word; v3: a list), found in the
/// exporter's own PATH, followed by `args`. It adds to its own environment the script's `env`, each query parameter
/// that `env` does not have (repeated ones joined by commas), and the time limits.
fn scrape_ricoberger(script: &Yaml<'_>, clients: &Clients, sandbox: &Sandbox, query: Query<'_>) -> Command {
    let list = |node: &Yaml<'_>| -> Vec<String> {
        let words = node.as_sequence().expect("a list");
        words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    let command = &script["command"];
    let mut words = command.as_str().map_or_else(|| list(command), |word| vec![word.to_owned()]);
    words.extend(list(&script["args"]));
    let mut started = clients.command(clients.path(&words[0]), sandbox);
    started.args(&words[1..]).env("script", script["name"].as_str().unwrap());
    let env = script["env"].as_mapping().expect("an environment");
    for (name, value) in env {
        started.env(name.as_str().unwrap(), value.as_str().expect("a text"));
    }
    for (name, value) in query.iter().filter(|(name, _)| !env.keys().any(|key| key.as_str() == Some(*name))) {
        started.env(name, value);
    }
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + 49.5;
    started.env("SCRIPT_TIMEOUT", "49.500").env("SCRIPT_DEADLINE", format!("{deadline:.3}"));
    started.env("SCRIPT_TIMEOUT_ENFORCED", "1");
    started
}

#[test]
fn each_exporters_scripts_reach_the_target_and_pass_the_status_on() {
    for (file, start) in EXPORTERS {
        let scripts = scripts(file);
        let names: Vec<&str> = scripts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ndt7_client", "wehe_client"], "{file}");
        for (name, script) in &scripts {
            let client = if name == "ndt7_client" { "ndt7-client" } else { "java" };
            let sandbox = Sandbox::start(&[]);
            let clients = Clients::new();
            let probe = |clients: &Clients, status: &str| {
                run(start(script, clients, &sandbox, MACHINE).env("STUB_STATUS", status))
            };
            // The client's failure comes first, because it is not cached.
            let ended = probe(&clients, "7");
            assert_eq!(ended.status, 7, "{file} {name}: {ended:?}");
            // ricoberger's exporter logs the client's output. No line is from monitoring-token.
            assert!(!ended.stderr.contains("monitoring-token: "), "{file} {name}: {ended:?}");
            assert_eq!(ended.stderr.is_empty(), file.ends_with("m-lab.yml"), "{file} {name}: {ended:?}");
            probe(&clients, "0").succeeded();
            // The stand-in has checked them.
            assert!(clients.args(client).is_some(), "{file} {name}");
            assert!(!clients.path("test_results").exists(), "{file} {name}");
            // The success is cached: another run would fail.
            probe(&clients, "7").succeeded();

            // A failure of Locate is not the target's, and the client does not run.
            let clients = Clients::new();
            sandbox.misbehave(r#"{"status":500}"#);
            probe(&clients, "0").failed_with(125, &["500"]);
            assert_eq!(clients.args(client), None, "{file} {name}");
        }
    }
}

/// m-lab's exporter once passed any target to the shell. With `-machine=${TARGET}` unquoted, `x -- true` ran a program
/// of the scraper's choice and counted as a success.
#[test]
fn a_hostile_target_runs_nothing_and_is_not_a_success() {
    let sandbox = Sandbox::start(&[]);
    for (file, start) in EXPORTERS {
        for (name, script) in scripts(file) {
            let clients = Clients::new();
            let proof = clients.path("proof");
            let touch = format!("touch {}", proof.display());
            for target in [
                format!("x -- {touch}"),
                format!("x -machine={MACHINE} -- {touch}"),
                format!("{MACHINE} -exchange=false"),
                format!("; {touch}; exit 0"),
                format!("$({touch})"),
                format!("`{touch}`"),
                format!("\"; {touch}; exit 0; \""),
                format!("'; {touch}; exit 0; '"),
                format!("{MACHINE}\n{touch}"),
                "-help".to_owned(),
                "*".to_owned(),
                "../../etc/passwd".to_owned(),
                String::new(),
            ] {
                let ended = run(&mut start(&script, &clients, &sandbox, &target));
                assert!([2, 125].contains(&ended.status), "{file} {name} {target:?}: {ended:?}");
                assert!(!proof.exists(), "{file} {name} {target:?} ran a command");
                assert_eq!(clients.args("ndt7-client"), None, "{file} {target:?}");
                assert_eq!(clients.args("java"), None, "{file} {target:?}");
            }
        }
    }
}

/// A query parameter becomes an environment variable of the script unless its `env` sets that variable.
#[test]
fn a_scraper_cannot_set_what_ricobergers_scripts_act_on() {
    // First the variables of the program itself; then of the loader, the shell and Java, which run the clients, and of
    // ndt7-client v0.10.1.
    let main = cli::main_command();
    let flags: Vec<(String, String)> = main
        .get_arguments()
        .filter_map(|flag| Some((flag.get_long()?.to_owned(), flag.get_env()?.to_str()?.to_owned())))
        .filter(|(_, variable)| variable != "MACHINE")
        .collect();
    assert!(flags.len() > 15, "{flags:?}");
    let others =
        ["PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let others =
        others.iter().chain(&["http_proxy", "https_proxy", "no_proxy", "XDG_CACHE_HOME", "CACHE_DIRECTORY"]);
    let others = others.chain(&["LD_PRELOAD", "LD_LIBRARY_PATH", "JAVA_TOOL_OPTIONS"]);
    let others =
        others.chain(&["LD_AUDIT", "LD_DEBUG", "LD_DEBUG_OUTPUT", "LD_PROFILE", "LD_PROFILE_OUTPUT"]);
    let others = others.chain(&["BASH_ENV", "BASHOPTS", "ENV", "PS4", "SHELLOPTS"]);
    let others = others.chain(&["BATCH", "DOWNLOAD", "FORMAT", "LOCATE_TOKEN", "NO_VERIFY", "PROFILE"]);
    let others = others.chain(&["QUIET", "SCHEME", "SERVER", "UPLOAD"]);
    for version in ["v2", "v3"] {
        let file = format!("script_exporter/ricoberger-{version}.yml");
        for (name, script) in scripts(&file) {
            let env = names(&script["env"]);
            for (flag, variable) in &flags {
                assert!(
                    env.contains(variable),
                    "{file} {name}: {variable} (-{flag}) can be set by a scraper"
                );
            }
            for variable in others.clone() {
                assert!(env.iter().any(|known| known == variable), "{file} {name}: {variable}");
            }
            // The important ones have a value, and are not just empty.
            for variable in ["LOCATE_URL", "MONITORING_SIGNER_KEY", "MONITORING_TOKEN_CACHE_DIR", "PATH"] {
                assert!(!script["env"][variable].as_str().unwrap().is_empty(), "{file} {name}: {variable}");
            }
            let sandbox = Sandbox::start(&[]);
            let clients = Clients::new();
            let hostile = [
                ("MACHINE", MACHINE),
                ("LOCATE_URL", sandbox.var("LOCATE_URL")),
                ("MONITORING_SIGNER_KEY", sandbox.var("MONITORING_SIGNER_KEY")),
                ("MONITORING_TOKEN_EXCHANGE", "false"),
                ("params", "MACHINE"),
            ];
            // The scraper's key would sign; the file's key does not exist here.
            run(&mut scrape_ricoberger(&script, &clients, &sandbox, &hostile))
                .failed_with(125, &["/keys/monitoring-signer-key.json"]);
        }
    }
}

/// As a shell of the client, bash would define the functions in its environment, whatever its name.
#[test]
fn a_scraper_cannot_define_what_ricobergers_scripts_call() {
    let sandbox = Sandbox::start(&[]);
    for version in ["v2", "v3"] {
        for (name, script) in scripts(&format!("script_exporter/ricoberger-{version}.yml")) {
            let clients = Clients::new();
            symlink("/bin/bash", clients.path("sh")).unwrap();
            let mut command = start_by_ricoberger(&script, &clients, &sandbox, MACHINE);
            let proof = clients.path("proof");
            for function in ["java", "printenv", "rm", "trap", "unset", "command", "[", "ndt7-client", "_"] {
                let body = format!("() {{ echo x > {}; }}", proof.display());
                command.env(format!("BASH_FUNC_{function}%%"), body);
            }
            let ended = run(command.env("STUB_STATUS", "7"));
            assert_eq!(ended.status, 7, "{version} {name}: {ended:?}");
            assert!(!proof.exists(), "{version} {name} ran a function of the scraper");
            // Bash calls the handler if it does not find java.
            fs::remove_file(clients.path("java")).unwrap();
            let body = format!("() {{ echo x > {}; }}", proof.display());
            command.env("BASH_FUNC_command_not_found_handle%%", body).env("PATH", clients.path(""));
            assert_ne!(run(&mut command).status, 0, "{version} {name}");
            assert!(!proof.exists(), "{version} {name} ran the handler of the scraper");
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
    // m-lab/script_exporter v1.2.0: an unknown field is silently ignored; the timeout is in whole seconds.
    for (name, script) in scripts("script_exporter/m-lab.yml") {
        assert_eq!(names(&script), ["name", "script", "timeout"], "{name}");
        assert!(script["timeout"].as_integer().is_some(), "{name}");
    }
    // ricoberger/script_exporter v2 expands text after a dollar sign, even in comments; `command` is a word.
    assert!(!read("script_exporter/ricoberger-v2.yml").contains('$'), "v2 would expand it");
    for (name, script) in scripts("script_exporter/ricoberger-v2.yml") {
        assert_eq!(names(&script), ["args", "command", "env", "name", "timeout"], "{name}");
        assert_eq!(names(&script["timeout"]), ["enforced", "max_timeout"], "{name}");
        assert_eq!(script["command"].as_str(), Some("monitoring-token"), "{name}");
    }
    // v3 refuses an unknown field and a `command` that is not a list.
    for (name, script) in scripts("script_exporter/ricoberger-v3.yml") {
        assert_eq!(names(&script), ["args", "command", "env", "name", "output", "timeout"], "{name}");
        assert_eq!(names(&script["timeout"]), ["enforced", "max_timeout", "wait_delay"], "{name}");
        assert_eq!(names(&script["output"]), ["ignore"], "{name}");
        assert_eq!(script["command"].as_sequence().map(Vec::len), Some(1), "{name}");
    }
}

#[test]
fn the_runs_end_before_the_exporters_limits() {
    for (file, _) in EXPORTERS {
        for (name, script) in scripts(file) {
            let text = script.as_mapping_get("script").and_then(Yaml::as_str).map_or_else(
                || {
                    let args = script["args"].as_sequence().unwrap().iter();
                    args.map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ")
                },
                str::to_owned,
            );
            let value =
                |flag: &str| text.split_whitespace().find_map(|word| word.strip_prefix(flag)).expect(flag);
            let seconds =
                |flag: &str| -> i64 { value(flag).strip_suffix('s').expect("seconds").parse().unwrap() };
            let limit = script["timeout"].as_integer().unwrap_or_else(|| {
                assert_eq!(script["timeout"]["enforced"].as_bool(), Some(true), "{file} {name}");
                script["timeout"]["max_timeout"].as_integer().expect("a limit")
            });
            assert!(seconds("-timeout=") + seconds("-kill-after=") < limit, "{file} {name}");
            assert!(text.contains("-die-with-parent"), "{file} {name}");
            // As long as production caches: without a cache, every scrape would transfer a test.
            assert_eq!(
                value("-cache-ttl="),
                if name == "ndt7_client" { "1h" } else { "10m" },
                "{file} {name}"
            );
        }
    }
}

/// The documents of a manifest.
fn manifest(name: &str) -> Vec<Yaml<'static>> {
    let text: &'static str = Box::leak(read(name).into_boxed_str());
    Yaml::load_from_str(text).expect("the file is YAML")
}

/// The item of a list that has this value under the key.
fn item<'a>(list: &'a Yaml<'a>, key: &str, value: &str) -> &'a Yaml<'a> {
    let mut items = list.as_sequence().expect("a list").iter();
    items.find(|item| item[key].as_str() == Some(value)).unwrap_or_else(|| panic!("no {key} {value}"))
}

/// Wehe failed every probe on a read-only root file system, with a status that looked like a broken server; and two
/// replicas, each with its own cache, were behind a Service that sent every second scrape to the other one.
#[test]
fn the_exporters_pods_can_write_and_each_machine_finds_its_cache() {
    let sets = manifest("kubernetes/base/statefulset.yaml");
    let set = &sets[0]["spec"];
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
    for path in ["/tmp", "/cache"] {
        let volume = item(&container["volumeMounts"], "mountPath", path)["name"].as_str().unwrap();
        assert!(item(&pod["volumes"], "name", volume)["emptyDir"].as_mapping().is_some(), "{path}");
    }
    // The memory limit is the formula beside it: 64 MiB, and 64 MiB for each probe at the same time.
    assert_eq!(container["resources"]["limits"]["memory"].as_str(), Some("2Gi"));
    assert!(read("kubernetes/base/statefulset.yaml").contains("2 GiB carry 31"), "64 + 31 * 64 = 2048");

    let services = manifest("kubernetes/base/services.yaml");
    assert_eq!(services[0]["spec"]["sessionAffinity"].as_str(), Some("ClientIP"));
    assert_eq!(services[1]["spec"]["clusterIP"].as_str(), Some("None"), "each pod has a name");
    assert_eq!(set["serviceName"].as_str(), services[1]["metadata"]["name"].as_str());
    // As many shards as pods.
    let plain = manifest("prometheus.yml");
    let relabel = plain[0]["scrape_configs"][0]["relabel_configs"].as_sequence().unwrap();
    let modulus =
        |rules: &[Yaml<'_>]| rules.iter().find_map(|rule| rule.as_mapping_get("modulus")?.as_integer());
    assert_eq!(modulus(relabel), set["replicas"].as_integer());
    let operator = manifest("kubernetes/operator/scrapeconfig.yaml");
    assert_eq!(
        modulus(operator[0]["spec"]["relabelings"].as_sequence().unwrap()),
        set["replicas"].as_integer()
    );
}

/// The story: a job had a copy of the token, which the next rotation deleted.
#[test]
fn recipes_that_hand_on_a_copy_of_the_token_keep_the_old_one() {
    let unit = read("systemd/monitoring-token-rotate@.service");
    let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    assert!(start.split(' ').any(|word| word == "--keep-old"), "{start}");
    let documents = manifest("kubernetes/rotate-cronjob.yaml");
    let job = documents.iter().find(|document| document["kind"].as_str() == Some("CronJob")).unwrap();
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let args = item(&pod["containers"], "name", "rotate")["args"].as_sequence().unwrap();
    assert!(args.iter().any(|arg| arg.as_str() == Some("--keep-old")), "{args:?}");
}

#[test]
fn a_prometheus_of_kube_prometheus_stack_selects_the_operators_resources() {
    for file in ["probe", "prometheusrule", "scrapeconfig", "servicemonitor"] {
        let resource = &manifest(&format!("kubernetes/operator/{file}.yaml"))[0];
        let release = resource["metadata"]["labels"]["release"].as_str();
        assert_eq!(release, Some("kube-prometheus-stack"), "{file}");
    }
}

#[test]
fn the_operators_rules_are_those_of_plain_prometheus() {
    let plain = read("alerts.yml");
    let (_, groups) = plain.split_once("\ngroups:\n").expect("groups");
    let indented: String = groups
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    let rule = read("kubernetes/operator/prometheusrule.yaml");
    let (_, spec) = rule.split_once("\nspec:\n  groups:\n").expect("groups");
    assert!(spec == indented, "write it again with scripts/prometheus-rule.sh");
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

/// The scripts of the pod that rotates the token of a Secret, with the Secret in a folder.
#[test]
fn the_cronjob_updates_the_secret_and_never_holds_a_token_that_is_gone() {
    let text = read("kubernetes/rotate-cronjob.yaml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let role = &documents[1]["rules"][0];
    assert_eq!(role["resourceNames"][0].as_str(), Some("sasquatch-token"));
    let pod = &documents[3]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let script = |container: &Yaml<'_>| container["args"][0].as_str().expect("a script").to_owned();
    let (fetch, store) = (script(&pod["initContainers"][0]), script(&pod["containers"][1]));
    let words = pod["containers"][0]["args"].as_sequence().unwrap();
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    let kubectl = "#!/bin/sh -eu
        case $*' ' in
            'patch secret sasquatch-token --type=merge --patch={} --dry-run=server ') ;;
            'get secret sasquatch-token -o jsonpath={.data.'*'} ')
                [ ! -e \"$SECRET/unreachable\" ] || exit 1
                key=${5#*.data.}; cat \"$SECRET/${key%\\}}\" 2>/dev/null || : ;;
            'patch secret sasquatch-token --type=merge --patch-file='*) cp \"${5#*=}\" \"$SECRET/patch\" ;;
            *) echo \"kubectl $*\" >&2; exit 1 ;;
        esac\n";
    fs::write(path("kubectl"), kubectl).unwrap();
    fs::set_permissions(path("kubectl"), fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = Sandbox::start(&[]);
    fs::write(path("admin"), sandbox.var("GAFAELFAWR_ADMIN_TOKEN")).unwrap();
    let lost = r#"{"delay_ms":60000,"after":true,"only":"POST /auth/api/v1/tokens"}"#;
    let mut seen: Vec<String> = Vec::new();
    for (due, fault, tokens) in [
        ("--renew-before=1h", "{}", 1),
        ("--renew-before=31d", "{}", 2),
        ("--renew-before=1h", "{}", 2),
        ("--renew-before=31d", lost, 3),
        // From the state that the failed run has left, this one knows of the lost token, and deletes it.
        ("--renew-before=31d", "{}", 3),
    ] {
        sandbox.misbehave(fault);
        let work = Folder::new();
        let fill = |text: &str| text.replace("/work", work.root().to_str().unwrap());
        let shell = |text: String| {
            let mut shell = Command::new("/bin/sh");
            let search_path = format!("{}:{}", folder.root().display(), std::env::var("PATH").unwrap());
            shell.args(["-euc", &fill(&text)]).env("PATH", search_path).env("SECRET", folder.root());
            run(&mut shell)
        };
        // No token is created if the Secret cannot be read.
        fs::write(path("unreachable"), "").unwrap();
        assert_ne!(shell(fetch.clone()).status, 0);
        fs::remove_file(path("unreachable")).unwrap();
        shell(fetch.clone()).succeeded();
        let args = words.iter().map(|word| {
            fill(word.as_str().unwrap()).replace("/admin/token", path("admin").to_str().unwrap())
        });
        // Both are started at once.
        let mut rotate = sandbox.token();
        rotate.args(args).arg(due).arg(if fault == lost { "--timeout=4s" } else { "--timeout=1m" });
        let rotated = std::thread::spawn(move || run(&mut rotate));
        shell(store.clone()).succeeded();
        assert_eq!(rotated.join().unwrap().status == 0, fault == "{}");
        let update: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path("patch")).unwrap()).unwrap();
        for key in ["token", "state"] {
            fs::write(path(key), update["data"][key].as_str().unwrap()).unwrap();
        }
        seen.push(fs::read_to_string(path("token")).unwrap());
        // The previous token in the Secret is still valid.
        assert_eq!(sandbox.made_tokens("/sandbox/gafaelfawr").len(), tokens, "{seen:?}");
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2]);
    assert_eq!(seen[2], seen[3], "the failed run replaced nothing");
    assert_ne!(seen[3], seen[4]);
}

#[test]
fn the_metrics_script_sends_the_authorization_and_hides_it() {
    let (sent, seen) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        let head = read_head(&mut stream);
        let _ = sent.send(head);
        let _ = std::io::Write::write_all(&mut stream, http("200 OK", "", "{}").as_bytes());
    });
    let folder = Folder::new();
    let metrics = folder.path("metrics.json");
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
    // curl would send an empty body, and succeed.
    fs::remove_file(&metrics).unwrap();
    let ended = run(&mut script);
    assert!(ended.status == 1 && ended.stderr.contains("cannot read"), "{ended:?}");
    assert!(ended.stderr.contains("metrics.json"), "{ended:?}");
    assert!(seen.try_recv().is_err(), "nothing is sent");
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
fn the_last_stage_of_the_image_has_no_shell_and_copies_what_the_first_builds() {
    let dockerfile = instructions(&read("Dockerfile"));
    let known = ["FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "ENTRYPOINT"];
    assert!(dockerfile.iter().all(|(name, _)| known.contains(&name.as_str())), "{dockerfile:?}");
    let last = dockerfile.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let (build, image) = dockerfile.split_at(last);
    assert_eq!(image[0].1, "scratch");
    assert!(image.iter().all(|(name, _)| name != "RUN"), "there is no shell to run anything");
    // Every base image is pinned by digest: a tag can be moved.
    for (_, image) in build.iter().filter(|(name, _)| name == "FROM") {
        let (_, digest) = image.split_once("@sha256:").expect(image);
        assert!(digest.split_whitespace().next().is_some_and(|digest| digest.len() == 64), "{image}");
    }
    assert!(build[0].1.ends_with(" AS build"), "{build:?}");

    // Files copied from the first stage are created by its script.
    let made = &build.iter().find(|(name, _)| name == "RUN").expect("it builds").1;
    let copies: Vec<&str> =
        image.iter().filter(|(name, _)| name == "COPY").map(|(_, rest)| rest.as_str()).collect();
    assert_eq!(copies, ["--from=build /root-of-image /"]);
    for part in [
        "amd64) target=x86_64-unknown-linux-gnu",
        "arm64) target=aarch64-unknown-linux-gnu",
        "target/$target/release/monitoring-token\"",
        "target/$target/release/monitoring-sandbox\" /root-of-image/usr/bin/",
        "cp /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/",
        "cp LICENSE /root-of-image/",
        "make build TARGET=\"$target\"",
    ] {
        assert!(made.contains(part), "{part} is not in: {made}");
    }
    assert!(deploy().join("../LICENSE").is_file());
    let labels = &image.iter().find(|(name, _)| name == "LABEL").expect("labels").1;
    for label in ["title", "description", "licenses", "version", "revision", "source"] {
        assert!(labels.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
    let entry = &image.iter().find(|(name, _)| name == "ENTRYPOINT").expect("an entry point").1;
    assert_eq!(entry, "[\"/usr/bin/monitoring-token\"]");
    // It must not run as root.
    assert!(image.iter().any(|(name, rest)| name == "USER" && rest == "65534:65534"));
}

#[test]
fn a_release_with_a_placeholder_is_refused() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| {
        let path = folder.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        fs::write(path, text).unwrap();
    };
    for name in ["Cargo.toml", "SECURITY.md", "deploy/Dockerfile", "packaging/nfpm.yaml"] {
        write(name, "repository = \"https://github.com/owner/monitoring-token\"\n");
    }
    let check = || run(Command::new(repository().join("packaging/check-release.sh")).arg(folder.root()));
    check().succeeded();
    write("deploy/kubernetes/x.yaml", "image: https://monitoring-token.example/x\n");
    let refused = check();
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stdout.contains("deploy/kubernetes/x.yaml:1:"), "{refused:?}");
    let workflow = fs::read_to_string(repository().join(".github/workflows/release.yml")).unwrap();
    assert!(workflow.contains("run: packaging/check-release.sh\n"));
    assert_eq!(workflow.matches("    needs: [check]\n").count(), 2, "nothing is built before the check");
}

/// The words in `text` that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| w.starts_with(prefix)).collect()
}

#[test]
fn deploy_files_use_existing_metrics_and_show_all_of_them() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let file = folder.path("run.prom");
    let flag = format!("-metrics-textfile={}", file.display());
    run(sandbox.token().args([&flag, "true"])).succeeded();
    let mut text = fs::read_to_string(&file).unwrap();
    // The reason is present only after a failure.
    assert_eq!(run(sandbox.token().args([&flag, "false"])).status, 1);
    text += &fs::read_to_string(&file).unwrap();
    let rotated = folder.path("rotate.prom");
    let rotate = ["gafaelfawr", "rotate", "--username=bot-x", "--scopes=read:all", "--token-file"];
    let flag = format!("-metrics-textfile={}", rotated.display());
    let rotated_file = folder.path("token");
    assert_eq!(run(sandbox.token().args(rotate).arg(rotated_file).arg(flag)).status, 0);
    text += &fs::read_to_string(rotated).unwrap();
    let written: BTreeSet<&str> = words(&text, "monitoring_token_");
    assert_eq!(written.len(), 11, "{written:?}");
    let files: Vec<(PathBuf, String)> =
        files(&deploy()).into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    for (path, text) in &files {
        for name in words(text, "monitoring_token_") {
            assert!(written.contains(name), "{}: {name} is not written", path.display());
        }
    }
    let of = |name: &str| &files.iter().find(|(path, _)| path.ends_with(name)).expect(name).1;
    for name in ["alerts.yml", "grafana-dashboard.json"] {
        // The other metrics of script_exporter differ between its two versions.
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
    // Each alert appears in the tests of the rules.
    for alert in of("alerts.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(of("alerts.test.yml").contains(alert), "{alert} is not tried");
    }
}
