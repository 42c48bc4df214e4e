//! The manual is true: every example of the README, of `docs/`, and of the man pages is run by a shell, in an empty
//! folder, as a reader would run it, against the sandbox. Other programs are replaced by the stand-ins in
//! `tests/stand-ins`, which check their arguments. Programs that are not in the tables below are not found, so the
//! example fails; so does any line that fails.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::job::Folder;
use crate::support::{Ended, MACHINE, Sandbox, finish, run, sandbox_program};

/// The value that replaces a placeholder.
type Value = fn(&Stage) -> String;

/// Placeholders of the manual, and the values that replace them.
const PLACEHOLDERS: &[(&str, Value)] = &[
    ("https://locate-dot-mlab-sandbox.appspot.com", |stage| stage.url()),
    ("https://locate-dot-PROJECT.appspot.com", |stage| stage.url()),
    ("https://data.example.org", |stage| stage.url()),
    ("https://usdf-rsp.slac.stanford.edu", |stage| stage.url()),
    ("https://observability.example.org", |stage| stage.url()),
    ("https://stackstate.example.com", |stage| stage.url()),
    ("/keys/", |stage| stage.path("keys/")),
    ("/var/lib/monitoring-token/ndt7.prom", |stage| stage.path("collected/ndt7.prom")),
    // A reader has seen the ID in a list.
    ("yAPTG95Er6mplkpxK160ug", |stage| stage.gafaelfawr_token("bot-sasquatch")),
    ("AAAAAAAAAAAAAAAAAAAAAA", |stage| stage.gafaelfawr_token("bot-jenkins")),
    ("delete --id 123456789012345", |stage| format!("delete --id {}", stage.stackstate_token())),
    ("delete 123\n", |stage| format!("delete {}\n", stage.stackstate_token())),
];

/// Why an example is not run here.
enum Elsewhere {
    /// Another test runs it: its file, and words in that file.
    RunBy(&'static str, &'static [&'static str]),
    /// Nothing runs it.
    NotRun(&'static str),
}

/// Examples that begin like this change the machine, are whole builds, or need something that is missing here.
const ELSEWHERE: [(&str, Elsewhere); 7] = [
    ("make demo ", Elsewhere::RunBy(".ci/run", &["\nmake check\n", "\nmake demo\n"])),
    // Under a systemd of its own.
    (
        "make deb\n",
        Elsewhere::RunBy("tests/walk-through.sh", &["docs/run/systemd.md", "grep -vx 'make deb'"]),
    ),
    ("set -a; . /etc/default/", Elsewhere::RunBy("tests/walk-through.sh", &["docs/run/systemd.md"])),
    ("install -D -m 600 admin-token ", Elsewhere::RunBy("tests/walk-through.sh", &["/srv/admin-token"])),
    ("useradd ", Elsewhere::RunBy("tests/cron.sh", &["deploy/cron/monitoring-token >\"$work/commands\""])),
    ("curl ", Elsewhere::NotRun("the stand-in for curl knows less; tried with curl 7.88 on the sandbox")),
    ("kubectl ", Elsewhere::NotRun("needs a cluster; tests/deploy.sh validates the files that it applies")),
];

/// Blocks without commands, by the word after the fence.
const NO_COMMANDS: [&str; 3] = ["mermaid", "text", "yaml"];

/// Variables of a reader's environment: the exporter's, and the administrator's secrets. The examples set all others;
/// an exported variable stays set for the examples after it.
const GIVEN: [&str; 4] = ["TARGET", "MACHINE", "GAFAELFAWR_ADMIN_TOKEN", "STS_CLI_API_TOKEN"];

/// System programs that an example may use.
const TOOLS: [&str; 7] = ["sh", "cat", "grep", "sleep", "env", "date", "true"];

/// Other programs, by the name of the file that stands in for them.
const STAND_INS: [&str; 5] = ["ndt7-client", "ndt5-client", "wehe-client.sh", "sts", "curl"];

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stdout_of(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.status, 0, "{ended:?}");
    ended.stdout.trim_end().to_owned()
}

/// The folder and the sandbox of one example.
pub struct Stage {
    folder: Folder,
    pub sandbox: Sandbox,
}

impl Stage {
    /// With the programs, the stand-ins, and the files of a reader's folder.
    pub fn new() -> Stage {
        let stage = Stage { folder: Folder::new(), sandbox: Sandbox::start(&[]) };
        for folder in ["bin", "keys", "collected", "work", "home"] {
            fs::create_dir(stage.path(folder)).unwrap();
        }
        let programs = [env!("CARGO_BIN_EXE_monitoring-token"), sandbox_program()];
        let stand_ins = STAND_INS.map(|name| repository().join("tests/stand-ins").join(name));
        let tools = TOOLS.map(|name| which(name).unwrap_or_else(|| panic!("no {name} in PATH")));
        for program in programs.map(PathBuf::from).into_iter().chain(stand_ins).chain(tools) {
            let name = program.file_name().unwrap().to_str().unwrap();
            symlink(&program, stage.path(&format!("bin/{name}"))).unwrap();
        }
        // Files that the examples expect.
        let key = stage.sandbox.var("MONITORING_SIGNER_KEY");
        fs::copy(key, stage.path("keys/monitoring-signer-key.json")).unwrap();
        symlink(repository().join("deploy"), stage.path("work/deploy")).unwrap();
        symlink("deploy/jenkins/send-metrics.sh", stage.path("work/send-metrics.sh")).unwrap();
        fs::write(stage.path("work/metrics.json"), "{\"records\":[]}").unwrap();
        fs::write(stage.path("work/admin.token"), stage.sandbox.var("GAFAELFAWR_ADMIN_TOKEN")).unwrap();
        stage
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path(name).display().to_string()
    }

    fn url(&self) -> String {
        self.sandbox.var("SANDBOX_URL").to_owned()
    }

    /// The key of a token that was created for this user.
    fn gafaelfawr_token(&self, username: &str) -> String {
        let scopes = ["--username", username, "--name", "older", "--scopes", "write:sasquatch"];
        let secret = stdout_of(self.sandbox.token().args(["gafaelfawr", "create"]).args(scopes));
        secret.trim_start_matches("gt-").split('.').next().unwrap().to_owned()
    }

    /// The ID of a token that was created earlier.
    fn stackstate_token(&self) -> String {
        let create = ["stackstate", "create", "--name", "older", "--roles", "stackstate-power-user"];
        stdout_of(self.sandbox.token().args(create));
        let shown = self.sandbox.shows("/sandbox/stackstate");
        let token = shown["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "older");
        token.expect("it is there")["id"].to_string()
    }

    /// Replaces the placeholders of the manual.
    pub fn fill_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (written, value) in PLACEHOLDERS {
            if text.contains(written) {
                text = text.replace(written, &value(self));
            }
        }
        text
    }

    /// Runs the text as a shell script, and ends its background jobs.
    pub fn run(&self, text: &str) -> Ended {
        let script = self.path("script");
        fs::write(&script, self.fill_in(text)).unwrap();
        let mut shell = Command::new(self.path("bin/sh"));
        shell.args(["-eu", &script]).current_dir(self.path("work")).process_group(0).stdin(Stdio::null());
        shell.env_clear().env("PATH", self.path("bin")).env("HOME", self.path("home"));
        shell.env("CALLS", self.path("calls"));
        for name in GIVEN {
            shell.env(name, if name == "TARGET" { MACHINE } else { self.sandbox.var(name) });
        }
        // A sandbox in the background must not hold a pipe: its outputs are files.
        let out = [self.path("stdout"), self.path("stderr")];
        let child =
            shell.stdout(fs::File::create(&out[0]).unwrap()).stderr(fs::File::create(&out[1]).unwrap());
        let child = child.spawn().expect("a shell");
        let group = child.id();
        let ended = finish(child);
        // The leader has been waited for; its group's id is not given out again while one of the group lives.
        // SAFETY: killpg has no memory to be unsafe with.
        unsafe { libc::killpg(i32::try_from(group).unwrap(), libc::SIGTERM) };
        let read = |path: &String| fs::read_to_string(path).unwrap();
        Ended { stdout: read(&out[0]), stderr: read(&out[1]), ..ended }
    }

    /// The names of the stand-ins that were called, sorted.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let mut calls: Vec<String> = calls.lines().map(str::to_owned).collect();
        calls.sort();
        calls
    }
}

/// The program of this name in PATH.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A block of commands, and its position.
#[derive(Debug)]
struct Example {
    origin: String,
    text: String,
}

/// The blocks between a line `begin` and a line `end`.
fn examples(name: &str, begin: &str, end: &str, plain: fn(&str) -> String) -> Vec<Example> {
    let text = fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut found = Vec::<Example>::new();
    // `Some` inside a block: whether it holds commands.
    let mut inside = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        match (inside, line.trim_end()) {
            (None, line) if line == begin => {
                found.push(Example { origin: place, text: String::new() });
                inside = Some(true);
            }
            (Some(_), line) if line == end => inside = None,
            (Some(true), line) => found.last_mut().unwrap().text += &format!("{}\n", plain(line)),
            (Some(false), _) => {}
            (None, line) => {
                if let Some(kind) = line.strip_prefix(end) {
                    assert!(NO_COMMANDS.contains(&kind), "{place}: a block of another kind");
                    inside = Some(false);
                }
            }
        }
    }
    assert!(inside.is_none(), "{name}: a block without an end");
    found
}

/// Every page of the manual except the man pages, relative to the root of the repository.
pub fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for path in crate::deploy::files(&repository().join("docs")) {
        if path.extension().is_some_and(|kind| kind == "md") {
            pages.push(path.strip_prefix(repository()).unwrap().display().to_string());
        }
    }
    pages.extend(["deploy/README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    pages
}

fn page(name: &str) -> Vec<Example> {
    examples(name, "```sh", "```", str::to_owned)
}

fn readme() -> Vec<Example> {
    page("README.md")
}

fn all_pages() -> Vec<Example> {
    pages().iter().flat_map(|name| page(name)).collect()
}

/// The examples of all man pages; the main page comes first, because the others refer to it.
fn man_pages() -> Vec<Example> {
    let entries = fs::read_dir(repository().join("packaging/man")).expect("packaging/man");
    let mut pages: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort_by_key(|page| (page != "monitoring-token.roff", page.clone()));
    let plain: fn(&str) -> String = |line| line.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\");
    pages.iter().flat_map(|page| examples(&format!("packaging/man/{page}"), ".EX", ".EE", plain)).collect()
}

/// The stand-ins that a text should call: those in command position, and those after `--` unless it is a line of
/// `check`.
fn wanted_calls(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut wanted = Vec::new();
    for line in joined.lines().filter(|line| !line.contains("monitoring-token check ")) {
        let Some((_, command)) = line.split_once(" -- ") else { continue };
        let program = command.split_whitespace().next().unwrap_or_default();
        // The script that sends metrics is the real one, with a stand-in for curl.
        let program = if program.ends_with("send-metrics.sh") { "curl" } else { program };
        if STAND_INS.contains(&program) {
            wanted.push(program.to_owned());
        }
    }
    wanted.sort();
    wanted
}

/// Runs examples in order, each with the variables that earlier ones exported.
fn all_do(examples: &[Example]) -> BTreeSet<String> {
    let mut exported = String::new();
    let mut called = BTreeSet::new();
    for example in examples {
        let text = &example.text;
        if !ELSEWHERE.iter().any(|(begin, _)| text.starts_with(begin)) {
            let stage = Stage::new();
            let ended = stage.run(&format!("{exported}{text}"));
            assert_eq!(ended.status, 0, "{}:\n{}\n{ended:?}", example.origin, example.text);
            assert_eq!(stage.calls(), wanted_calls(text), "{}: {ended:?}", example.origin);
            called.extend(stage.calls());
        }
        exported
            .extend(text.lines().filter(|line| line.starts_with("export ")).map(|line| format!("{line}\n")));
    }
    called
}

#[test]
fn every_example_of_the_readme_does_what_it_says() {
    let examples = readme();
    assert!(examples.len() >= 7, "{examples:?}");
    let called = all_do(&examples);
    assert_eq!(called, ["ndt7-client", "wehe-client.sh", "sts", "curl"].map(str::to_owned).into());
}

#[test]
fn every_example_of_the_other_pages_does_what_it_says() {
    let mut called = BTreeSet::new();
    for name in pages().iter().skip(1) {
        called.extend(all_do(&page(name)));
    }
    assert!(called.contains("ndt5-client"), "{called:?}");
}

#[test]
fn every_example_of_the_man_pages_does_what_it_says() {
    let examples = man_pages();
    assert!(examples.len() >= 10, "{examples:?}");
    all_do(&examples);
}

#[test]
fn examples_that_are_not_run_here_are_run_elsewhere_or_have_a_reason() {
    let read = |name: &str| fs::read_to_string(repository().join(name)).unwrap();
    let examples = all_pages();
    for (begin, elsewhere) in ELSEWHERE {
        assert!(
            examples.iter().any(|example| example.text.starts_with(begin)),
            "{begin} is not in the manual"
        );
        match elsewhere {
            Elsewhere::RunBy(name, words) => {
                for word in words {
                    assert!(read(name).contains(word), "{word:?} is not in {name}");
                }
            }
            Elsewhere::NotRun(reason) => assert!(reason.len() > 20, "{begin}"),
        }
    }
    // From CI to the walk-through.
    for (name, word) in [
        (".ci/run", "\nmake interop\n"),
        ("Makefile", "\n\t$(MAKE) test\n"),
        ("Makefile", "\ttests/deploy.sh\n"),
        ("tests/deploy.sh", "packaging/build-packages.sh"),
        ("tests/deploy.sh", "packaging/test-deb.sh"),
        ("tests/deploy.sh", "packaging/test-image.sh"),
        ("tests/deploy.sh", "tests/walk-through.sh"),
    ] {
        assert!(read(name).contains(word), "{word:?} is not in {name}");
    }
}

#[test]
fn the_page_on_cron_has_the_commands_of_its_file() {
    let file = fs::read_to_string(repository().join("deploy/cron/monitoring-token")).unwrap();
    let commands: Vec<&str> = file.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    assert_eq!(page("docs/run/cron.md")[0].text.trim_end(), commands.join("\n"));
}

#[test]
fn every_placeholder_stands_for_something_in_the_manual() {
    let text: String = all_pages().into_iter().chain(man_pages()).map(|example| example.text).collect();
    for (written, _) in PLACEHOLDERS {
        assert!(text.contains(written), "{written} is in no example");
    }
}

/// The commands within a sentence of a page, in backquotes. `…` stands for an argument that the reader adds.
fn inline_commands(name: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(name)).unwrap();
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
        } else if !code && !line.starts_with("    ") {
            let spans = line.split('`').skip(1).step_by(2);
            let is_command = |span: &&str| {
                (span.starts_with("monitoring-token ") || span.starts_with("make ")) && !span.contains('…')
            };
            found.extend(spans.filter(is_command).map(str::to_owned));
        }
    }
    assert!(!code, "{name}: a block without an end");
    found
}

#[test]
fn every_command_in_a_sentence_works() {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let stage = Stage::new();
    let user = "export GAFAELFAWR_URL=https://data.example.org STS_CLI_URL=https://data.example.org\n\
         export LOCATE_URL=https://locate-dot-PROJECT.appspot.com/v2/platform/monitoring/\n\
         export MONITORING_SIGNER_KEY=/keys/monitoring-signer-key.json SERVICE=ndt/ndt7\n";
    // A program named check, for `monitoring-token -- check`.
    symlink(which("true").expect("true"), stage.path("bin/check")).unwrap();
    for command in pages().iter().flat_map(|name| inline_commands(name)) {
        if let Some(target) = command.strip_prefix("make ") {
            assert!(makefile.contains(&format!("\n{target}: ")), "there is no {command}");
            continue;
        }
        let command = command
            .replace("FILE", "/keys/monitoring-signer-key.json")
            .replace("USER", "bot-sasquatch")
            .replace("REASON", "dns");
        let ended = stage.run(&format!("{user}{command}\n"));
        assert_eq!(ended.status, 0, "{command}: {ended:?}");
    }
}
