//! Responses of Locate, or of another server in its place.

use super::servers::{answers, date, endless, host_in, json, jwt_in, rejects_with_date, replies, says, urls};
use super::{Fault, Lab, fault};
use crate::support::{http, testdata};

/// Refusals.
pub fn answers_that_say_no(lab: &Lab) -> Vec<Fault> {
    const HTML: &str = "<html>\n<head><title>Error</title></head><body>\x1b[31mno</body></html>";
    lab.write(
        "long-kid.json",
        std::fs::read_to_string(testdata("keys/eddsa.json"))
            .unwrap()
            .replace("test_eddsa", &"x".repeat(40_000)),
    );
    let error = |kind: &str, title: &str| {
        format!(r#"{{"error":{{"type":"{kind}","title":"{title}","status":400}}}}"#)
    };
    vec![
        fault(
            "200 without a body",
            answers("200 OK", "", ""),
            &["locate at http://127.0.0.1:", "returned an empty response (HTTP 200)", "-locate-url"],
        ),
        fault(
            "204",
            says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
            &["an empty response (HTTP 204)"],
        ),
        fault("205", answers("205 Reset Content", "", ""), &["an empty response (HTTP 205)"]),
        fault(
            "400 with text",
            answers("400 Bad Request", "", "no"),
            &["refused the request (HTTP 400, \"no\")"],
        ),
        fault(
            "401",
            answers("401 Unauthorized", "", ""),
            &[
                "locate rejected the token (HTTP 401)",
                "key ID \"test_eddsa\" of /",
                "may not be registered at http://127.0.0.1:",
                "another key may be registered under this ID",
                "key public /",
            ],
        ),
        fault("401, a key without an id", answers("401 Unauthorized", "", ""), &["has no key ID (kid)"])
            .with(&["-monitoring-signer-key={keys}/no-kid.json"]),
        fault(
            "401, a key with a very long id",
            answers("401 Unauthorized", "", ""),
            &["key ID \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" of /"],
        )
        .with(&["-monitoring-signer-key={dir}/long-kid.json"]),
        fault(
            "401, an ES384 key",
            answers("401 Unauthorized", "", ""),
            &["test_es384", "Locate v0.19.2 rejects ES384"],
        )
        .with(&["-monitoring-signer-key={keys}/es384.json"]),
        fault(
            "401, clock behind",
            rejects_with_date(192),
            &["(HTTP 401): the local clock is 3m1", "behind http://127.0.0.1:", "set the clock"],
        ),
        fault("401, clock a little behind", rejects_with_date(20), &["(HTTP 401)", "behind the server"]),
        fault(
            "401, clock ahead",
            rejects_with_date(-192),
            &["(HTTP 401)", "local clock is 3m1", "ahead of the server"],
        ),
        fault(
            "401 with HTML",
            answers("401 Unauthorized", "", HTML),
            &["rejected the token (HTTP 401, HTML page \"Error: "],
        ),
        fault(
            "401, compressed",
            answers("401 Unauthorized", "Content-Encoding: gzip\r\n", "\x1f"),
            &["rejected the token (HTTP 401)"],
        ),
        fault(
            "401, cut off",
            says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nbad tok"),
            &["rejected the token (HTTP 401, \"bad tok\")"],
        ),
        fault(
            "403",
            answers("403 Forbidden", "", ""),
            &["does not allow this request (HTTP 403)", "check the URL"],
        ),
        fault(
            "404",
            answers("404 Not Found", "", ""),
            &["/v2/platform/monitoring/ndt/ndt7 at http://127.0.0.1:", "was not found (HTTP 404)"],
        ),
        fault("404 with HTML", answers("404 Not Found", "", HTML), &["HTML page \"Error: \\u{1b}[31mno\""]),
        fault("405", answers("405 Method Not Allowed", "", ""), &["does not allow this method (HTTP 405)"]),
        fault(
            "407 from the server itself",
            answers("407 Proxy Authentication Required", "", ""),
            &["requires proxy authentication (HTTP 407), but no proxy is set"],
        ),
        fault(
            "a proxy that wants a password",
            answers("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", ""),
            &[
                "the proxy http://127.0.0.1:",
                "requires authentication (HTTP 407), but HTTP_PROXY has no credentials",
            ],
        )
        .with(&["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"]),
        fault(
            "408",
            answers("408 Request Timeout", "", ""),
            &["timed out waiting for the request (HTTP 408); check the network"],
        ),
        fault(
            "511",
            answers("511 Network Authentication Required", "", HTML),
            &["is behind a captive portal", "(HTTP 511 Network Authentication Required, HTML page"],
        ),
        fault("429", answers("429 Too Many Requests", "", ""), &["is rate limiting requests (HTTP 429)"]),
        fault(
            "429 for an hour",
            answers("429 Too Many Requests", "Retry-After: 3600\r\n", ""),
            &["HTTP 429", "asks to wait 1h0m0s, which is beyond the timeout"],
        )
        .with(&["-retries=2"]),
        fault(
            "503 until a date",
            replies(|_| http("503 Service Unavailable", &format!("Retry-After: {}\r\n", date(7201)), "")),
            &["HTTP 503", "asks to wait 2h", "beyond the timeout"],
        )
        .with(&["-retries=2"]),
        fault(
            "500",
            answers("500 Internal Server Error", "", ""),
            &["returned a server error (HTTP 500 Internal Server Error)"],
        ),
        fault(
            "502 with HTML",
            answers("502 Bad Gateway", "", HTML),
            &["returned a server error (HTTP 502 Bad Gateway, HTML page \"Error: "],
        ),
        fault(
            "503, too large",
            endless("HTTP/1.1 503 Service Unavailable\r\n\r\n", &[b'x'; 4096]),
            &["server error (HTTP 503 Service Unavailable, \"xxx", "…"],
        ),
        fault("599", answers("599 What", "", ""), &["HTTP 599"]),
        fault(
            "HTML",
            answers("200 OK", "Content-Type: text/html\r\n", HTML),
            &["a response that is not Locate JSON (HTTP 200, HTML page \"Error: ", "proxy on the path"],
        ),
        fault(
            "Cloud Endpoints: unauthorized",
            json("401 Unauthorized", r#"{"code":401,"message":"Jwt is expired"}"#),
            &["rejected the token (HTTP 401, Jwt is expired): the token had expired when it arrived"],
        ),
        fault(
            "Cloud Endpoints: forbidden",
            json("403 Forbidden", r#"{"code":403,"message":"API locate is not enabled for the project."}"#),
            &["does not allow", "(HTTP 403, API locate is not enabled for the project.)"],
        ),
        fault(
            "Cloud Endpoints: no such method",
            json("404 Not Found", r#"{"code":5,"message":"Method does not exist.","details":[{"x":1}]}"#),
            &["was not found", "Method does not exist."],
        ),
        fault(
            "Cloud Endpoints: unavailable",
            json("503 Service Unavailable", r#"{"code":14,"message":"upstream connect error"}"#),
            &["HTTP 503 Service Unavailable, upstream connect error"],
        ),
        fault(
            "service not enforced",
            json("400 Bad Request", &error("claim", "Must provide access_token")),
            &[
                "does not enforce tokens for the service ndt/ndt7",
                "(HTTP 400, claim: Must provide access_token)",
                "-service",
            ],
        ),
        fault(
            "a service without its data type",
            json("400 Bad Request", &error("claim", "Must provide access_token")),
            &["for the service \"ndt7\" (HTTP 400, claim: Must provide access_token): expected EXPERIMENT/DATATYPE"],
        )
        .with(&["LOCATE_URL={url}/v2/platform/monitoring/", "-service=ndt7"]),
        fault(
            "a service from a variable that is not set",
            json("400 Bad Request", &error("config", "Unknown service")),
            &["does not know the service \"\" (HTTP 400, config: Unknown service): expected EXPERIMENT/DATATYPE"],
        )
        .with(&["LOCATE_URL={url}/v2/platform/monitoring/", "-service="]),
        fault(
            "a service with a slash at its end",
            json("400 Bad Request", &error("claim", "Must provide access_token")),
            &["for the service \"ndt/ndt7/\" (HTTP 400, claim: Must provide access_token): remove the slash"],
        )
        .with(&["LOCATE_URL={url}/v2/platform/monitoring/", "-service=ndt/ndt7/"]),
        fault(
            "a prefix with the service and a slash at its end",
            json("400 Bad Request", &error("config", "Unknown service")),
            &["does not know the service \"ndt/ndt7/\" (HTTP 400, config: Unknown service): remove the slash"],
        )
        .with(&["LOCATE_URL={url}/v2/platform/monitoring/ndt/ndt7/", "-service="]),
        fault(
            "machine unknown",
            json("400 Bad Request", &error("subject", "Subject must be specified")),
            &["cannot parse the machine name \"mlab1-lga0t", "-machine"],
        ),
        fault(
            "no machine",
            json("400 Bad Request", &error("subject", "Subject must be specified")),
            &["cannot parse the machine name \"\""],
        )
        .with(&["-machine="]),
        fault(
            "service unknown",
            json("400 Bad Request", &error("config", "Unknown service: ndt/ndt7")),
            &["does not know the service ndt/ndt7", "Unknown service"],
        ),
        fault(
            "an error of another type",
            json("500 Internal Server Error", &error("nearest", "Failed to lookup nearest machines")),
            &[
                "returned an error (HTTP 500 Internal Server Error, nearest: Failed to lookup nearest machines)",
            ],
        ),
        fault(
            "an error with 429",
            json("429 Too Many Requests", &error("rate", "Slow down")),
            &["returned an error (HTTP 429, rate: Slow down); probe less often"],
        ),
        fault(
            "an error with 503",
            json("503 Service Unavailable", &error("overload", "Try later")),
            &[
                "returned an error (HTTP 503 Service Unavailable, overload: Try later); retry later, or report it to its operators",
            ],
        ),
        fault(
            "an error with 403",
            json("403 Forbidden", &error("denied", "No")),
            &["(HTTP 403, denied: No); check the URL"],
        ),
        fault(
            "an error of no type",
            json("500 Internal Server Error", r#"{"error":{}}"#),
            &["returned an error (HTTP 500 Internal Server Error)"],
        ),
        fault(
            "an error with 401",
            json("401 Unauthorized", &error("token", "bad signature")),
            &["rejected the token (HTTP 401, token: bad signature)", "test_eddsa"],
        ),
        fault(
            "an error with 200",
            json("200 OK", &error("client", "odd")),
            &["returned an error (HTTP 200, client: odd); retry later, or report it to its operators"],
        ),
        fault(
            "an error beside a target",
            json(
                "200 OK",
                r#"{"error":{"type":"x","title":"half"},"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#,
            ),
            &["x: half"],
        ),
        fault(
            "an error with detail",
            json("400 Bad Request", r#"{"error":{"type":"t","title":"one","detail":"two","instance":"i"}}"#),
            &["t: one: two"],
        ),
        fault(
            "control characters in a title",
            json("400 Bad Request", &error("t", r"a\u001b[31mb\nc\u0000\u202ed")),
            &["a\\u{1b}[31mb c\\u{0}\\u{202e}d"],
        ),
        fault(
            "a title without end",
            json("400 Bad Request", &error("t", &"long ".repeat(50_000))),
            &["long long", "…"],
        ),
    ]
}

/// Responses that repeat the token, which must not be shown.
pub fn echoes(_: &Lab) -> Vec<Fault> {
    vec![
        fault(
            "in a title",
            replies(|head| {
                http(
                    "400 Bad Request",
                    "",
                    &format!(r#"{{"error":{{"type":"t","title":"bad: {}!"}}}}"#, jwt_in(head)),
                )
            }),
            &["bad: eyJ", "REDACTED!"],
        )
        .with(&["-machine=m"]),
        fault(
            "in a detail",
            replies(|head| {
                http(
                    "503 Service Unavailable",
                    "",
                    &format!(r#"{{"error":{{"detail":"x.y.z {} z"}}}}"#, jwt_in(head)),
                )
            }),
            &["x.y.z eyJ", "REDACTED z"],
        )
        .with(&["-machine=m"]),
        fault(
            "in a message of Cloud Endpoints",
            replies(|head| {
                http("401 Unauthorized", "", &format!(r#"{{"code":401,"message":"{}"}}"#, jwt_in(head)))
            }),
            &["eyJ", "REDACTED)"],
        )
        .with(&["-machine=m"]),
        fault(
            "in a page",
            replies(|head| http("502 Bad Gateway", "", &format!("no {}", jwt_in(head)))),
            &["HTTP 502 Bad Gateway", "eyJ"],
        ),
        fault(
            "its end only",
            replies(|head| {
                http(
                    "500 What",
                    "",
                    &format!(r#"{{"error":{{"title":"…{}"}}}}"#, jwt_in(head).split_once('.').unwrap().1),
                )
            }),
            &["…eyJ", "REDACTED)"],
        )
        .with(&["-machine=m"]),
        fault(
            "in a value of the wrong type",
            replies(|head| http("200 OK", "", &format!(r#"{{"target":"{}"}}"#, jwt_in(head)))),
            &["unexpected response from locate at http", "eyJ", "REDACTED"],
        )
        .with(&["-machine=m"]),
        fault(
            "under a URL key",
            replies(|head| {
                http(
                    "200 OK",
                    "",
                    &format!(r#"{{"target":{{"urls":{{"a{0}":"","b{0}":""}}}}}}"#, jwt_in(head)),
                )
            }),
            &["offers several URLs", "aeyJ", "REDACTED, beyJ"],
        )
        .with(&["-machine=m"]),
        fault(
            "in a location",
            replies(|head| http("302 Found", &format!("Location: http://[{}\r\n", jwt_in(head)), "")),
            &["redirects to \"http://[eyJ"],
        ),
        fault(
            "with the URL",
            replies(|head| http("404 Not Found", "", head.lines().next().unwrap_or_default())),
            &["access_token=REDACTED"],
        ),
    ]
}

/// Responses in another format.
pub fn other_forms(_: &Lab) -> Vec<Fault> {
    let good = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#;
    let nested = "[".repeat(200_000);
    let nested_deep = format!(r#"{{"target":{{"urls":{{}}}},"x":{}}}"#, r#"{"a":"#.repeat(100_000));
    vec![
        fault("an empty object", json("200 OK", "{}"), &["returned no target.urls"]),
        fault("a target of null", json("200 OK", r#"{"target":null}"#), &["returned no target.urls"]),
        fault("a target without urls", json("200 OK", r#"{"target":{"machine":"m"}}"#), &["returned no target.urls"]),
        fault("no urls", urls("{}"), &["returned no target.urls"]),
        fault("urls of null", urls("null"), &["returned no target.urls"]),
        fault("results only", json("200 OK", r#"{"results":[{"urls":{"k":"wss://h/"}}]}"#), &["returned no target.urls"]),
        fault("JSON null", json("200 OK", "null"), &["a response that is not Locate JSON", "null"]),
        fault("a list", json("200 OK", "[1]"), &["a response that is not Locate JSON"]),
        fault("a list in the place of the object", json("200 OK", r#"[null,{"urls":{"k":"wss://h/"}},null]"#), &["a response that is not Locate JSON"]),
        fault("a file for a service URL", urls(r#"{"k":"file://host/x"}"#), &["an unusable URL", "its scheme is file"]),
        fault("a host of a dash", urls(r#"{"k":"wss://-/x"}"#), &["an unusable URL"]),
        fault("a host like a flag", urls(r#"{"k":"wss://-oProxyCommand=x/"}"#), &["an unusable URL"]),
        fault("a host like a short flag", urls(r#"{"k":"wss://-v.example/"}"#), &["an unusable URL", "a part of its host begins with a dash"]),
        fault("a flag in an inner label", urls(r#"{"k":"wss://a.-v.example:1/"}"#), &["an unusable URL", "a part of its host begins with a dash"]),
        fault("a host of dots", urls(r#"{"k":"wss://../x"}"#), &["an unusable URL", "its host is not a valid name"]),
        fault("a host that ends with two dots", urls(r#"{"k":"wss://h../x"}"#), &["an unusable URL", "its host is not a valid name"]),
        fault("an escaped dash", urls(r#"{"k":"wss://%2dv.example/"}"#), &["an unusable URL"]),
        fault("a string", json("200 OK", r#""wss://h/""#), &["a response that is not Locate JSON"]),
        fault("a number", json("200 OK", "1e999"), &["HTTP 200"]),
        fault("a target that is a number", json("200 OK", r#"{"target":5}"#), &["unexpected response from locate at ", "\"target\" must be an object, not a number; check -locate-url"]),
        fault("a target that is a list of the right shape", json("200 OK", r#"{"target":[{"wss:///ndt/v7/download":"wss://h/"}]}"#), &["unexpected response from locate at http://127.0.0.1:", "\"target\" must be an object, not a list"]),
        fault("an error that is a list", json("200 OK", r#"{"error":["a","b","c"]}"#), &["unexpected response from locate at http://127.0.0.1:", "\"error\" must be an object, not a list"]),
        fault("a target that is a list", json("200 OK", r#"{"target":["a"]}"#), &["unexpected response from locate at "]),
        fault("urls that are a list", urls(r#"["wss://h/"]"#), &["unexpected response from locate at ", "\"target.urls\" must be an object, not a list"]),
        fault("a URL that is a number", urls(r#"{"wss:///ndt/v7/download":5}"#), &["unexpected response from locate at ", "\"target.urls.*\" must be a string, not a number"]),
        fault("a URL of null", urls(r#"{"wss:///ndt/v7/download":null}"#), &["an unusable URL under the key ", "it is empty"]),
        fault("an error that is a string", json("200 OK", r#"{"error":"no"}"#), &["unexpected response from locate at ", "\"error\" must be an object, not the string \"no\""]),
        fault("an error that is a string, with 403", json("403 Forbidden", r#"{"error":"no"}"#), &["does not allow", "{\"error\":\"no\"}"]),
        fault("a title that is a number", json("400 Bad Request", r#"{"error":{"title":5}}"#), &["refused the request (HTTP 400"]),
        fault("a string without end", json("200 OK", &format!(r#"{{"target":"{}"}}"#, "x".repeat(300_000))), &["unexpected response from locate at "]),
        fault("deeply nested", json("200 OK", &nested), &["a response that is not Locate JSON"]),
        fault("deeply nested, where nobody looks", json("200 OK", &nested_deep), &["a response that is not Locate JSON"]),
        fault("half of it", json("200 OK", &good[..30]), &["a response that is not Locate JSON"]),
        fault("twice", json("200 OK", &good.repeat(2)), &["a response that is not Locate JSON"]),
        fault("with a byte order mark", json("200 OK", &format!("\u{feff}{good}")), &["a response that is not Locate JSON"]),
        fault("not UTF-8", says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01".as_slice()), &["HTTP 200, \"\u{fffd}", "\\u{0}\\u{1}"]),
        fault("a URL that is not UTF-8", says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"target\":{\"urls\":{\"wss:///ndt/v7/download\":\"wss://h/\xff\"}}}".as_slice()), &["an unusable URL", "it contains bytes that are not UTF-8"]),
        fault("more than 512 KiB", answers("200 OK", "", &" ".repeat(512 * 1024 + 1)), &["returned a response larger than 512 KiB (HTTP 200)"]),
        fault("without end", endless("HTTP/1.1 200 OK\r\n\r\n", &[b'{'; 4096]), &["a response larger than 512 KiB"]),
        fault("chunks without end", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\n    \r\n"), &["a response larger than 512 KiB"]),
        fault("compressed", answers("200 OK", "Content-Encoding: gzip\r\n", "\x1f\x08"), &["Content-Encoding \"gzip\", which was not requested"]),
        fault("an odd encoding", answers("200 OK", "Content-Encoding: \x7e\r\n", good), &["Content-Encoding"]),
    ]
}

/// Service URLs that cannot be used.
pub fn service_urls(_: &Lab) -> Vec<Fault> {
    let long = format!(r#"{{"wss:///ndt/v7/download":"wss://h/{}"}}"#, "x".repeat(200_000));
    let many = format!(
        "{{{}}}",
        (0..1000).map(|n| format!(r#""wss:///{n}":"wss://h/""#)).collect::<Vec<_>>().join(",")
    );
    let tokens = |count: usize| {
        let tokens: Vec<String> = (0..count).map(|n| format!("access_token={n:08}")).collect();
        format!(r#"{{"wss:///ndt/v7/download":"wss://h/?{}"}}"#, tokens.join("&"))
    };
    vec![
        fault(
            "a key that is not there",
            urls(r#"{"ws:///a":"ws://h/a","wss:///b":"wss://h/b"}"#),
            &["no URL key \"wss:///c\" for ndt/ndt7", "keys it has: ws:///a, wss:///b"],
        )
        .with(&["-service-url-key-name=wss:///c"]),
        fault("the same with -service-url", urls(r#"{"ws:///a":"ws://h/a"}"#), &["keys it has: ws:///a"])
            .with(&["-service-url", "-service-url-key-name=wss:///c"]),
        fault(
            "several and none named",
            urls(r#"{"ws:///a":"ws://h/a","wss:///b":"wss://h/b"}"#),
            &["offers several URLs for ndt/ndt7", "-service-url-key-name", "ws:///a, wss:///b"],
        ),
        fault("very many", urls(&many), &["offers several URLs", "…"]),
        fault(
            "control characters in a key",
            urls(r#"{"a\u001b[1m":"ws://h/","b\n":"ws://h/"}"#),
            &["a\\u{1b}[1m, b"],
        ),
        fault(
            "an empty URL",
            urls(r#"{"wss:///ndt/v7/download":""}"#),
            &["an unusable URL under the key wss:///ndt/v7/download for ndt/ndt7: it is empty"],
        ),
        fault(
            "a NUL",
            urls(r#"{"wss:///ndt/v7/download":"wss://h/\u0000"}"#),
            &["it contains spaces or control characters"],
        ),
        fault(
            "a line end",
            urls(r#"{"wss:///ndt/v7/download":"wss://h/\r\nX: y"}"#),
            &["it contains spaces or control characters"],
        ),
        fault(
            "a blank",
            urls(r#"{"wss:///ndt/v7/download":" wss://h/"}"#),
            &["it contains spaces or control characters"],
        ),
        fault("nothing but a scheme", urls(r#"{"wss:///ndt/v7/download":"wss://"}"#), &["it names no host"]),
        fault("backslashes", urls(r#"{"wss:///ndt/v7/download":"wss:\\\\h"}"#), &["it names no host"]),
        fault(
            "no host",
            urls(r#"{"wss:///ndt/v7/download":"wss:///ndt/v7/download"}"#),
            &["an unusable URL under the key wss:///ndt/v7/download", "it names no host"],
        )
        .with(&["-service-url"]),
        fault("a file", urls(r#"{"wss:///ndt/v7/download":"file:///etc/passwd"}"#), &["it names no host"]),
        fault("no URL", urls(r#"{"wss:///ndt/v7/download":"ndt7"}"#), &["it names no host"]),
        fault("longer than a variable can be", urls(&long), &["it is longer than 32 KiB (200008 bytes)"]),
        fault(
            "very many tokens, which took minutes to hide",
            urls(&tokens(20_000)),
            &["it is longer than 32 KiB (440008 bytes)"],
        ),
        fault("too many tokens", urls(&tokens(9)), &["it has 9 access tokens"]),
    ]
}

/// Redirects.
pub fn redirects(lab: &Lab) -> Vec<Fault> {
    let elsewhere = lab.elsewhere.0;
    let to = |location: &str| answers("302 Found", &format!("Location: {location}\r\n"), "");
    vec![
        fault(
            "without a location",
            answers("302 Found", "", ""),
            &["redirects without a Location (HTTP 302)"],
        ),
        fault("to no URL", to("http://["), &["redirects to \"http://[\", which is not a valid URL"]),
        fault(
            "not modified",
            says("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"),
            &["returned an unexpected status (HTTP 304 Not Modified); check -locate-url"],
        ),
        fault(
            "to something that is not HTTP",
            to("javascript:alert(1)"),
            &["redirects to javascript:…, which is not an http:// or https:// URL; check the URL"],
        ),
        fault("in a loop", to("/v2/platform/monitoring/ndt/ndt7"), &["redirected more than 3 times"]),
        fault(
            "to another port",
            to(&format!("http://{elsewhere}/")),
            &["redirects to http://127.0.0.1:", "a different origin"],
        ),
        fault(
            "with the method kept",
            answers("307 Temporary Redirect", &format!("Location: http://{elsewhere}/\r\n"), ""),
            &["a different origin"],
        ),
        fault(
            "to another scheme",
            replies(|head| {
                http("301 Moved Permanently", &format!("Location: https://{}/\r\n", host_in(head)), "")
            }),
            &["redirects to https://127.0.0.1:", "a different origin"],
        ),
        fault(
            "to another name of the host",
            replies(|head| {
                http(
                    "302 Found",
                    &format!("Location: http://localhost:{}/\r\n", host_in(head).rsplit(':').next().unwrap()),
                    "",
                )
            }),
            &["redirects to http://localhost:"],
        ),
    ]
}
