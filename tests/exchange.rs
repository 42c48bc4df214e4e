//! The exchange with Locate: requests, retries, trust, and the command's variables.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::job::Folder;
use crate::support::tls::{Authority, server_params};
use crate::support::{
    Ended, MACHINE, PATIENCE, Sandbox, full_queue, http, namespace, read_head, read_head_of, run,
    sandbox_program, serve, serve_at, testdata, token,
};

const GOOD: &str = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://ndt.example/ndt/v7/download?access_token=a.b.c"}}}"#;

/// A server that records each request and its time.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<(Instant, String)>>>);

impl Record {
    /// Serves these responses, one for each request; the last one repeats.
    fn serve(&self, answers: Vec<String>) -> SocketAddr {
        let record = self.clone();
        serve(move |mut stream| {
            let head = read_head(&mut stream);
            let at = record.add(head);
            let _ = stream.write_all(answers[at.min(answers.len() - 1)].as_bytes());
        })
    }

    fn add(&self, head: String) -> usize {
        let mut seen = self.0.lock().unwrap();
        seen.push((Instant::now(), head));
        seen.len() - 1
    }

    fn heads(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, head)| head.clone()).collect()
    }

    /// The time between the first two requests.
    fn pause(&self) -> Duration {
        let seen = self.0.lock().unwrap();
        seen[1].0 - seen[0].0
    }
}

/// The binary with this origin, `ndt/ndt7` and an ES256 key, whose signatures are never the same.
fn asks(origin: &str) -> Command {
    let mut command = token();
    command
        .env("LOCATE_URL", format!("{origin}/v2/platform/monitoring/"))
        .env("MONITORING_SIGNER_KEY", testdata("keys/es256.json"))
        .env("MACHINE", MACHINE)
        .arg("-service=ndt/ndt7");
    command
}

fn ok() -> String {
    http("200 OK", "", GOOD)
}

/// The variables that `env` printed.
fn variables(ended: &Ended) -> HashMap<&str, &str> {
    ended.stdout.lines().filter_map(|line| line.split_once('=')).collect()
}

#[track_caller]
fn environment(command: &mut Command) -> HashMap<String, String> {
    let ended = run(command.args(["-output=inherit", "--", "env"]));
    ended.succeeded();
    variables(&ended).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn jwt(head: &str) -> &str {
    head.split("access_token=").nth(1).unwrap().split(['&', ' ']).next().unwrap()
}

fn part(jwt: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

#[test]
fn the_target_accepts_the_token_that_the_command_finds() {
    let probe = sandbox_program();
    for version in ["--locate-version=0.17", "--locate-version=0.19"] {
        let sandbox = Sandbox::start(&[version]);
        run(sandbox.token().args(["-service=ndt/ndt7", "--", probe, "probe"])).succeeded();
    }
}

#[test]
fn by_default_the_command_finds_both_urls_and_the_host() {
    let sandbox = Sandbox::start(&[]);
    let env = environment(sandbox.token().env("OTHER", "kept").args(["-service=ndt/ndt7"]));
    let prefix = format!("{}ndt/ndt7?access_token=ey", sandbox.var("LOCATE_URL"));
    assert!(env["MONITORING_URL"].starts_with(&prefix), "{env:?}");
    let target = sandbox.var("SANDBOX_URL").replace("http", "ws") + "/ndt/v7/download?access_token=ey";
    assert!(env["SERVICE_URL"].starts_with(&target), "{env:?}");
    assert_eq!(env["SERVICE_HOSTNAME"], "127.0.0.1");
    assert_eq!(env["OTHER"], "kept");
    assert_eq!(env.get("MONITORING_SIGNER_KEY"), None);
}

#[test]
fn with_service_url_the_command_finds_that_alone() {
    let sandbox = Sandbox::start(&[]);
    let env = environment(sandbox.token().args(["-service-url", "-service=ndt/ndt7"]));
    assert!(env["MONITORING_URL"].starts_with("ws://"), "{env:?}");
    for absent in ["SERVICE_URL", "SERVICE_HOSTNAME", "MONITORING_SIGNER_KEY"] {
        assert_eq!(env.get(absent), None);
    }
    let env = environment(sandbox.token().args(["-service-url", "-env-name=SERVICE_URL"]));
    assert!(env["SERVICE_URL"].starts_with("ws://"), "{env:?}");
    assert_eq!(env.get("MONITORING_URL"), None);
}

#[test]
fn env_name_keeps_its_original_meaning() {
    let sandbox = Sandbox::start(&[]);
    let env = environment(sandbox.token().args(["-env-name=SERVICE_URL"]));
    assert!(env["SERVICE_URL"].starts_with(sandbox.var("LOCATE_URL")), "{env:?}");
    assert_eq!(env["SERVICE_HOSTNAME"], "127.0.0.1");
}

#[test]
fn credentials_of_other_modes_stay() {
    let sandbox = Sandbox::start(&[]);
    let others = ["GAFAELFAWR_ADMIN_TOKEN", "STS_CLI_API_TOKEN", "STS_CLI_SERVICE_TOKEN"];
    let env = environment(sandbox.token().envs(others.map(|name| (name, "x"))));
    for name in others {
        assert_eq!(env.get(name).map(String::as_str), Some("x"), "{name}");
    }
}

#[test]
fn the_key_of_the_service_url_is_the_named_one_or_the_services_own() {
    let sandbox = Sandbox::start(&[]);
    for (args, path) in [
        (&["-service=ndt/ndt7"][..], "/ndt/v7/download?"),
        (&["-service=ndt/ndt7", "-service-url-key-name=wss:///ndt/v7/upload"], "/ndt/v7/upload?"),
        (&["-service=ndt/ndt5"], "/ndt_protocol?"),
        (&["-service=wehe/replay"], "/v0/envelope/access?"),
        (&["-service=neubot/dash"], "/negotiate/dash?"),
    ] {
        let env = environment(sandbox.token().args(args));
        assert!(env["SERVICE_URL"].contains(path), "{args:?}: {env:?}");
    }
}

/// The original joins prefix and service as they are, so users split them in many ways; both Locates accept all of
/// them. The whole path decides which service it is.
#[test]
fn prefix_and_service_are_one_url_split_anywhere() {
    let sandbox = Sandbox::start(&[]);
    let (root, folder) = (sandbox.var("SANDBOX_URL"), Folder::new());
    let metrics = folder.path("metrics");
    for (prefix, service) in [
        ("/v2/platform/monitoring/", "ndt/ndt7"),
        ("/v2/platform/monitoring", "ndt/ndt7"),
        ("/v2/platform/monitoring", "/ndt/ndt7"),
        ("/v2/platform/monitoring/ndt/", "ndt7"),
        ("/v2/platform/monitoring/ndt", "ndt7"),
        ("/v2/platform/monitoring/ndt/ndt7", ""),
        ("/v2/platform/monitoring/ndt/ndt7?early_exit=250", ""),
        ("", "/v2/platform/monitoring/ndt/ndt7"),
        ("/", "v2/platform/monitoring/ndt/ndt7"),
        ("/v2/platform/monitoring/", "./ndt/ndt7"),
        ("/v2/platform/monitoring/x/../", "ndt/ndt7"),
    ] {
        let mut command = sandbox.token();
        command.env("LOCATE_URL", format!("{root}{prefix}")).arg("-metrics-textfile").arg(&metrics);
        let env = environment(command.arg(format!("-service={service}")));
        assert!(env["SERVICE_URL"].contains("/ndt/v7/download"), "{prefix} {service}: {env:?}");
        let written = std::fs::read_to_string(&metrics).unwrap();
        assert!(written.contains("service=\"ndt/ndt7\""), "{prefix} {service}: {written}");
    }
}

/// An unset variable in `http://${HOST}/v2/…` leaves no host. Browsers' rules would then take the first element of
/// the path for one, and the token would go to a host called `v2`.
#[test]
fn a_url_without_a_host_is_refused_before_anything_is_asked() {
    for url in
        ["http:///v2/platform/monitoring/", "https:///", "http:/x", "http:x", "http://", "http://:8080/v2/"]
    {
        for words in [&["true"][..], &["-exchange=false", "true"], &["check"]] {
            let mut command = token();
            command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json")).env("LOCATE_URL", url);
            run(command.args(words)).failed_with(2, &["LOCATE_URL: invalid URL", "it has no host"]);
        }
    }
    for url in ["http://h:99999/", "http://::1/", "http://a<b/", "http://[x]/"] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json")).env("LOCATE_URL", url);
        run(command.arg("true")).failed_with(2, &["LOCATE_URL: invalid URL"]);
    }
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
    command.env("LOCATE_URL", "https://locate-dot-${PROJECT}.appspot.com/v2/platform/monitoring/");
    run(command.arg("true")).failed_with(
        2,
        &[
            "LOCATE_URL: invalid URL",
            "invalid host locate-dot-${project}.appspot.com; a variable in it was not expanded",
        ],
    );
}

/// Go's encoding/json accepts these: another letter case, a member twice, null for a string, half a surrogate pair.
#[test]
fn a_response_is_read_as_go_reads_it() {
    let url = r#""wss:///ndt/v7/download":"wss://ndt.example/x""#;
    for body in [
        format!(r#"{{"TARGET":{{"URLs":{{{url}}}}}}}"#),
        format!(r#"{{"target":{{"urls":{{"a":"ws://b/"}}}},"target":{{"urls":{{{url}}}}}}}"#),
        format!(r#"{{"target":{{"URLs":{{{url}}}}}}}"#),
        format!(r#"{{"target":{{"urls":{{{url}}}}},"target":{{"machine":"m"}}}}"#),
        format!(r#"{{"target":{{"urls":{{{url}}},"urls":{{"b":"ws://b/"}},"URLS":null}}}}"#),
        format!(r#"{{"target":{{"urls":{{{url}}},"x":1e999}},"message":{{"a":1}}}}"#),
        format!(r#"{{"target":{{"urls":{{{url},"x":null}}}}}}"#),
        format!(r#"{{"target":{{"urls":{{{url},"x":"\ud83d\ude00 \ud800\\ud800 \"\udc00"}}}}}}"#),
    ] {
        let address = Record::default().serve(vec![http("200 OK", "", &body)]);
        run(asks(&format!("http://{address}")).args(["-retries=0", "--", "true"])).succeeded();
    }
    // Latin-1.
    for (begin, end) in
        [(r#"{"target":{"urls":{"#, r#"},"\xe9":1}}"#), (r#"{"target":{"urls":{"b":"\xe9","#, "}}}")]
    {
        let answer = http("200 OK", "", &format!("{begin}{url}{end}").replace(r"\xe9", "\u{1}"));
        let bytes: Vec<u8> = answer.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(&bytes);
        });
        run(asks(&format!("http://{address}")).args(["-retries=0", "--", "true"])).succeeded();
    }
    let address =
        Record::default().serve(vec![http("400 Bad Request", "", r#"{"Error":{"Title":"No \ud800"}}"#)]);
    run(asks(&format!("http://{address}")).args(["-retries=0", "--", "true"]))
        .failed_with(125, &["(HTTP 400, No "]);
}

#[test]
fn the_request_has_a_user_agent_and_the_expected_target() {
    let record = Record::default();
    let address = record.serve(vec![ok()]);
    let query = "?early_exit=250&monitoring=true&x=a%20b";
    let prefix = format!("http://{address}/v2/platform/monitoring/{query}");
    run(asks("").env("LOCATE_URL", prefix).args(["--", "true"])).succeeded();
    let heads = record.heads();
    let [head] = heads.as_slice() else { panic!("{heads:?}") };
    let mut lines = head.lines();
    let request = lines.next().unwrap();
    let expected = format!(
        "GET /v2/platform/monitoring/ndt/ndt7?access_token={}&early_exit=250&monitoring=true&x=a+b HTTP/1.1",
        jwt(head)
    );
    assert_eq!(request, expected);
    let mut headers: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_lowercase).collect();
    headers.sort_unstable();
    let expected = [
        "accept: application/json".to_owned(),
        "connection: close".to_owned(),
        format!("host: {address}"),
        concat!("user-agent: monitoring-token/", env!("CARGO_PKG_VERSION")).to_owned(),
    ];
    assert_eq!(headers, expected);
}

#[test]
fn the_jwt_says_what_locate_checks_and_no_more() {
    let record = Record::default();
    let address = record.serve(vec![ok()]);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
    let (heads, after) = (record.heads(), now());
    let token = jwt(&heads[0]);
    assert_eq!(part(token, 0), json!({"alg": "ES256", "kid": "test_es256"}));
    let exp = part(token, 1)["exp"].as_u64().unwrap();
    assert!((before + 60..=after + 60).contains(&exp), "{before} {exp} {after}");
    let claims = json!({"iss": "monitoring", "sub": MACHINE, "aud": ["locate"], "exp": exp});
    assert_eq!(part(token, 1), claims);
}

/// Runs all cases at the same time: most of the time is waiting.
fn for_each<T: Copy + Send>(cases: &[T], try_one: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for &case in cases {
            scope.spawn({
                let try_one = &try_one;
                move || try_one(case)
            });
        }
    });
}

#[test]
fn each_further_try_is_freshly_signed() {
    let statuses =
        ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"];
    for_each(&statuses, |status| {
        let record = Record::default();
        let address = record.serve(vec![http(status, "", ""), http(status, "", ""), ok()]);
        run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
        let heads = record.heads();
        assert_eq!(heads.len(), 3, "{status}");
        let tokens: std::collections::HashSet<&str> = heads.iter().map(|head| jwt(head)).collect();
        assert_eq!(tokens.len(), 3, "{status}");
        let expiries: Vec<u64> =
            heads.iter().map(|head| part(jwt(head), 1)["exp"].as_u64().unwrap()).collect();
        assert!(expiries.is_sorted(), "{status} {expiries:?}");
    });
}

#[test]
fn the_command_gets_the_url_that_was_accepted() {
    let record = Record::default();
    let address = record.serve(vec![http("503 Service Unavailable", "", ""), ok()]);
    let env = environment(&mut asks(&format!("http://{address}")));
    let heads = record.heads();
    assert_eq!(jwt(&heads[1]), env["MONITORING_URL"].split_once("access_token=").unwrap().1);
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let record = Record::default();
    let address = {
        let record = record.clone();
        serve(move |mut stream| {
            if record.add(read_head(&mut stream)) > 0 {
                let _ = stream.write_all(ok().as_bytes());
            }
        })
    };
    run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
    assert_eq!(record.heads().len(), 2);
}

#[test]
fn permanent_failures_are_not_retried() {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Oops"] {
        let record = Record::default();
        let address = record.serve(vec![http(status, "Retry-After: 0\r\n", ""), ok()]);
        run(asks(&format!("http://{address}")).args(["--", "true"])).failed_with(125, &[&status[..3]]);
        assert_eq!(record.heads().len(), 1, "{status}");
    }
}

#[test]
fn the_number_of_retries_is_kept() {
    for_each(&[0, 1, 3], |retries| {
        let record = Record::default();
        let address = record.serve(vec![http("503 Service Unavailable", "", "")]);
        let ended =
            run(asks(&format!("http://{address}")).arg(format!("-retries={retries}")).args(["--", "true"]));
        ended.failed_with(125, &["HTTP 503"]);
        assert_eq!(ended.stderr.contains(&format!("tried {} times", retries + 1)), retries > 0, "{ended:?}");
        assert_eq!(record.heads().len(), retries + 1);
    });
}

#[test]
fn retry_after_in_seconds_is_waited_for() {
    let record = Record::default();
    let address = record.serve(vec![http("503 Service Unavailable", "Retry-After: 1\r\n", ""), ok()]);
    run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
    assert!(record.pause() >= Duration::from_secs(1), "{:?}", record.pause());
}

#[test]
fn retry_after_as_a_date_is_waited_for() {
    let record = Record::default();
    // A date has whole seconds, so 3 s from now are at least 2 s.
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let later = http("429 Too Many Requests", &format!("Retry-After: {date}\r\n"), "");
    let address = record.serve(vec![later, ok()]);
    run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
    let paused_until = SystemTime::now();
    assert!(httpdate::parse_http_date(&date).unwrap() <= paused_until);
    assert!(record.pause() >= Duration::from_millis(200), "{:?}", record.pause());
}

/// A gateway without room responds on accept. If its response came before the request, the message said that it was
/// not valid HTTP.
#[test]
fn a_response_before_the_request_is_reported_with_its_status() {
    for (status, words) in [
        ("503 Service Unavailable", "returned a server error (HTTP 503"),
        ("429 Too Many Requests", "is rate limiting requests (HTTP 429"),
        ("408 Request Timeout", "timed out waiting for the request (HTTP 408"),
        ("403 Forbidden", "HTTP 403"),
    ] {
        let address = serve(move |mut stream| {
            let _ = stream.write_all(http(status, "", "no room").as_bytes());
            read_head(&mut stream);
        });
        // The order of request and response is a race.
        for _ in 0..8 {
            run(asks(&format!("http://{address}")).args(["-retries=0", "--", "true"]))
                .failed_with(125, &[words]);
        }
    }
}

/// A local clock that is an hour off made the request for a second one for an hour, or for nothing.
#[test]
fn a_retry_after_date_is_measured_by_the_date_of_its_response() {
    for hour in [3600, -3600_i64] {
        let record = Record::default();
        let now = SystemTime::now();
        let server = if hour > 0 { now + Duration::from_secs(3600) } else { now - Duration::from_secs(3600) };
        let (date, after) =
            (httpdate::fmt_http_date(server), httpdate::fmt_http_date(server + Duration::from_secs(1)));
        let later = http("503 Service Unavailable", &format!("Date: {date}\r\nRetry-After: {after}\r\n"), "");
        let address = record.serve(vec![later, ok()]);
        run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
        assert!(record.pause() >= Duration::from_secs(1), "{:?}", record.pause());
    }
}

#[test]
fn a_retry_after_beyond_the_timeout_fails_now() {
    let record = Record::default();
    let address = record.serve(vec![http("503 Service Unavailable", "Retry-After: 20\r\n", ""), ok()]);
    let begun = Instant::now();
    run(asks(&format!("http://{address}")).args(["-timeout=20s", "--", "true"]))
        .failed_with(125, &["HTTP 503", "it asks to wait 20s, which is beyond the timeout"]);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(record.heads().len(), 1);
}

#[test]
fn three_redirects_on_the_same_origin_are_followed() {
    let record = Record::default();
    let address = {
        let record = record.clone();
        serve(move |mut stream| {
            let head = read_head(&mut stream);
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
            let to = |path: &str| http("302 Found", &format!("Location: {path}\r\n"), "");
            let answer = match record.add(head) {
                0 => to("/1?t=x"),
                1 => to("2"),
                2 => to(&format!("http://{host}/3")),
                _ => ok(),
            };
            let _ = stream.write_all(answer.as_bytes());
        })
    };
    run(asks(&format!("http://{address}")).args(["--", "true"])).succeeded();
    let heads = record.heads();
    let paths: Vec<&str> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths[1..], ["/1?t=x", "/2", "/3"]);
    assert!(heads.iter().all(|head| !head.to_lowercase().contains("referer")));
}

#[test]
fn plain_http_to_another_host_brings_a_warning() {
    let record = Record::default();
    let proxy = record.serve(vec![ok()]);
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let ended = run(asks("http://example.test")
            .env(variable, format!("http://user:word@{proxy}"))
            .args(["--", "true"]));
        assert_eq!(ended.status, 0, "{ended:?}");
        let expected = "monitoring-token: warning: token sent to example.test over plain HTTP; use https\n";
        assert_eq!(ended.stderr, expected);
    }
    let mut unsent = asks("http://example.test");
    let ended = run(unsent.env("HTTP_PROXY", "http://127.0.0.1:1").args(["-retries=0", "--", "true"]));
    ended.failed_with(125, &["connection refused; check HTTP_PROXY and NO_PROXY\n"]);
    // The proxy gets the whole URL (RFC 9112, 3.2.2), and its own credentials.
    let heads = record.heads();
    assert!(heads[0].starts_with("GET http://example.test/v2/platform/monitoring/ndt/ndt7?"), "{heads:?}");
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic dxnlcjp3b3jk"), "{heads:?}");
    assert_eq!(heads.len(), 2);
}

#[test]
fn no_proxy_and_loopback_are_not_proxied() {
    let proxied = Record::default();
    let proxy = format!("http://{}", proxied.serve(vec![ok()]));
    let direct = Record::default();
    let address = direct.serve(vec![ok()]);
    for host in [format!("127.0.0.1:{}", address.port()), format!("localhost:{}", address.port())] {
        run(asks(&format!("http://{host}")).env("HTTP_PROXY", &proxy).args(["--", "true"])).succeeded();
    }
    for rule in ["name.invalid", ".invalid", "*", "other, NAME.INVALID:80"] {
        run(asks("http://name.invalid").env("HTTP_PROXY", &proxy).env("NO_PROXY", rule).args([
            "-retries=0",
            "--",
            "true",
        ]))
        .failed_with(125, &["cannot resolve name.invalid: no such host"]);
    }
    assert_eq!(direct.heads().len(), 2);
    assert_eq!(proxied.heads(), Vec::<String>::new());
    // A rule for names is not for an address that ends with it.
    for rule in [".9", "9.9", "*.9.9.9", "9.9.9:80"] {
        let mut through = asks("http://10.9.9.9");
        through.env("HTTP_PROXY", &proxy).env("NO_PROXY", rule).args(["-retries=0", "--", "true"]);
        run(&mut through).said(0, &["token sent to 10.9.9.9 over plain HTTP"]);
    }
    assert_eq!(proxied.heads().len(), 4);
}

/// A server under https, for these names, with a CA of its own.
fn https(names: &[&str], record: &Record) -> (Authority, SocketAddr) {
    let authority = Authority::new("CA of the exchange");
    let record = record.clone();
    let address = authority.issue(&server_params(names)).serve(move |mut stream| {
        let head = read_head_of(&mut stream);
        if !head.is_empty() {
            record.add(head);
            let _ = stream.write_all(ok().as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (authority, address)
}

#[test]
fn the_ca_is_found_where_it_is_named() {
    let record = Record::default();
    let (authority, address) = https(&["localhost", "127.0.0.1"], &record);
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    for dir in ["hashed", "empty", "linked"] {
        std::fs::create_dir(path(dir)).unwrap();
    }
    // A bundle in which it is not the first, with comments as in some distributions.
    let other = Authority::new("Another CA").pem();
    std::fs::write(path("bundle.pem"), format!("# one\n{other}\n# two\n{}", authority.pem())).unwrap();
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    // Names as created by c_rehash, and other files of such a folder.
    std::fs::write(path("hashed/5ad8a5d6.0"), authority.pem()).unwrap();
    std::fs::write(path("hashed/README"), "not a certificate").unwrap();
    assert!(Command::new("mkfifo").arg(path("hashed/fifo")).status().unwrap().success());
    std::os::unix::fs::symlink(path("ca.pem"), path("linked/5ad8a5d6.0")).unwrap();
    let no_file = ("SSL_CERT_FILE", "/proc/nonexistent".to_owned());
    for (args, variables) in [
        (vec![format!("-ca-file={}", path("ca.pem"))], vec![]),
        (vec![format!("-ca-file={}", path("bundle.pem"))], vec![no_file.clone()]),
        (vec![], vec![("SSL_CERT_FILE", path("bundle.pem"))]),
        (vec![], vec![no_file.clone(), ("SSL_CERT_DIR", path("hashed"))]),
        (vec![], vec![no_file, ("SSL_CERT_DIR", format!("{}:{}", path("empty"), path("linked")))]),
        (vec![], vec![("MONITORING_TOKEN_CA_FILE", path("ca.pem"))]),
    ] {
        for host in ["localhost", "127.0.0.1"] {
            let origin = format!("https://{host}:{}", address.port());
            run(asks(&origin).args(&args).envs(variables.clone()).args(["--", "true"])).succeeded();
        }
    }
    assert_eq!(record.heads().len(), 12);
    // Nothing is sent to a server that is not trusted.
    for variables in [vec![], vec![("SSL_CERT_FILE", path("empty")), ("SSL_CERT_DIR", path("empty"))]] {
        let origin = format!("https://localhost:{}", address.port());
        run(asks(&origin).envs(variables).args(["--", "true"]))
            .failed_with(125, &["is not trusted", "CA of the exchange"]);
    }
    assert_eq!(record.heads().len(), 12);
}

#[test]
fn the_ca_file_may_come_through_a_pipe() {
    let record = Record::default();
    let (authority, address) = https(&["localhost"], &record);
    let folder = Folder::new();
    let ca = folder.path("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    // It arrives in pieces, and late.
    let line = format!(
        "exec {} -ca-file <(head -c 100 {1}; sleep 0.1; tail -c +101 {1}) -service=ndt/ndt7 -machine=m true",
        env!("CARGO_BIN_EXE_monitoring-token"),
        ca.display()
    );
    let mut shell = Command::new("bash");
    run(shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LOCATE_URL", format!("https://localhost:{}/", address.port()))
        .env("MONITORING_SIGNER_KEY", testdata("keys/es256.json"))
        .args(["-c", &line]))
    .succeeded();
    assert_eq!(record.heads().len(), 1);
}

#[test]
fn https_goes_through_the_tunnel_of_a_proxy() {
    let (asked, tunnels) = (Record::default(), Record::default());
    let (authority, address) = https(&["far.test"], &asked);
    let proxy = {
        let tunnels = tunnels.clone();
        serve(move |mut client| {
            tunnels.add(read_head(&mut client));
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let server = TcpStream::connect(address).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                from.set_read_timeout(Some(PATIENCE)).unwrap();
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        })
    };
    let folder = Folder::new();
    let ca = folder.path("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    run(asks("https://far.test")
        .env("HTTPS_PROXY", format!("http://{proxy}"))
        .arg(format!("-ca-file={}", ca.display()))
        .args(["--", "true"]))
    .succeeded();
    let heads = tunnels.heads();
    assert!(heads.len() == 1 && heads[0].starts_with("CONNECT far.test:443 HTTP/1.1"), "{heads:?}");
    assert!(!heads[0].contains("access_token"), "{heads:?}");
    assert_eq!(asked.heads().len(), 1);
}

#[test]
fn the_host_of_an_address_has_no_brackets() {
    let answer = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://[2001:db8::1]:4443/ndt/v7/download?access_token=a.b.c"}}}"#;
    let address = Record::default().serve(vec![http("200 OK", "", answer)]);
    let env = environment(&mut asks(&format!("http://{address}")));
    assert_eq!(env["SERVICE_HOSTNAME"], "2001:db8::1");
}

#[test]
fn an_address_that_is_dead_leaves_time_for_the_others() {
    let folder = Folder::new();
    let hosts = folder.path("hosts");
    std::fs::write(&hosts, "127.0.0.11 two.example\n127.0.0.12 two.example\n").unwrap();
    // Whichever address is tried first.
    for (dead, alive) in [("127.0.0.11", "127.0.0.12"), ("127.0.0.12", "127.0.0.11")] {
        let port = serve_at(alive, |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(ok().as_bytes());
        })
        .port();
        full_queue(dead, port);
        let asks = asks(&format!("http://two.example:{port}"));
        let mut namespace = namespace(&["--mount"]);
        namespace.args(["sh", "-c", "mount --bind \"$HOSTS\" /etc/hosts && exec \"$@\"", "sh"]);
        namespace.arg(asks.get_program()).args(asks.get_args());
        namespace.envs(asks.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("HOSTS", &hosts);
        let ended = run(namespace.args(["-timeout=6s", "-retries=0", "--", "true"]));
        assert_eq!(ended.status, 0, "{dead} is dead: {ended:?}");
    }
}

#[test]
fn a_socks_proxy_looks_the_name_up() {
    for scheme in ["socks5", "socks5h"] {
        let proxy = serve(|mut stream| {
            use std::io::Read as _;
            // RFC 1928: the greeting, then CONNECT (1) to a domain name (3).
            let mut greeting = [0; 3];
            let _ = stream.read_exact(&mut greeting);
            let _ = stream.write_all(&[5, 0]);
            let mut request = [0; 5];
            let _ = stream.read_exact(&mut request);
            let mut name = vec![0; usize::from(request[4]) + 2];
            let _ = stream.read_exact(&mut name);
            if (request[1], request[3], &name[..14]) == (1, 3, b"locate.example") {
                let _ = stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
                read_head(&mut stream);
                let _ = stream.write_all(ok().as_bytes());
            }
        });
        let mut command = asks("http://locate.example");
        command.env("HTTP_PROXY", format!("{scheme}://{proxy}"));
        let ended = run(command.args(["-retries=0", "--", "true"]));
        assert_eq!(ended.status, 0, "{scheme}: {ended:?}");
    }
}
