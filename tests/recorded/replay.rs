//! Repeats each recorded run with this program, and compares: the requests (path, query, header, claims), the command's
//! arguments, environment and descriptors, whether it ran, and the exit status. Each difference must be documented, and
//! each documented difference must occur.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::case::{self, Case, Mode, Ran, Saw, os, without_jwt};
use super::differences::{Run, differences, documented};
use super::server::Server;
use crate::support::job::Folder;
use crate::support::{PATIENCE, kill, messages, testdata};

/// Concurrent runs: most of them wait.
const WORKERS: usize = 8;
/// The names of the command's copies below `bin/`.
const PROGRAMS: [&str; 20] = [
    "child",
    "child.sh",
    "true",
    "false",
    "check",
    "key",
    "gafaelfawr",
    "stackstate",
    "help",
    "exec",
    "version",
    "list",
    "completions",
    "machine",
    "service-url",
    "-machine",
    "-x",
    "t",
    "1",
    "é",
];

/// The recording's folder `{DIR}`.
struct Stage {
    folder: Folder,
}

impl Stage {
    fn new() -> Stage {
        let stage = Stage { folder: Folder::new() };
        for folder in ["bin", "with space", "folder", "out"] {
            fs::create_dir(stage.path(folder)).unwrap();
        }
        let child = fs::read(testdata("original/child.sh")).unwrap();
        let names = PROGRAMS.iter().map(|name| format!("bin/{name}"));
        let others = ["bin/a b", "rel", "with space/child", "child.sh"].map(str::to_owned);
        for name in names.chain(others) {
            stage.write(&name, &child, 0o755);
        }
        stage.write("empty", b"", 0o755);
        stage.write("notexec", &child, 0o644);
        stage.write("noshebang", b"exit 0\n", 0o755);
        stage.write("badshebang", b"#!/no/such/interpreter\nexit 0\n", 0o755);
        stage.write("garbage", b"\x7fELFgarbage, not a program", 0o755);
        // The head of a program for aarch64 (elf(5)).
        let mut foreign = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
        foreign.resize(64, 0);
        stage.write("foreign", &foreign, 0o755);
        stage.write("typed", b"typed\n", 0o644);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// The values of a recording's placeholders.
pub type Names = Vec<(&'static str, String)>;

pub fn fill(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
}

/// The recorded results with this run's ports and paths.
fn filled(saw: &Saw, names: &Names) -> Saw {
    let mut saw = saw.clone();
    for asked in &mut saw.requests {
        asked.query = fill(&asked.query, names);
        // A proxy is asked for a whole URL.
        if let Some((_, rest)) = asked.path.split_once("://").filter(|_| !asked.path.starts_with('/')) {
            asked.path = rest[rest.find('/').unwrap_or(rest.len())..].to_owned();
        }
    }
    if let Some(ran) = &mut saw.command {
        ran.argv.iter_mut().for_each(|word| *word = fill(word, names));
        ran.env.values_mut().for_each(|value| *value = fill(value, names));
    }
    saw
}

/// A repeated run.
pub struct Replayed<'a> {
    pub run: Run<'a>,
    pub expected: Saw,
    pub seen: Saw,
    pub stderr: String,
}

fn replay<'a>(stage: &Stage, case: &'a Case, mode: Mode) -> Replayed<'a> {
    let uses = |placeholder: &str| {
        let env = case.env.values().flatten();
        case.args.iter().chain(env).any(|text| text.contains(placeholder))
            || case.server.to_string().contains(placeholder)
    };
    let other_answer = serde_json::json!({"status": 200, "body":
        r#"{"target":{"urls":{"wss://:3010/ndt_protocol":"wss://other.example:3010/ndt_protocol?access_token=AT"}}}"#});
    let other = uses("{OTHER}").then(|| Server::start("127.0.0.1", "other", &other_answer, &[]));
    let mut names: Names = Vec::new();
    if let Some(other) = &other {
        names.push(("{OTHER}", other.address.to_string()));
    }
    let server = Server::start("127.0.0.1", "locate", &case.server, &names);
    let server6 = uses("{PORT6}").then(|| Server::start("::1", "locate", &case.server, &names));
    if let Some(server) = &server6 {
        names.push(("{PORT6}", server.address.port().to_string()));
    }
    let key = testdata("original/keys").join(format!("{}.json", case.key));
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    names.extend([
        ("{LOCATE}", format!("http://{}/v2/platform/monitoring/", server.address)),
        ("{PORT}", server.address.port().to_string()),
        ("{KEYTEXT}", fs::read_to_string(&key).unwrap_or_default()),
        ("{KEY}", text(key)),
        ("{CHILD}", text(stage.path("child.sh"))),
        ("{DIR}", text(stage.path("")).trim_end_matches('/').to_owned()),
    ]);
    let run = Run { case, mode, names };
    let ran = execute(stage, &run, server.address.port());
    let mut seen = Saw { requests: Vec::new(), command: ran.command, status: ran.status };
    for server in [Some(server), server6, other].into_iter().flatten() {
        seen.requests.extend(server.finish());
    }
    let expected = filled(&case.saw, &run.names);
    Replayed { run, expected, seen, stderr: ran.stderr }
}

/// The results of the process.
struct Executed {
    command: Option<Ran>,
    status: i32,
    stderr: String,
}

fn execute(stage: &Stage, run: &Run<'_>, port: u16) -> Executed {
    let Run { case, mode, names } = run;
    let out = stage.path(&format!("out/{}-{mode:?}", case.name.replace('/', "_")));
    let suffixed = |suffix: &str| PathBuf::from(format!("{}.{suffix}", out.display()));
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    env.insert("PATH".into(), format!("{}:/usr/bin:/bin", stage.path("bin").display()).into());
    for (name, value) in &case.env {
        match value {
            Some(value) => env.insert(os(name), os(&fill(value, names))),
            None => env.remove(&os(name)),
        };
    }
    env.insert("OUT".into(), out.clone().into());
    // If the original makes no request, this program gets a server for any host: the recording's, as a proxy.
    let is_proxied = case.env.keys().any(|name| name.to_ascii_lowercase().ends_with("_proxy"));
    if *mode == Mode::Exchange && !case.exchanges() && !is_proxied {
        for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
            env.insert(name.into(), format!("http://127.0.0.1:{port}").into());
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_monitoring-token"));
    command.env_clear().envs(&env).current_dir(stage.path(""));
    if *mode == Mode::Plain {
        command.arg("-exchange=false");
    }
    command.args(case.args.iter().map(|arg| os(&fill(arg, names))));
    let stdin = case.stdin.as_deref().unwrap_or("{DIR}/typed");
    command.stdin(File::open(fill(stdin, names)).unwrap());
    command.stdout(File::create(suffixed("stdout")).unwrap());
    command.stderr(File::create(suffixed("stderr")).unwrap());
    let mut child = command.spawn().expect("the program starts");
    if let Some((signal, after)) = &case.send {
        let began = Instant::now();
        while !suffixed("ready").exists() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_secs_f64(*after));
        kill(child.id(), number_of(signal));
    }
    let status = wait(&mut child, &case.name);
    let command = suffixed("ready").exists().then(|| found(&env, &suffixed, &suffixed("stderr")));
    let stderr = String::from_utf8_lossy(&fs::read(suffixed("stderr")).unwrap()).into_owned();
    Executed { command, status, stderr }
}

pub fn number_of(signal: &str) -> i32 {
    match signal.trim_start_matches("SIG") {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "ABRT" => libc::SIGABRT,
        "KILL" => libc::SIGKILL,
        "USR1" => libc::SIGUSR1,
        "SEGV" => libc::SIGSEGV,
        "PIPE" => libc::SIGPIPE,
        "TERM" => libc::SIGTERM,
        other => panic!("no signal {other}"),
    }
}

fn wait(child: &mut Child, name: &str) -> i32 {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        }
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("{name} did not end within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reads the files that `child.sh` wrote.
fn found(given: &BTreeMap<OsString, OsString>, file: &impl Fn(&str) -> PathBuf, stderr: &Path) -> Ran {
    let words = |suffix: &str| -> Vec<Vec<u8>> {
        let bytes = fs::read(file(suffix)).unwrap();
        bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
    };
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut env, mut left, mut jwt) = (BTreeMap::new(), BTreeSet::new(), None);
    for entry in words("env") {
        let at = entry.iter().position(|&byte| byte == b'=').unwrap();
        let (name, value) = (OsString::from_vec(entry[..at].to_vec()), &entry[at + 1..]);
        if given.get(&name).is_none_or(|before| before.as_bytes() != value) {
            let (value, found) = without_jwt(&lossy(value));
            jwt = jwt.or(found);
            env.insert(lossy(name.as_bytes()), value);
        }
        left.insert(name);
    }
    let removed = given.keys().filter(|name| !left.contains(*name)).map(|name| lossy(name.as_bytes()));
    let fds = fs::read_to_string(file("fds")).unwrap();
    let mut fds = fds.lines().map(|to| match to {
        "/dev/null" => "devnull".to_owned(),
        to if Path::new(to) == stderr || to.ends_with(".stdout") => "inherited".to_owned(),
        to => to.to_owned(),
    });
    let to = [(); 3].map(|()| fds.next().unwrap_or_default());
    // A script's first word is its interpreter.
    let interpreter = usize::from(words("argv")[0] == b"/bin/sh");
    let argv = words("argv").into_iter().skip(interpreter).map(|word| lossy(&word)).collect();
    Ran { argv, env, removed: removed.collect(), to, jwt }
}

/// Repeats all runs in both modes, the slow ones first.
fn replay_all(cases: &[Case]) -> Vec<Replayed<'_>> {
    let stage = Stage::new();
    let mut queue: Vec<(&Case, Mode)> =
        cases.iter().flat_map(|case| [(case, Mode::Plain), (case, Mode::Exchange)]).collect();
    let slow = |case: &Case| case.took + f64::from(u8::from(case.send.is_some() || case.name.contains("50")));
    queue.sort_by(|(a, _), (b, _)| slow(a).total_cmp(&slow(b)));
    let (queue, done) = (Mutex::new(queue), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((case, mode)) = { queue.lock().unwrap().pop() } {
                    let replayed = replay(&stage, case, mode);
                    done.lock().unwrap().push(replayed);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// Text that must not be on stderr, and text that must be there after a failure.
fn problems_of(replayed: &Replayed<'_>) -> Vec<String> {
    let Replayed { run, seen, stderr, .. } = replayed;
    let mut problems = Vec::new();
    let lines = || stderr.lines().filter(|line| line.starts_with("monitoring-token: "));
    let failed_here = [2, 124, 125, 126, 127].contains(&seen.status) && seen.command.is_none();
    if failed_here && lines().filter(|line| !line.contains(": warning: ")).count() != 1 {
        problems.push("a failure is one line on stderr".to_owned());
    }
    problems.extend(lines().filter_map(|line| messages::explain(line, None).err()));
    let key = fs::read_to_string(testdata("original/keys").join(format!("{}.json", run.case.key)));
    let key: Option<serde_json::Value> = key.ok().and_then(|text| serde_json::from_str(&text).ok());
    let private = key.as_ref().and_then(|key| key["d"].as_str()).filter(|d| d.len() > 12);
    if private.is_some_and(|private| stderr.contains(private)) {
        problems.push("stderr shows the private key".to_owned());
    }
    let is_jwt = |word: &str| word.starts_with("eyJ") && word.split('.').count() == 3;
    let words = stderr.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    if words.filter(|word| is_jwt(word)).any(|word| !word.ends_with(".REDACTED")) {
        problems.push("stderr shows a JWT".to_owned());
    }
    problems
}

fn compare(replayed: &Replayed<'_>, used: &mut BTreeSet<&'static str>) -> Vec<String> {
    let mut expected = replayed.expected.clone();
    for difference in &differences() {
        let before = expected.clone();
        (difference.apply)(&replayed.run, &mut expected);
        if expected != before {
            used.insert(difference.name);
        }
    }
    let mut problems = problems_of(replayed);
    let seen = &replayed.seen;
    if expected.status != seen.status {
        problems.push(format!("status {} instead of {}", seen.status, expected.status));
    }
    if expected.requests != seen.requests {
        problems.push(format!(
            "requests\n      {:?}\n    instead of\n      {:?}",
            seen.requests, expected.requests
        ));
    }
    if expected.command != seen.command {
        problems.push(format!(
            "the command\n      {:?}\n    instead of\n      {:?}",
            seen.command, expected.command
        ));
    }
    problems
}

#[test]
fn each_recorded_run_does_the_same_here_but_for_the_documented_differences() {
    let cases = case::all();
    assert_eq!(cases.len(), 902);
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    let counts = |case: &Case| !case.racy;
    for replayed in replay_all(&cases).iter().filter(|replayed| counts(replayed.run.case)) {
        let problems = compare(replayed, &mut used);
        if !problems.is_empty() {
            let Run { case, mode, .. } = &replayed.run;
            let stderr = replayed.stderr.trim_end();
            wrong.push(format!("{} {mode:?}: {}\n    {stderr}", case.name, problems.join("\n    ")));
        }
    }
    wrong.sort();
    for difference in differences().iter().filter(|difference| !used.contains(difference.name)) {
        wrong.push(format!("no run shows the documented difference {:?}", difference.name));
    }
    assert!(wrong.is_empty(), "{} runs differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_documentation_lists_the_differences_that_the_runs_show() {
    let listed: Vec<&str> = differences().iter().map(|difference| difference.name).collect();
    assert_eq!(documented(), listed);
}
