//! `-output=masked`: the command's output is passed on as in a pipeline, without the secrets of the run.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{ACCESS_TOKEN, Key, Locate};
use crate::support::filter;
use crate::support::job::{Folder, state};
use crate::support::{PATIENCE, Sandbox, eventually, finish, kill, run, start, token};

/// `gafaelfawr exec`, which masks by default.
fn exec(sandbox: &Sandbox, script: &str) -> Command {
    let mut command = sandbox.token();
    command.args(["gafaelfawr", "exec", "--username=bot-x", "--scopes=read:all", "--", "sh", "-c", script]);
    command
}

#[test]
fn both_streams_are_masked_and_stay_separate() {
    let sandbox = Sandbox::start(&[]);
    let script = r#"
        echo "out $SERVICE_TOKEN"; echo "err $SERVICE_AUTHORIZATION" >&2
        printf %s "$SERVICE_TOKEN" | base64; printf '%s\n' "${SERVICE_TOKEN#*.}"; printf '%s\n' "${SERVICE_TOKEN%%.*}" | cut -c1-3
        exit 3"#;
    let ended = run(&mut exec(&sandbox, script));
    assert_eq!((ended.status, ended.stderr.as_str()), (3, "err bearer ***\n"));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    // The key of a token is public, and so is its base64.
    assert_eq!((lines[0], lines[2], lines[3]), ("out ***", "***", "gt-"), "{ended:?}");
    assert!(lines[1].contains("***") && lines[1].len() < 45, "{ended:?}");
}

#[test]
fn the_main_command_masks_when_it_is_asked_to() {
    let locate = Locate::that_grants();
    let key = Key::make("EdDSA");
    for flags in [&["-output=masked"][..], &["-output=masked", "-logx.debug"]] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key.path).env("LOCATE_URL", locate.url()).args(flags);
        let script = "echo \"to $SERVICE_URL\"; echo \"by $MONITORING_URL\" >&2; cat";
        let ended = run(command.args(["-service=ndt/ndt7", "--", "sh", "-c", script]));
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(ended.stdout, "to wss://127.0.0.1/ndt/v7/download?access_token=***\n");
        assert!(
            ended.stderr.contains("by http://127.0.0.1:") && ended.stderr.contains("access_token=***\n"),
            "{ended:?}"
        );
        let signatures = locate.signatures();
        assert!(!ended.stderr.contains(&signatures[0]) && !ended.stdout.contains(ACCESS_TOKEN), "{ended:?}");
    }
}

/// Lists of system calls that are older than pwritev2(2) forbid it with EPERM.
#[test]
fn output_is_passed_on_where_a_sandbox_forbids_a_write_without_waiting() {
    let key = Key::make("EdDSA");
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", &key.path).args(["-exchange=false", "-output=masked", "--"]);
    command.args(["sh", "-c", "echo one; sleep 0.1; echo two; echo three >&2"]);
    let forbidden = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    filter::system_calls(&mut command, &[libc::SYS_pwritev2], forbidden);
    let ended = run(&mut command);
    assert_eq!((ended.status, &*ended.stdout, &*ended.stderr), (0, "one\ntwo\n", "three\n"));
}

/// With more output waiting than is read at once, a stream was cut off within a line, and the other one was next.
#[test]
fn busy_streams_to_one_place_are_not_mixed_within_a_line() {
    const LINES: usize = 20_000;
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let log = folder.path("log");
    let write = |stream, letter| {
        format!(
            r#"perl -e 'syswrite {stream}, sprintf("{letter}%06d ", $_) . "{letter}" x 60 . "\n" for 1..{LINES}'"#
        )
    };
    let script = format!("{} & {}; wait", write("STDOUT", "o"), write("STDERR", "e"));
    for slow in [false, true] {
        let mut command = exec(&sandbox, &script);
        let mut reader = None;
        if slow {
            let (pipe, writer) = std::io::pipe().unwrap();
            let mut cat = Command::new("sh");
            cat.args(["-c", "sleep 0.5; exec cat"]).stdin(pipe).stdout(std::fs::File::create(&log).unwrap());
            reader = Some(cat.spawn().unwrap());
            command.stdout(writer.try_clone().unwrap()).stderr(writer);
        } else {
            let file = std::fs::File::create(&log).unwrap();
            command.stdout(file.try_clone().unwrap()).stderr(file);
        }
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        drop(command);
        assert!(child.wait().unwrap().success());
        assert!(reader.is_none_or(|mut cat| cat.wait().unwrap().success()));
        let text = std::fs::read_to_string(&log).unwrap();
        let is_whole = |line: &&str| {
            let (first, rest) = line.split_at(1);
            line.len() == 68 && rest[7..].chars().all(|letter| first.contains(letter))
        };
        let broken: Vec<&str> = text.lines().filter(|line| !is_whole(line)).collect();
        assert!(broken.is_empty(), "slow: {slow}, {} lines: {:?}", broken.len(), broken[0]);
        assert_eq!(text.lines().count(), 2 * LINES, "slow: {slow}");
    }
}

/// Each stream had text without the end of a line, and each waited for the other.
#[test]
fn progress_without_lines_does_not_stop_the_streams_of_one_place() {
    let sandbox = Sandbox::start(&[]);
    let script = r#"perl -e 'for (1..400) { syswrite STDERR, "\r$_%"; syswrite STDOUT, "x" x 5000 }'"#;
    let (mut pipe, writer) = std::io::pipe().unwrap();
    let mut command = exec(&sandbox, script);
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut read = 0;
    let mut piece = [0; 3000];
    while let Ok(length @ 1..) = pipe.read(&mut piece) {
        read += length;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    let progress: usize = (1..=400).map(|percent: usize| format!("\r{percent}%").len()).sum();
    assert_eq!(read, 400 * 5000 + progress);
}

#[test]
fn whole_lines_of_both_streams_are_not_mixed() {
    let sandbox = Sandbox::start(&[]);
    // Each line ends like the beginning, or a part, of the token. A reader that takes both streams sees them in turn.
    let script = r#"
        key=${SERVICE_TOKEN%.*}
        for line in gt "${key%"${key#????????}"}" "${key#"${key%?????}"}" "eta 3" "total g"; do
            printf '%s\n' "$line"; sleep 0.01; printf '%s.\n' "$line" >&2; sleep 0.01
        done"#;
    let both = std::io::pipe().unwrap();
    let (mut reader, writer) = both;
    let mut command = exec(&sandbox, script);
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 10, "{text}");
    for (number, pair) in lines.chunks(2).enumerate() {
        assert_eq!(format!("{}.", pair[0]), pair[1], "pair {number}: {text}");
    }
}

#[test]
fn a_failure_does_not_continue_an_unfinished_line_of_the_command() {
    let sandbox = Sandbox::start(&[]);
    for (script, begins) in
        [("printf waiting >&2; sleep 30", "waiting\n"), ("echo waiting >&2; sleep 30", "waiting\n")]
    {
        let mut command = exec(&sandbox, script);
        let ended = run(command.env("MONITORING_TOKEN_TIMEOUT", "1500ms").env("TIMEOUT", "1500ms"));
        assert_eq!(ended.status, 124, "{ended:?}");
        let rest = ended.stderr.strip_prefix(begins).unwrap_or_else(|| panic!("{ended:?}"));
        assert!(rest.starts_with("monitoring-token: timed out after "), "{ended:?}");
        assert_eq!(rest.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn output_that_its_reader_does_not_take_in_time_is_a_warning() {
    let sandbox = Sandbox::start(&[]);
    let mut command = exec(&sandbox, "head -c 200000 /dev/zero");
    command.env("TIMEOUT", "2s");
    let mut child = piped(&mut command);
    let stdout = child.stdout.take();
    let ended = finish(child);
    assert!(
        ended.stderr.contains("cannot write the output of sh: its reader did not take all of it in time"),
        "{ended:?}"
    );
    drop(stdout);
}

#[test]
fn a_slow_reader_of_the_last_output_delays_neither_the_deletion_nor_a_signal() {
    let sandbox = Sandbox::start(&[]);
    let mut command = exec(&sandbox, "exec head -c 250000 /dev/zero");
    let mut child = piped(command.process_group(0));
    let stdout = child.stdout.take();
    sandbox.awaits("DELETE ");
    kill(child.id(), libc::SIGTSTP);
    eventually("the stop", || (state(child.id()) == Some('T')).then_some(()));
    kill(child.id(), libc::SIGCONT);
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(
        143,
        &["interrupted by SIGTERM while the output of sh was written", "its reader did not take all of it"],
    );
    drop(stdout);
}

#[test]
fn a_secret_that_is_split_across_writes_is_masked() {
    let sandbox = Sandbox::start(&[]);
    let script = r#"
        rest=$SERVICE_TOKEN
        while [ -n "$rest" ]; do tail=${rest#?????}; [ "$tail" = "$rest" ] && tail=; printf %s "${rest%"$tail"}"; rest=$tail; done
        echo " end""#;
    let ended = run(&mut exec(&sandbox, script));
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "*** end\n"));
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_prompt_appears_and_its_answer_is_read() {
    let sandbox = Sandbox::start(&[]);
    // It ends like the beginning of a token.
    let mut child = piped(&mut exec(&sandbox, "printf 'name: gt-'; read -r name; echo \"hello $name\""));
    let mut prompt = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut prompt).unwrap();
    assert_eq!(&prompt, b"name: gt-");
    child.stdin.take().unwrap().write_all(b"you\n").unwrap();
    let ended = finish(child);
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "hello you\n"));
}

/// A job that passed the admin token by `<file` left the command an open file to read it from again.
#[test]
fn a_command_cannot_read_the_admin_token_from_stdin() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let admin = folder.path("admin-token");
    std::fs::write(&admin, sandbox.var("GAFAELFAWR_ADMIN_TOKEN")).unwrap();
    let mut command = sandbox.token();
    command.env_remove("GAFAELFAWR_ADMIN_TOKEN").stdin(std::fs::File::open(&admin).unwrap());
    command.args(["gafaelfawr", "exec", "--username=bot-x", "--scopes=read:all", "--admin-token-file=-"]);
    let ended =
        run(command.args(["-output=inherit", "--", "sh", "-c", "cat /dev/stdin; readlink /proc/$$/fd/0"]));
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "/dev/null\n"), "{ended:?}");
}

#[test]
fn binary_output_passes_unchanged() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let path = folder.path("binary");
    let mut random = 1_u64;
    let bytes: Vec<u8> = (0..300_000)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random.to_be_bytes()[0]
        })
        .collect();
    std::fs::write(&path, &bytes).unwrap();
    let output = exec(&sandbox, &format!("cat {}", path.display())).output().unwrap();
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
}

#[test]
fn a_slow_reader_slows_the_command_and_gets_everything() {
    const BYTES: usize = 3_000_000;
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let done = folder.path("done");
    let script = format!("head -c {BYTES} /dev/zero; echo >{}; echo end", done.display());
    let mut child = piped(&mut exec(&sandbox, &script));
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0];
    stdout.read_exact(&mut first).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!done.exists(), "the command was not slowed");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len() + 1, BYTES + "end\n".len());
    assert!(rest.ends_with(b"\0end\n"));
    assert_eq!(finish(child).status, 0);
}

#[test]
fn output_written_before_the_exit_waits_for_the_reader() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let done = folder.path("done");
    // Both pipes are full when it ends.
    let script = format!("head -c 120000 /dev/zero; echo >{}", done.display());
    let mut child = piped(&mut exec(&sandbox, &script));
    let mut stdout = child.stdout.take().unwrap();
    eventually("the command to end", || done.exists().then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let mut all = Vec::new();
    stdout.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 120_000);
    assert_eq!(finish(child).status, 0);
}

#[test]
fn a_closed_reader_ends_the_command_as_in_a_pipeline() {
    let sandbox = Sandbox::start(&[]);
    let mut child = piped(&mut exec(&sandbox, "exec yes"));
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let ended = finish(child);
    assert_eq!((ended.status, ended.stderr.as_str()), (128 + libc::SIGPIPE, ""), "{ended:?}");
    assert_eq!(sandbox.made_tokens("/sandbox/gafaelfawr").len(), 0, "the token is left");
}

#[test]
fn a_process_that_holds_the_pipe_does_not_delay_the_exit() {
    let sandbox = Sandbox::start(&[]);
    let began = Instant::now();
    for background in ["sleep 25", "yes"] {
        let mut child = start(&mut exec(&sandbox, &format!("echo here; {background} & echo $! >&2")));
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut first = [0; 4];
            stdout.read_exact(&mut first).unwrap();
            std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
            first
        });
        let ended = finish(child);
        assert_eq!((ended.status, &reader.join().unwrap()), (0, b"here"), "{ended:?}");
        let pid: i32 = ended.stderr.trim().parse().unwrap();
        // SAFETY: a signal to a process of this test.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    assert!(began.elapsed() < PATIENCE / 2);
}

#[test]
fn masking_takes_little_memory() {
    const MOST_KIB: i64 = 128;
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let memory = |output: &str| {
        let ready = folder.path(output);
        let mut command = sandbox.token();
        command.args(["gafaelfawr", "exec", "--username=bot-x", "--scopes=read:all", "-output", output]);
        let script = r#"i=0; while [ $i -lt 300 ]; do echo "$i $SERVICE_TOKEN"; i=$((i+1)); done; sleep 0.3; echo >$READY; sleep 30"#;
        let child = start(command.env("READY", &ready).args(["--", "sh", "-c", script]));
        eventually("the command to be ready", || ready.exists().then_some(()));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        crate::support::kill(child.id(), libc::SIGTERM);
        finish(child);
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap()
    };
    let (without, with) = (memory("discard"), memory("masked"));
    assert!(with - without <= MOST_KIB, "{without} KiB without, {with} KiB with masking");
}

#[test]
fn exec_output_is_a_destination_and_not_a_format() {
    let sandbox = Sandbox::start(&[]);
    for args in [&["-o", "json"][..], &["-o=json"]] {
        let mut command = sandbox.token();
        command.args(["gafaelfawr", "exec", "--username=bot-x", "--scopes=read:all"]).args(args);
        run(command.args(["--", "true"])).failed_with(2, &["-o"]);
    }
    for (verb, words) in
        [("exec", ["masked", "not a format"]), ("create", ["Output format: text or json", "--out"])]
    {
        let help = run(token().args(["gafaelfawr", verb, "-help"])).stdout;
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(help.contains(word), "{verb}: {word}: {help}");
        }
    }
}
