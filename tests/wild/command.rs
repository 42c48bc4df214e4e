//! COMMAND, and the words around it.

use std::path::Path;
use std::process::Command;

use super::{before_exec, offline, write_executable};
use crate::support::job::{Folder, make_fifo};
use crate::support::{Sandbox, eventually, file_line, finish, kill, run, start, testdata, token};

/// A header of ELF for another machine (AArch64), and one that is cut off.
fn elf(length: usize) -> Vec<u8> {
    let mut header = vec![0_u8; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16] = 2;
    header[18] = 183;
    header.truncate(length);
    header
}

/// Files that the kernel does not execute.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("blank", b"\n\n".to_vec()),
        ("script", b"exit 0\n".to_vec()),
        ("comment", b"# probe\nexit 0\n".to_vec()),
        ("bom", b"\xef\xbb\xbf#!/bin/sh\nexit 0\n".to_vec()),
        ("foreign", elf(64)),
        ("truncated", elf(20)),
        ("magic", b"\x7fELF and text\n".to_vec()),
        ("binary", vec![0; 100]),
    ]
}

/// ricoberger/script_exporter#17 and kubernetes/node-problem-detector#797: a probe without a `#!` line works from
/// a shell and fails under the exporter ("exec format error"). The C library's `execvp` hands such a file to
/// `/bin/sh`, and an empty file, a half-written deployment, is then a success: the server counts as healthy
/// although nothing was run.
#[test]
fn a_file_that_the_kernel_does_not_execute_is_126_and_no_shell_guesses_at_it() {
    let folder = Folder::new();
    for (name, text) in strangers() {
        let path = folder.path(name);
        write_executable(&path, &text);
        let by_path = path.to_str().unwrap();
        for (word, directory) in
            [(by_path, Path::new("/")), (name, Path::new("/")), (&*format!("./{name}"), folder.root())]
        {
            let mut command = offline(&["--", word]);
            command.env("PATH", format!("{}:/usr/bin:/bin", folder.root().display())).current_dir(directory);
            run(&mut command).failed_with(
                126,
                &["cannot run ", name, "not an executable for this machine, or a script without a #! line"],
            );
        }
    }
}

/// The same with a token: it is deleted, and nothing ran with it.
#[test]
fn a_file_that_is_not_a_program_leaves_no_token() {
    let (folder, sandbox) = (Folder::new(), Sandbox::start(&[]));
    let empty = folder.path("empty");
    write_executable(&empty, b"");
    let mut exec = sandbox.token();
    exec.args(["gafaelfawr", "exec", "--username=bot-x", "--scopes=write:sasquatch", "--"]).arg(&empty);
    run(&mut exec).failed_with(126, &["not an executable for this machine"]);
    assert_eq!(sandbox.made_tokens("/sandbox/gafaelfawr").len(), 0, "{:?}", sandbox.requests());
}

/// The same with a cache: the result is kept only if failures are, and never as a success.
#[test]
fn an_empty_file_is_never_a_cached_success() {
    let folder = Folder::new();
    let (empty, cache) = (folder.path("empty"), format!("-cache-dir={}", folder.path("c").display()));
    write_executable(&empty, b"");
    for _ in 0..2 {
        run(offline(&["-cache-ttl=1h", &cache, "--"]).arg(&empty)).failed_with(126, &["not an executable"]);
    }
}

/// A script from Windows: the interpreter is called `/bin/sh\r`, and the kernel reports that the script does not exist.
#[test]
fn a_missing_interpreter_is_told_from_a_missing_command() {
    let folder = Folder::new();
    for (name, text) in [
        ("windows", &b"#!/bin/sh\r\nexit 0\r\n"[..]),
        ("moved", b"#!/opt/python2/bin/python\n"),
        ("relative", b"#!nowhere/sh\n"),
    ] {
        let path = folder.path(name);
        write_executable(&path, text);
        run(offline(&["--"]).arg(&path)).failed_with(127, &["interpreter not found; check the #! line"]);
    }
    let names_it = "the #! line of the script, which names /bin/sh\\r";
    run(offline(&["--"]).arg(folder.path("windows"))).failed_with(127, &[names_it]);
    run(&mut offline(&["--", "no-such-probe"]))
        .failed_with(127, &["cannot run no-such-probe: not found; check COMMAND and PATH"]);
}

/// The same of an interpreter that is there and cannot be run: the kernel's "Permission denied" was taken for the
/// script's.
#[test]
fn an_interpreter_that_cannot_be_run_is_told_from_a_script_that_cannot() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    for (name, first_line, why) in [
        ("data", "#!/etc/passwd".to_owned(), "/etc/passwd cannot be run: Permission denied"),
        ("folder", "#! /etc -x".to_owned(), "/etc cannot be run: Is a directory"),
        ("empty", format!("#!{}", path("nothing").display()), "nothing cannot be run: Exec format error"),
        ("itself", format!("#!{}", path("itself").display()), "itself cannot be run: it needs too many"),
        ("far", format!("#!{}", path("data").display()), "/etc/passwd cannot be run: Permission denied"),
    ] {
        write_executable(&path("nothing"), b"");
        write_executable(&path(name), format!("{first_line}\nexit 0\n").as_bytes());
        let mut command = offline(&["--"]);
        run(command.arg(path(name))).failed_with(126, &["its interpreter ", why, "check the #! line"]);
        let ended = run(token().args(["check", "-exchange=false", "--"]).arg(path(name)));
        assert!(ended.stdout.contains(why), "{name}: {ended:?}");
    }
    // The script's own permission.
    std::fs::write(path("plain"), "#!/etc/passwd\n").unwrap();
    let ended = run(offline(&["--"]).arg(path("plain")));
    ended.failed_with(126, &["plain: Permission denied"]);
    assert!(!ended.stderr.contains("interpreter"), "{ended:?}");
}

/// The kernel does not execute a named pipe. To find out why, this program opened it, and waited for a writer.
#[test]
fn a_named_pipe_is_refused_at_once_and_skipped_in_path() {
    let folder = Folder::new();
    let fifo = make_fifo(&folder);
    std::fs::set_permissions(&fifo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = folder.path("script");
    write_executable(&script, format!("#!{}\n", fifo.display()).as_bytes());
    for (command, why) in [
        (&fifo, "fifo: Permission denied"),
        (&script, "its interpreter "),
        (&script, "fifo cannot be run: Permission denied; check the #! line"),
    ] {
        run(offline(&["--"]).arg(command)).failed_with(126, &["cannot run ", why]);
        let ended = run(token().args(["check", "-exchange=false", "--"]).arg(command));
        assert!(ended.stdout.contains(why), "{ended:?}");
    }
    std::fs::create_dir(folder.path("bin")).unwrap();
    write_executable(&folder.path("bin/fifo"), b"#!/bin/sh\nexit 7\n");
    let path = format!("{0}:{0}/bin", folder.root().display());
    assert_eq!(run(offline(&["--", "fifo"]).env("PATH", path)).status, 7);
}

/// With a relative or empty entry of `PATH`, the current directory decides what is run; Go's `exec.LookPath` refuses
/// such a match (golang/go#43724), and so did the original.
#[test]
fn a_match_in_a_relative_entry_of_path_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("bin")).unwrap();
    for name in ["probe", "bin/probe"] {
        write_executable(&folder.path(name), b"#!/bin/sh\nexit 0\n");
    }
    for (path, shown) in
        [(".", "./probe"), (":/usr/bin", "./probe"), ("bin:/usr/bin", "bin/probe"), ("/usr/bin::", "./probe")]
    {
        let mut command = offline(&["--", "probe"]);
        run(command.env("PATH", path).current_dir(&folder))
            .failed_with(126, &["PATH has it only as", shown, "relative entry"]);
    }
    let absolute = format!("{}/bin:.", folder.root().display());
    run(offline(&["--", "probe"]).env("PATH", absolute).current_dir(&folder)).succeeded();
    // Neither a directory nor a file that is not executable ends the search.
    std::fs::create_dir_all(folder.path("directory/probe")).unwrap();
    std::fs::create_dir(folder.path("plain")).unwrap();
    std::fs::write(folder.path("plain/probe"), "").unwrap();
    let others = format!("{0}/none:{0}/directory:{0}/plain:{0}/bin", folder.root().display());
    run(offline(&["--", "probe"]).env("PATH", others)).succeeded();
    for (path, status, words) in [
        ("@/plain:@/none", 126, "plain/probe: Permission denied"),
        ("@/directory", 127, "cannot run probe: not found"),
        (":", 127, "cannot run probe: not found"),
    ] {
        let path = path.replace('@', folder.root().to_str().unwrap());
        run(offline(&["--", "probe"]).env("PATH", path).current_dir("/")).failed_with(status, &[words]);
    }
    run(offline(&["--", "./probe"]).env("PATH", "").current_dir(&folder)).succeeded();
    for (path, words) in [(None, "PATH is not set"), (Some(""), "not found")] {
        let mut command = offline(&["--", "probe"]);
        match path {
            Some(path) => command.env("PATH", path),
            None => command.env_remove("PATH"),
        };
        run(command.current_dir("/")).failed_with(127, &["cannot run probe: not found", words]);
    }
}

/// Tried as a new user would: `-service-url true -service=… -- probe` ran `/bin/true` with the rest as its arguments,
/// and succeeded silently.
#[test]
fn a_boolean_after_a_boolean_flag_is_not_taken_for_the_command() {
    for (line, remedy) in [
        (&["-service-url", "true", "-service=ndt/ndt7", "--", "false"][..], "use -service-url=true"),
        (&["-die-with-parent", "true", "--", "false"], "use -die-with-parent=true"),
        (&["-exchange", "false", "false"], "use -exchange=false"),
        (&["-machine=m", "-service-url", "1"], "use -service-url=1"),
        (&["check", "-service-url", "T", "false"], "use -service-url=T"),
        (&["gafaelfawr", "exec", "--die-with-parent", "True", "false"], "use -die-with-parent=True"),
    ] {
        run(token().args(line)).failed_with(2, &["a boolean flag takes its value after =", remedy]);
    }
    for line in [
        &["-die-with-parent", "--", "true"][..],
        &["-die-with-parent=true", "true"],
        &["-logx.debug", "false", "true"],
        &["true"],
    ] {
        run(&mut offline(line)).succeeded();
    }
}

/// Ways to run setsid(1), each with a program behind it. `$S` is a link to it.
const SETSIDS: [&str; 12] = [
    "setsid",
    "/usr/bin/setsid",
    "setsid --",
    "setsid --wait",
    "env setsid",
    "nice setsid",
    "nohup setsid",
    "timeout 60 setsid",
    "stdbuf -oL setsid",
    "busybox setsid",
    "$S",
    "env A=b nice timeout -k 9 60 setsid",
];

/// util-linux/util-linux#518: setsid(1) forks where it leads a process group, and then exits 0 at once, whatever becomes
/// of its program. A command of this program led one. Under the original it does not.
#[test]
fn setsid_reports_the_status_of_its_program() {
    let folder = Folder::new();
    let link = folder.path("detach");
    std::os::unix::fs::symlink("/usr/bin/setsid", &link).unwrap();
    let busybox = Command::new("busybox").arg("true").output().is_ok_and(|output| output.status.success());
    for words in SETSIDS.into_iter().filter(|words| busybox || !words.starts_with("busybox")) {
        let words = words.replace("$S", link.to_str().unwrap());
        let plain: Vec<&str> = words.split(' ').collect();
        let ended = run(offline(&["--"]).args(&plain).args(["sh", "-c", "exit 3"]));
        assert_eq!((ended.status, ended.stderr.as_str()), (3, ""), "{words}");
        for shell in [format!("{words} sh -c 'exit 3'"), format!("exec {words} sh -c 'exit 3'")] {
            for name in ["sh", "bash"] {
                let ended = run(&mut offline(&["--", name, "-c", &shell]));
                assert_eq!((ended.status, ended.stderr.as_str()), (3, ""), "{name}: {shell}");
            }
        }
    }
}

/// The same: a program in a session of its own is not out of reach, neither of the timeout nor of signals.
#[test]
fn the_timeout_and_signals_reach_a_program_behind_setsid() {
    for words in ["setsid", "env setsid", "timeout 60", "nice setsid", "bash -c 'exec setsid \"$@\"' -"] {
        for signal in [None, Some(libc::SIGTERM), Some(libc::SIGINT)] {
            let folder = Folder::new();
            // The shell ignores SIGTERM and SIGINT, its child does not.
            let line =
                format!("{words} sh -c 'trap \"\" INT TERM; sleep 70 & echo $$ $! >$D/pids; wait; sleep 70'");
            let words: Vec<String> = shlex::split(&line).unwrap();
            let timeout = if signal.is_none() { "-timeout=1s" } else { "-timeout=60s" };
            let mut command = offline(&[timeout, "-kill-after=300ms", "--"]);
            let child = start(command.args(&words).env("D", folder.root()));
            let pids = file_line(&folder.path("pids"));
            if let Some(signal) = signal {
                kill(child.id(), signal);
            }
            if signal == Some(libc::SIGINT) {
                // It does not escalate.
                kill(child.id(), libc::SIGTERM);
            }
            let ended = finish(child);
            assert_eq!(ended.status, if signal.is_none() { 124 } else { 137 }, "{line}: {ended:?}");
            for pid in pids.split_whitespace() {
                let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                eventually(&format!("the end of {line}"), || {
                    (stat().is_empty() || stat().contains(") Z ")).then_some(())
                });
            }
        }
    }
}

/// The same: what stays in the session that a command has left is named.
#[test]
fn processes_left_in_a_session_that_the_command_left_are_named() {
    let folder = Folder::new();
    let script = "sleep 70 & echo $! >$D/left; exec setsid sleep 70";
    let mut command = offline(&["-timeout=1s", "-kill-after=300ms", "--", "sh", "-c", script]);
    let ended = run(command.env("D", folder.root()));
    let left: u32 = file_line(&folder.path("left")).trim().parse().unwrap();
    kill(left, libc::SIGKILL);
    ended.failed_with(
        124,
        &[&format!("; and left running: sleep (pid {left}), which has left the command's")],
    );
}

/// Tried as a new user would: the messages for `help`, `chek` and `-servise` did not suggest the right word.
#[test]
fn help_is_a_word_and_mistyped_words_have_a_suggestion() {
    let help = run(token().arg("-help")).stdout;
    for line in [&["help"][..], &["-h"], &["--help"], &["-h=false"], &["-help=x"]] {
        let ended = run(token().args(line));
        ended.succeeded();
        assert_eq!(ended.stdout, help, "{line:?}");
    }
    for (line, about) in [
        (&["help", "check"][..], "monitoring-token check [flags]"),
        (&["help", "key", "inspect"], "monitoring-token key inspect"),
        (&["key", "help"], "monitoring-token key"),
        (&["gafaelfawr", "help", "exec"], "monitoring-token gafaelfawr exec"),
    ] {
        let ended = run(token().args(line));
        ended.succeeded();
        assert!(ended.stdout.contains(about), "{line:?}: {}", ended.stdout);
    }
    for (line, hint) in [
        (&["chek", "-machine=m"][..], "unknown command chek; did you mean check?"),
        (&["gafelfawr", "list"], "did you mean gafaelfawr?"),
        (&["stackstat"], "did you mean stackstate?"),
        (&["help", "kye"], "did you mean key?"),
        (&["key", "insepct", "x"], "did you mean inspect?"),
        (&["gafaelfawr", "lst"], "did you mean list?"),
        (&["stackstate", "creat"], "did you mean create?"),
        (&["-servise=x", "true"], "unknown flag -servise; did you mean -service?"),
        (&["--cache_ttl=1h", "true"], "did you mean -cache-ttl?"),
        (&["-Timeout=1s", "true"], "did you mean -timeout?"),
        (&["-tiemout=1s", "true"], "did you mean -timeout?"),
        (&["-service_url", "true"], "did you mean -service-url?"),
        (&["-x", "true"], "unknown flag -x; monitoring-token -help lists the flags"),
        (&["-ndt7-client", "true"], "unknown flag -ndt7-client; monitoring-token -help lists the flags"),
        // Only on the commands that replace sts is a word with one dash a cluster.
        (&["-ojson", "true"], "unknown flag -ojson"),
        (&["stackstate", "list", "--ojson"], "unknown flag -ojson"),
        (&["stackstate", "list", "-xojson"], "unknown flag -xojson"),
        (&["stackstate", "create", "-vn"], "flag --name needs a value"),
        (&["check", "-jsn"], "did you mean -json?"),
        (&["gafaelfawr", "list", "--usrname=u"], "did you mean -username?"),
    ] {
        run(token().args(line)).failed_with(2, &[hint]);
    }
    // A program of that name is a program.
    let folder = Folder::new();
    write_executable(&folder.path("chek"), b"#!/bin/sh\nexit 4\n");
    let mut command = token();
    command
        .env("MONITORING_TOKEN_EXCHANGE", "false")
        .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
    command.env("PATH", folder.root()).arg("chek");
    assert_eq!(run(&mut command).status, 4);
}

/// vm0-ai/vm0#12117 and JuliaLang/julia#53412: an environment that is too large to start a program with failed without
/// saying what is too large; here it was 126, the status of a command that cannot be run.
#[test]
fn an_environment_that_is_too_large_is_a_local_failure_with_its_size() {
    // The URL with its token is too large for one variable.
    let machine = format!("-machine={}", "m".repeat(100_000));
    run(&mut offline(&[&machine, "--", "true"]))
        .failed_with(125, &["the environment is too large: MONITORING_URL has 13", "more than 128 KiB"]);
    run(&mut offline(&[&machine, "-env-name=MY_URL", "--", "true"])).failed_with(125, &["MY_URL has 13"]);
    // All of them are too large: with a small stack, the kernel accepts 128 KiB in all.
    let mut command = offline(&["-machine", &"m".repeat(18_000), "--", "true"]);
    command.env("FILLER", "x".repeat(108_000));
    before_exec(&mut command, || {
        let limit = libc::rlimit { rlim_cur: 512 * 1024, rlim_max: 512 * 1024 };
        // SAFETY: the pointer is to a limit.
        if unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    });
    run(&mut command)
        .failed_with(125, &["the environment is too large: 13", " bytes of arguments; shorten them"]);
}

/// After an unknown flag, a value must not be shown.
#[test]
fn the_value_after_an_unknown_flag_is_not_shown() {
    for line in [
        &["---admin-token=s3cret-value"][..],
        &["gafaelfawr", "list", "---token=s3cret-value"],
        &["-=s3cret-value"],
        &["--admin-tokn=s3cret-value"],
    ] {
        let ended = run(Command::new(env!("CARGO_BIN_EXE_monitoring-token")).args(line));
        ended.failed_with(2, &[]);
        assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
    }
}

/// A line without `-monitoring-signer-key` before the key.
#[test]
fn a_key_in_the_place_of_the_command_is_not_shown() {
    let path = testdata("keys/eddsa.json");
    let jwk = std::fs::read_to_string(&path).unwrap();
    let jwk = jwk.trim();
    let secret = jwk.split(r#""d":""#).nth(1).unwrap().split('"').next().unwrap();
    for first in
        [&["-exchange=false"][..], &["-exchange=false", "-logx.debug", "--"], &["check", "-exchange=false"]]
    {
        let ended = run(token().env("MONITORING_SIGNER_KEY", &path).args(first).arg(jwk));
        assert!(ended.stderr.contains("cannot run {") || ended.stdout.contains("cannot run {"), "{ended:?}");
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{ended:?}");
    }
}
