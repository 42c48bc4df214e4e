//! The command line: a drop-in replacement for the original, with Go's rules for flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use monitoring_token::cli;

use crate::support::job::Folder;
use crate::support::{Ended, MACHINE, Sandbox, run, serve, testdata, token};

/// A folder of programs that record how they were started.
struct Programs(Folder);

impl Programs {
    fn new(names: &[&str]) -> Programs {
        let programs = Programs(Folder::new());
        for name in names {
            let path = programs.path(name);
            let script = "#!/bin/sh\nfor word in \"$0\" \"$@\"; do printf '%s\\n' \"$word\"; done >\"$RECORD/argv\"\nenv >\"$RECORD/env\"\n";
            // A shell writes it: a concurrent test could start its program while this process has the file open for
            // writing, and then nobody could run it (ETXTBSY).
            let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
            run(Command::new("/bin/sh").args(["-c", write]).arg(&path).arg(script)).succeeded();
        }
        programs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Sets PATH so that these programs and the tested one are found.
    fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let ours = Path::new(env!("CARGO_BIN_EXE_monitoring-token")).parent().unwrap();
        let path = format!("{}:{}:/usr/bin:/bin", self.0.root().display(), ours.display());
        command.env("PATH", path).env("RECORD", self.0.root())
    }

    /// The arguments of the program that ran.
    fn argv(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("argv")).expect("a program was run");
        text.lines().skip(1).map(str::to_owned).collect()
    }

    fn env(&self) -> BTreeMap<String, String> {
        variables(&std::fs::read_to_string(self.path("env")).expect("a program was run"))
    }
}

fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        // The shell's own.
        .filter(|(name, _)| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The binary with a key, and without an exchange unless a flag asks for one.
fn offline() -> Command {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json")).arg("-exchange=false");
    command
}

/// The environment of the command with these flags and variables.
#[track_caller]
fn environment(command: &mut Command) -> BTreeMap<String, String> {
    let ended = run(command.args(["-output=inherit", "--", "env"]));
    ended.succeeded();
    variables(&ended.stdout)
}

/// The machine in the JWT of a monitoring URL; empty if there is none.
fn machine_in(url: &str) -> String {
    let jwt = url.split_once("access_token=").expect("a monitoring URL").1;
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_ne!(claims["sub"], "", "an empty machine must not become the subject");
    claims["sub"].as_str().unwrap_or_default().to_owned()
}

/// Runs a line of shell as the exporter does, in production's environment except for host names.
fn production(sandbox: &Sandbox, programs: &Programs, line: &str) -> Ended {
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().args(["-c", line]);
    programs.known_to(&mut shell);
    let locate = format!("{}?early_exit=250&monitoring=true", sandbox.var("LOCATE_URL"));
    run(shell
        .env("LOCATE_URL", locate)
        .env("MONITORING_SIGNER_KEY", sandbox.var("MONITORING_SIGNER_KEY"))
        .env("LOGX_DEBUG", "false")
        .env("TARGET", MACHINE)
        .env("MACHINE", MACHINE))
}

#[test]
fn the_production_line_of_ndt7_works_unchanged() {
    let (sandbox, programs) = (Sandbox::start(&[]), Programs::new(&["ndt7-client"]));
    let line = r#"monitoring-token -machine=${TARGET} -service=ndt/ndt7 -service-url --env-name SERVICE_URL -service-url-key-name wss:///ndt/v7/download -- ndt7-client -client-name="mlab-e2e-monitoring""#;
    production(&sandbox, &programs, line).succeeded();
    assert_eq!(programs.argv(), ["-client-name=mlab-e2e-monitoring"]);
    let env = programs.env();
    let url = &env["SERVICE_URL"];
    assert!(url.starts_with("ws://127.0.0.1:") && url.contains("/ndt/v7/download?access_token="), "{url}");
    assert!(url.contains("early_exit=250") && url.contains("monitoring=true"), "{url}");
    assert!(!env.contains_key("MONITORING_SIGNER_KEY") && !env.contains_key("MONITORING_URL"), "{env:?}");
}

#[test]
fn the_production_line_of_wehe_works_unchanged() {
    let (sandbox, programs) = (Sandbox::start(&[]), Programs::new(&["wehe-client.sh"]));
    let line = "monitoring-token -machine=${TARGET} -service=wehe/replay -- wehe-client.sh -n amazon -t wehe-cmdline/res/ -c";
    production(&sandbox, &programs, line).succeeded();
    assert_eq!(programs.argv(), ["-n", "amazon", "-t", "wehe-cmdline/res/", "-c"]);
    let env = programs.env();
    assert!(env["MONITORING_URL"].starts_with(&format!("{}wehe/replay?", sandbox.var("LOCATE_URL"))));
    assert_eq!(machine_in(&env["MONITORING_URL"].replace("&early_exit=250&monitoring=true", "")), MACHINE);
    assert!(env["SERVICE_URL"].contains("/v0/envelope/access?access_token="), "{env:?}");
}

#[test]
fn the_production_line_of_ndt5_works_unchanged() {
    let (sandbox, programs) = (Sandbox::start(&[]), Programs::new(&["ndt5-client"]));
    let line = "monitoring-token -machine=${MACHINE} -service=ndt/ndt5 -- ndt5-client -throttle=131072 -protocol=ndt5+wss";
    production(&sandbox, &programs, line).succeeded();
    assert_eq!(programs.argv(), ["-throttle=131072", "-protocol=ndt5+wss"]);
    let env = programs.env();
    assert!(env["MONITORING_URL"].contains("/ndt/ndt5?access_token="), "{env:?}");
    assert!(env["SERVICE_URL"].contains("/ndt_protocol?access_token="), "{env:?}");
    assert_eq!(env["MACHINE"], MACHINE);
}

#[test]
fn without_the_exchange_it_does_what_the_original_does_by_default() {
    let requests = Arc::new(AtomicUsize::new(0));
    let address = {
        let requests = Arc::clone(&requests);
        serve(move |_| {
            requests.fetch_add(1, Ordering::SeqCst);
        })
    };
    let given = [
        ("PATH", "/usr/bin:/bin"),
        ("LOCATE_URL", &format!("http://{address}/v2/platform/monitoring/?early_exit=250&monitoring=true")),
        ("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json").to_str().unwrap()),
        ("MACHINE", "mlab1-lga0t"),
        ("SERVICE_URL", "wss://stale.example/"),
        ("OTHER", "kept"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut command = token();
    command.env_clear().envs(given.clone()).arg("-exchange=false");
    let mut env = environment(&mut command);
    let url = env.remove("MONITORING_URL").unwrap();
    let prefix = format!("http://{address}/v2/platform/monitoring/ndt/ndt5?access_token=ey");
    assert!(url.starts_with(&prefix) && url.ends_with("&early_exit=250&monitoring=true"), "{url}");
    // The rest is unchanged, except for the key.
    let mut expected = BTreeMap::from(given);
    expected.remove("MONITORING_SIGNER_KEY");
    assert_eq!(env, expected);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_flag_takes_one_dash_or_two_and_both_forms_of_a_value() {
    for args in [
        &["-machine=m"][..],
        &["--machine=m"],
        &["-machine", "m"],
        &["--machine", "m"],
        &["-machine=a", "--machine", "b", "-machine=m"],
        &["-machine", "-service=x", "-machine=m"],
    ] {
        let env = environment(offline().env("MACHINE", "variable").args(args));
        assert_eq!(machine_in(&env["MONITORING_URL"]), "m", "{args:?}");
    }
    let env = environment(offline().args(["-machine", "-service=x"]));
    assert_eq!(machine_in(&env["MONITORING_URL"]), "-service=x");
    let env = environment(offline().arg("-machine=a=b"));
    assert_eq!(machine_in(&env["MONITORING_URL"]), "a=b");
}

#[test]
fn a_variable_applies_without_its_flag_unless_it_is_empty() {
    let env = environment(offline().env("MACHINE", "v").env("SERVICE", "").env("ENV_NAME", "U"));
    assert_eq!(machine_in(&env["U"]), "v");
    assert!(env["U"].contains("/ndt/ndt5?"), "{env:?}");
    // An empty flag is still a value.
    let env = environment(offline().env("MACHINE", "v").arg("-machine="));
    assert_eq!(machine_in(&env["MONITORING_URL"]), "");
    // An invalid variable does not matter if the flag overrides it.
    environment(offline().env("TIMEOUT", "soon").arg("-timeout=5s"));
    environment(
        offline().envs(["TIMEOUT", "LOGX_DEBUG", "SERVICE_URL", "MONITORING_TOKEN_RETRIES"].map(|v| (v, ""))),
    );
}

#[test]
fn flags_end_at_the_first_other_word_and_at_two_dashes() {
    for (args, expected) in [
        (&["record", "-machine=x", "--", "-h"][..], &["-machine=x", "--", "-h"][..]),
        (&["--", "record", "-machine=x"], &["-machine=x"]),
        (&["--", "record", "--", "--help"], &["--", "--help"]),
        (&["record", ""], &[""]),
        (&["record", "a b", "$HOME", "*", "\u{e9}"], &["a b", "$HOME", "*", "\u{e9}"]),
    ] {
        let programs = Programs::new(&["record"]);
        run(programs.known_to(&mut offline()).args(args)).succeeded();
        assert_eq!(programs.argv(), expected, "{args:?}");
    }
}

#[test]
fn subcommand_words_count_as_the_first_argument_only() {
    for word in ["check", "explain", "key", "gafaelfawr", "stackstate"] {
        for before in [&["--"][..], &["-machine=m"], &["-machine=m", "--"]] {
            let programs = Programs::new(&[word]);
            let mut command = token();
            programs.known_to(&mut command);
            run(command
                .env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"))
                .env("MONITORING_TOKEN_EXCHANGE", "false")
                .args(before)
                .args([word, "generate"]))
            .succeeded();
            assert_eq!(programs.argv(), ["generate"], "{word} {before:?}");
        }
    }
}

#[test]
fn booleans_are_those_of_go() {
    let sandbox = Sandbox::start(&[]);
    let gets_service_url = |command: &mut Command| {
        let env = environment(command);
        env["MONITORING_URL"].starts_with("ws://")
    };
    for word in ["1", "t", "T", "TRUE", "true", "True"] {
        assert!(gets_service_url(sandbox.token().arg(format!("-service-url={word}"))), "{word}");
        assert!(gets_service_url(sandbox.token().env("SERVICE_URL", word)), "{word}");
    }
    for word in ["0", "f", "F", "FALSE", "false", "False"] {
        assert!(!gets_service_url(sandbox.token().arg(format!("-service-url={word}"))), "{word}");
        assert!(
            !gets_service_url(sandbox.token().env("SERVICE_URL", "true").arg(format!("-service-url={word}"))),
            "{word}"
        );
    }
    assert!(gets_service_url(sandbox.token().arg("-service-url")));
    for word in ["yes", "on", "tRUE", "", " 1", "2"] {
        run(sandbox.token().arg(format!("-service-url={word}")).args(["--", "true"]))
            .failed_with(2, &["-service-url: ", "expected true or false"]);
    }
    // Its value comes only after =. The next word is the command, and must be marked as one if it is a boolean.
    let programs = Programs::new(&["false"]);
    run(programs.known_to(&mut sandbox.token()).args(["-service-url", "false"])).failed_with(
        2,
        &["-service-url false: a boolean flag takes its value after =: use -service-url=false"],
    );
    run(programs.known_to(&mut sandbox.token()).args(["-service-url", "--", "false"])).succeeded();
    assert!(programs.env()["MONITORING_URL"].starts_with("ws://"));
}

#[test]
fn debug_stands_alone_or_takes_a_value_in_either_form() {
    for args in
        [&["-logx.debug"][..], &["-logx.debug=true"], &["-logx.debug", "true"], &["--logx.debug", "T"]]
    {
        let ended = run(offline().args(args).args(["echo", "shown"]));
        assert_eq!((ended.status, ended.stdout.as_str()), (0, "shown\n"), "{args:?}");
        assert!(ended.stderr.contains("signed"), "{ended:?}");
    }
    for args in [&["-logx.debug=false"][..], &["-logx.debug", "0"], &[]] {
        let ended = run(offline().args(args).args(["echo", "hidden"]));
        ended.succeeded();
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    let ended = run(offline().env("LOGX_DEBUG", "1").args(["echo", "shown"]));
    assert_eq!(ended.stdout, "shown\n");
}

#[test]
fn durations_are_those_of_go_and_a_timeout_is_above_zero() {
    for good in ["1m30s", "1.5h", "+5s", "1h0m0.5s", "60000ms", "9000000000ns", "60000000us", "60000000µs"] {
        run(offline().arg(format!("-timeout={good}")).arg("true")).succeeded();
        run(offline().env("TIMEOUT", good).arg("true")).succeeded();
    }
    for (bad, why) in [
        ("0", "must be greater than zero"),
        ("0s", "must be greater than zero"),
        ("-1s", "must not be negative"),
        ("5", "expected a duration"),
        ("1d", "expected a duration"),
        ("1e3s", "expected a duration"),
        (" 5s", "expected a duration"),
        ("5s ", "expected a duration"),
    ] {
        run(offline().arg(format!("-timeout={bad}")).arg("true")).failed_with(2, &["-timeout: ", why]);
        run(offline().env("TIMEOUT", bad).arg("true")).failed_with(2, &[" for TIMEOUT: ", why]);
    }
    run(offline().args(["-timeout=", "true"])).failed_with(2, &["-timeout: ", "expected a duration"]);
    run(offline().args(["-kill-after=0", "true"])).succeeded();
    run(offline().args(["-kill-after=-1s", "true"]))
        .failed_with(2, &["\"-1s\" for -kill-after: must not be negative"]);
}

#[test]
fn service_url_is_a_flag_only_when_it_is_a_boolean() {
    let sandbox = Sandbox::start(&[]);
    // SERVICE_URL with a URL is not a flag, and a stale one is replaced or removed.
    let stale = "wss://stale.example/";
    let env = environment(sandbox.token().env("SERVICE_URL", stale));
    assert!(env["MONITORING_URL"].starts_with("http://") && env["SERVICE_URL"].starts_with("ws://"));
    let env = environment(sandbox.token().env("SERVICE_URL", stale).arg("-service-url"));
    assert!(env["MONITORING_URL"].starts_with("ws://") && !env.contains_key("SERVICE_URL"), "{env:?}");
    let env = environment(sandbox.token().env("SERVICE_URL", stale).arg("-exchange=false"));
    assert_eq!(env["SERVICE_URL"], stale);
    // A boolean one is a flag of this program.
    let env = environment(sandbox.token().env("SERVICE_URL", "true"));
    assert!(env["MONITORING_URL"].starts_with("ws://") && !env.contains_key("SERVICE_URL"), "{env:?}");
    let env = environment(sandbox.token().env("SERVICE_URL", "false"));
    assert!(env["SERVICE_URL"].starts_with("ws://"), "{env:?}");
    let env = environment(sandbox.token().env("SERVICE_URL", "false").arg("-exchange=false"));
    assert!(!env.contains_key("SERVICE_URL"), "{env:?}");
    run(sandbox.token().args(["-service-url", "-exchange=false", "true"]))
        .failed_with(2, &["-service-url", "-exchange=false"]);
}

#[test]
fn the_url_goes_where_env_name_says() {
    for command in [offline().args(["-env-name", "WHERE"]), offline().env("ENV_NAME", "WHERE")] {
        let env = environment(command);
        assert!(env["WHERE"].contains("access_token=") && !env.contains_key("MONITORING_URL"), "{env:?}");
    }
    for bad in ["", "A=B", "1A", "A B", "$A", "A\r", "é"] {
        run(offline().arg(format!("-env-name={bad}")).arg("true"))
            .failed_with(2, &["-env-name: ", "not a valid environment variable name"]);
    }
}

#[test]
fn debug_shows_the_output_unless_a_flag_says_otherwise() {
    const SAY: [&str; 3] = ["sh", "-c", "echo shown; exit 3"];
    for (flags, variable, on_stdout, on_stderr) in [
        (&["-logx.debug"][..], "", true, false),
        (&["-logx.debug"], "discard", true, false),
        (&["-logx.debug"], "on-failure", true, false),
        (&["-logx.debug", "-output=inherit"], "discard", true, false),
        (&["-logx.debug", "-output=discard"], "inherit", false, false),
        (&["-output=on-failure", "-logx.debug"], "", false, true),
    ] {
        let ended = run(offline().env("MONITORING_TOKEN_OUTPUT", variable).args(flags).args(SAY));
        assert_eq!(ended.status, 3, "{ended:?}");
        assert_eq!(ended.stdout.contains("shown"), on_stdout, "{flags:?} {variable}: {ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(lines.contains(&"shown"), on_stderr, "{flags:?} {variable}: {ended:?}");
    }
}

#[test]
fn a_usage_error_is_one_line_and_status_2() {
    for (args, words) in [
        (&[][..], &["missing command to run", "monitoring-token [flags] -- COMMAND"][..]),
        (&["--"], &["missing command to run"]),
        (&["-machine=m"], &["missing command to run"]),
        (&["-nope", "true"], &["unknown flag -nope", "-help"]),
        (&["-no\npe", "true"], &["unknown flag -no\\npe"]),
        (&["--nope=1", "true"], &["unknown flag -nope"]),
        (&["-Machine=m", "true"], &["unknown flag -Machine"]),
        (&["-m=m", "true"], &["unknown flag -m"]),
        (&["---machine=m", "true"], &["invalid flag syntax: ---machine=…"]),
        (&["-=m", "true"], &["invalid flag syntax: -=…"]),
        (&["-machine"], &["flag -machine needs a value"]),
        (
            &["-output=nowhere", "true"],
            &["\"nowhere\" for -output: expected discard, inherit, on-failure or masked"],
        ),
        (&["-log-format=xml", "true"], &["\"xml\" for -log-format: expected text or json"]),
        (&["-retries=many", "true"], &["\"many\" for -retries: expected a whole number"]),
        (&["-logx.debug=maybe", "true"], &["\"maybe\" for -logx.debug: expected true or false"]),
        (&["-service=n dt", "true"], &["\"n dt\" for -service: contains a space"]),
        (
            &["-locate-url=h:1/path", "true"],
            &["-locate-url: invalid URL \"h:1/path\": expected a URL that begins with http:// or https://"],
        ),
        (
            &["-locate-url=127.0.0.1:1/path", "true"],
            &["-locate-url: invalid URL \"127.0.0.1:1/path\": expected a URL that begins with http://"],
        ),
        (
            &["-locate-url=ftp://h/", "true"],
            &["-locate-url: invalid URL \"ftp://h/\": expected a URL that begins with http://"],
        ),
    ] {
        let ended = run(offline().args(args));
        ended.failed_with(2, words);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    // A very long word is cut off.
    let long = "x".repeat(100_000);
    for flag in ["-retries=", "-output=", "-", "---"] {
        let ended = run(offline().arg(format!("{flag}{long}")).arg("true"));
        ended.failed_with(2, &["xxx…"]);
        assert!(ended.stderr.len() < 300, "{}", ended.stderr.len());
    }
    let ended = run(offline().arg(format!("-service={long}")).arg("true"));
    ended.failed_with(2, &["-locate-url: invalid URL: with the service it is longer than 32 KiB"]);
    for (variable, value) in [
        ("LOGX_DEBUG", "maybe"),
        ("MONITORING_TOKEN_EXCHANGE", "no"),
        ("MONITORING_TOKEN_OUTPUT", "x"),
        ("MONITORING_TOKEN_LOG_FORMAT", "x"),
        ("MONITORING_TOKEN_RETRIES", "x"),
        ("MONITORING_TOKEN_KILL_AFTER", "x"),
        ("MONITORING_TOKEN_DIE_WITH_PARENT", "x"),
        ("SERVICE", "x y"),
        ("LOCATE_URL", "x"),
    ] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
        run(command.env(variable, value).arg("true")).failed_with(2, &[&format!("{variable}: ")]);
    }
}

#[test]
fn a_failure_is_one_object_if_json_is_requested() {
    let ended = run(token().args(["-log-format=json", "--", "true"]));
    assert_eq!(ended.status, 125);
    let line: serde_json::Value = serde_json::from_str(&ended.stderr).expect("one JSON object");
    assert_eq!(line["stage"], "sign");
    assert_eq!(line["exit_status"], 125);
    assert!(line["message"].as_str().unwrap().contains("no signing key"), "{line}");
}

#[test]
fn a_usage_error_is_one_object_if_json_is_requested() {
    for (variable, args, why) in [
        ("text", &["-log-format=json", "-nope", "true"][..], "unknown flag -nope"),
        ("text", &["-nope", "--log-format", "json", "true"], "unknown flag -nope"),
        ("", &["-timeout=5", "-log-format=json", "true"], "\"5\" for -timeout: expected a duration"),
        ("", &["-log-format=xml", "-log-format=json", "-machine"], "flag -machine needs a value"),
        ("json", &["-retries=many", "true"], "\"many\" for -retries: expected a whole number"),
        ("json", &["-service=n dt", "true"], "\"n dt\" for -service: contains a space"),
        ("json", &[], "missing command to run"),
        ("json", &["check", "-nope"], "unknown flag -nope"),
        ("json", &["gafaelfawr", "exec", "-nope", "true"], "unknown flag -nope"),
        ("json", &["gafaelfawr"], "missing subcommand: expected gafaelfawr create"),
        ("json", &["key", "inspect", "-nope"], "unknown flag -nope"),
        ("json", &["key", "inspect"], "missing FILE"),
    ] {
        let ended = run(token().env("MONITORING_TOKEN_LOG_FORMAT", variable).args(args));
        assert_eq!(ended.status, 2, "{args:?}");
        let line: serde_json::Value = serde_json::from_str(&ended.stderr).expect("one JSON object");
        assert!(line["message"].as_str().unwrap().contains(why), "{line}");
        assert_eq!(line["exit_status"], 2);
    }
    let mut command = token();
    command.env("MONITORING_TOKEN_LOG_FORMAT", "json").env("LOGX_DEBUG", "maybe");
    let ended = run(command.arg("true"));
    assert!(
        ended.stderr.starts_with('{') && ended.stderr.contains("\\\"maybe\\\" for LOGX_DEBUG"),
        "{ended:?}"
    );
    // The command's own flags are not parsed, and a flag overrides its variable.
    for args in [&["-nope", "true", "-log-format=json"][..], &["-nope", "-log-format=text", "true"]] {
        let variable = if args[1] == "true" { "" } else { "json" };
        run(token().env("MONITORING_TOKEN_LOG_FORMAT", variable).args(args))
            .failed_with(2, &["unknown flag"]);
    }
}

#[test]
fn help_names_every_flag_with_its_variable_and_default() {
    let help = run(token().arg("-help")).succeeded().stdout.clone();
    for args in [&["--help"][..], &["-h"], &["-machine=m", "-help", "true"], &["-help", "-nope=1"]] {
        let ended = run(token().args(args));
        ended.succeeded();
        assert_eq!(ended.stdout, help, "{args:?}");
    }
    run(token().args(["-nope=1", "-help"])).failed_with(2, &["unknown flag -nope"]);
    // One paragraph for each flag.
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraph = |name: &str| {
        let written = [format!("--{name} "), format!("--{name}[")];
        let at = written.iter().find_map(|written| words.find(written.as_str()));
        let rest = &words[at.unwrap_or_else(|| panic!("-{name} is not in the help")) + 2..];
        rest[..rest.find(" --").unwrap_or(rest.len())].to_owned()
    };
    for arg in cli::main_command().get_arguments() {
        if let (Some(name), Some(variable)) = (arg.get_long(), arg.get_env()) {
            let text = paragraph(name);
            assert!(text.contains(&format!("[env: {}]", variable.display())), "{text}");
        }
    }
    for (name, default) in [
        ("locate-url", "http://localhost:8080/v2/platform/monitoring/"),
        ("service", "ndt/ndt5"),
        ("timeout", "60s"),
        ("env-name", "MONITORING_URL"),
        ("service-url", "false"),
        ("logx.debug", "false"),
        ("exchange", "true"),
        ("output", "discard"),
        ("kill-after", "5s"),
        ("retries", "2"),
        ("log-format", "text"),
        ("die-with-parent", "false"),
        ("cache-ttl", "0"),
    ] {
        assert!(paragraph(name).contains(&format!("[default: {default}]")), "{}", paragraph(name));
    }
}

#[test]
fn usage_lines_show_the_required_flags_and_operands() {
    let usage_of = |words: &str| {
        let ended = run(token().args(words.split(' ')).arg("-help"));
        ended.succeeded();
        let (_, usage) = ended.stdout.split_once("Usage: monitoring-token ").expect("a usage line");
        usage.split("\n\n").next().unwrap_or_default().to_owned()
    };
    for (words, usage) in [
        ("check gafaelfawr exec", "--username NAME --scopes A,B [flags] [-- COMMAND [ARG...]]"),
        ("check stackstate exec", "--roles A,B [flags] [-- COMMAND [ARG...]]"),
        ("gafaelfawr create", "--username NAME --scopes A,B [flags]"),
        ("gafaelfawr delete", "--username NAME [flags] KEY"),
        ("gafaelfawr exec", "--username NAME --scopes A,B [flags] -- COMMAND [ARG...]"),
        ("gafaelfawr rotate", "--token-file FILE --username NAME --scopes A,B [flags]"),
        ("stackstate create", "--name NAME --roles A,B [flags]"),
        ("stackstate bootstrap", "--roles A,B [flags]"),
        ("stackstate list", "[flags]"),
        ("key inspect", "[flags] FILE"),
    ] {
        assert_eq!(usage_of(words), format!("{words} {usage}"));
    }
}

#[test]
fn help_after_the_command_is_the_commands() {
    let ended = run(offline().args(["-output=inherit", "echo", "-help"]));
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "-help\n"));
}

#[test]
fn version_names_the_release() {
    for flag in ["-version", "--version"] {
        let ended = run(token().arg(flag));
        ended.succeeded();
        let expected = concat!("monitoring-token ", env!("CARGO_PKG_VERSION"));
        assert!(ended.stdout.starts_with(expected) && ended.stdout.lines().count() == 1, "{ended:?}");
    }
}

#[test]
fn the_commands_own_status_is_passed_on() {
    for status in [0, 1, 2, 124, 125, 255] {
        let ended = run(offline().args(["--", "sh", "-c", &format!("exit {status}")]));
        assert_eq!((ended.status, ended.stderr.as_str()), (status, ""));
    }
    run(offline().args(["--", "/proc/nonexistent/program"]))
        .failed_with(127, &["/proc/nonexistent/program: not found"]);
    run(offline().args(["--", "/etc/passwd"])).failed_with(126, &["cannot run /etc/passwd"]);
}

#[test]
fn output_that_cannot_be_printed_is_a_failure() {
    for args in ["-version", "-help", "key inspect", "check -exchange=false"] {
        let line = format!("exec \"$0\" {args} $KEY >&-");
        let mut command = Command::new("sh");
        command.args(["-c", &line, env!("CARGO_BIN_EXE_monitoring-token")]);
        let key = testdata("keys/eddsa.json");
        command.env("MONITORING_SIGNER_KEY", &key);
        command.env("KEY", if args.starts_with("key") { key.as_os_str() } else { "".as_ref() });
        run(&mut command).failed_with(125, &["cannot write to stdout: Bad file descriptor"]);
    }
}
