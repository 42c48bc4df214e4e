//! Responses of Locate, or of another server in its place.

use super::servers::{answers, date, endless, host_in, json, jwt_in, rejects_with_date, replies, says, urls};
use super::{Lab, Row};
use crate::support::{http, testdata};

/// Refusals.
#[rustfmt::skip]
pub fn answers_that_say_no(lab: &Lab) -> Vec<Row> {
    const HTML: &str = "<html>\n<head><title>Error</title></head><body>\x1b[31mno</body></html>";
    lab.write("long-kid.json", std::fs::read_to_string(testdata("keys/eddsa.json")).unwrap().replace("test_eddsa", &"x".repeat(40_000)));
    let error = |kind: &str, title: &str| format!(r#"{{"error":{{"type":"{kind}","title":"{title}","status":400}}}}"#);
    vec![
        ("200 without a body", answers("200 OK", "", ""), &[], 125, &["locate at http://127.0.0.1:", "returned an empty response (HTTP 200)", "-locate-url"]),
        ("204", says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), &[], 125, &["an empty response (HTTP 204)"]),
        ("205", answers("205 Reset Content", "", ""), &[], 125, &["an empty response (HTTP 205)"]),
        ("400 with text", answers("400 Bad Request", "", "no"), &[], 125, &["refused the request (HTTP 400, \"no\")"]),
        ("401", answers("401 Unauthorized", "", ""), &[], 125, &["locate rejected the token (HTTP 401)", "key ID \"test_eddsa\" of /", "may not be registered at http://127.0.0.1:", "another key may be registered under this ID", "key public /"]),
        ("401, a key without an id", answers("401 Unauthorized", "", ""), &["-monitoring-signer-key={keys}/no-kid.json"], 125, &["has no key ID (kid)"]),
        ("401, a key with a very long id", answers("401 Unauthorized", "", ""), &["-monitoring-signer-key={dir}/long-kid.json"], 125, &["key ID \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" of /"]),
        ("401, an ES384 key", answers("401 Unauthorized", "", ""), &["-monitoring-signer-key={keys}/es384.json"], 125, &["test_es384", "Locate v0.19.2 rejects ES384"]),
        ("401, clock behind", rejects_with_date(192), &[], 125, &["(HTTP 401): the local clock is 3m1", "behind http://127.0.0.1:", "set the clock"]),
        ("401, clock a little behind", rejects_with_date(20), &[], 125, &["(HTTP 401)", "behind the server"]),
        ("401, clock ahead", rejects_with_date(-192), &[], 125, &["(HTTP 401)", "local clock is 3m1", "ahead of the server"]),
        ("401 with HTML", answers("401 Unauthorized", "", HTML), &[], 125, &["rejected the token (HTTP 401, HTML page \"Error: "]),
        ("401, compressed", answers("401 Unauthorized", "Content-Encoding: gzip\r\n", "\x1f"), &[], 125, &["rejected the token (HTTP 401)"]),
        ("401, cut off", says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nbad tok"), &[], 125, &["rejected the token (HTTP 401, \"bad tok\")"]),
        ("403", answers("403 Forbidden", "", ""), &[], 125, &["does not allow this request (HTTP 403)", "check the URL"]),
        ("404", answers("404 Not Found", "", ""), &[], 125, &["/v2/platform/monitoring/ndt/ndt7 at http://127.0.0.1:", "was not found (HTTP 404)"]),
        ("404 with HTML", answers("404 Not Found", "", HTML), &[], 125, &["HTML page \"Error: \\u{1b}[31mno\""]),
        ("405", answers("405 Method Not Allowed", "", ""), &[], 125, &["does not allow this method (HTTP 405)"]),
        ("407 from the server itself", answers("407 Proxy Authentication Required", "", ""), &[], 125, &["requires proxy authentication (HTTP 407), but no proxy is set"]),
        ("a proxy that wants a password", answers("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", ""), &["HTTP_PROXY={url}", "LOCATE_URL=http://far.invalid/"], 125, &["the proxy http://127.0.0.1:", "requires authentication (HTTP 407), but HTTP_PROXY has no credentials"]),
        ("408", answers("408 Request Timeout", "", ""), &[], 125, &["timed out waiting for the request (HTTP 408); check the network"]),
        ("511", answers("511 Network Authentication Required", "", HTML), &[], 125, &["is behind a captive portal", "(HTTP 511 Network Authentication Required, HTML page"]),
        ("429", answers("429 Too Many Requests", "", ""), &[], 125, &["is rate limiting requests (HTTP 429)"]),
        ("429 for an hour", answers("429 Too Many Requests", "Retry-After: 3600\r\n", ""), &["-retries=2"], 125, &["HTTP 429", "asks to wait 1h0m0s, which is beyond the timeout"]),
        ("503 until a date", replies(|_| http("503 Service Unavailable", &format!("Retry-After: {}\r\n", date(7201)), "")), &["-retries=2"], 125, &["HTTP 503", "asks to wait 2h", "beyond the timeout"]),
        ("500", answers("500 Internal Server Error", "", ""), &[], 125, &["returned a server error (HTTP 500 Internal Server Error)"]),
        ("502 with HTML", answers("502 Bad Gateway", "", HTML), &[], 125, &["returned a server error (HTTP 502 Bad Gateway, HTML page \"Error: "]),
        ("503, too large", endless("HTTP/1.1 503 Service Unavailable\r\n\r\n", &[b'x'; 4096]), &[], 125, &["server error (HTTP 503 Service Unavailable, \"xxx", "…"]),
        ("599", answers("599 What", "", ""), &[], 125, &["HTTP 599"]),
        ("HTML", answers("200 OK", "Content-Type: text/html\r\n", HTML), &[], 125, &["a response that is not Locate JSON (HTTP 200, HTML page \"Error: ", "proxy in between"]),
        ("Cloud Endpoints: unauthorized", json("401 Unauthorized", r#"{"code":401,"message":"Jwt is expired"}"#), &[], 125, &["rejected the token (HTTP 401, Jwt is expired)"]),
        ("Cloud Endpoints: forbidden", json("403 Forbidden", r#"{"code":403,"message":"API locate is not enabled for the project."}"#), &[], 125, &["does not allow", "(HTTP 403, API locate is not enabled for the project.)"]),
        ("Cloud Endpoints: no such method", json("404 Not Found", r#"{"code":5,"message":"Method does not exist.","details":[{"x":1}]}"#), &[], 125, &["was not found", "Method does not exist."]),
        ("Cloud Endpoints: unavailable", json("503 Service Unavailable", r#"{"code":14,"message":"upstream connect error"}"#), &[], 125, &["HTTP 503 Service Unavailable, upstream connect error"]),
        ("service not enforced", json("400 Bad Request", &error("claim", "Must provide access_token")), &[], 125, &["does not enforce tokens for the service ndt/ndt7", "(HTTP 400, claim: Must provide access_token)", "-service"]),
        ("machine unknown", json("400 Bad Request", &error("subject", "Subject must be specified")), &[], 125, &["cannot parse the machine name \"mlab1-lga0t", "-machine"]),
        ("no machine", json("400 Bad Request", &error("subject", "Subject must be specified")), &["-machine="], 125, &["cannot parse the machine name \"\""]),
        ("service unknown", json("400 Bad Request", &error("config", "Unknown service: ndt/ndt7")), &[], 125, &["does not know the service ndt/ndt7", "Unknown service"]),
        ("an error of another type", json("500 Internal Server Error", &error("nearest", "Failed to lookup nearest machines")), &[], 125, &["returned an error (HTTP 500 Internal Server Error, nearest: Failed to lookup nearest machines)"]),
        ("an error with 429", json("429 Too Many Requests", &error("rate", "Slow down")), &[], 125, &["returned an error (HTTP 429, rate: Slow down); probe less often"]),
        ("an error with 503", json("503 Service Unavailable", &error("overload", "Try later")), &[], 125, &["returned an error (HTTP 503 Service Unavailable, overload: Try later); retry later, or report it to its operators"]),
        ("an error with 403", json("403 Forbidden", &error("denied", "No")), &[], 125, &["(HTTP 403, denied: No); check the URL"]),
        ("an error of no type", json("500 Internal Server Error", r#"{"error":{}}"#), &[], 125, &["returned an error (HTTP 500 Internal Server Error)"]),
        ("an error with 401", json("401 Unauthorized", &error("token", "bad signature")), &[], 125, &["rejected the token (HTTP 401, token: bad signature)", "test_eddsa"]),
        ("an error with 200", json("200 OK", &error("client", "odd")), &[], 125, &["returned an error (HTTP 200, client: odd)"]),
        ("an error beside a target", json("200 OK", r#"{"error":{"type":"x","title":"half"},"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#), &[], 125, &["x: half"]),
        ("an error with detail", json("400 Bad Request", r#"{"error":{"type":"t","title":"one","detail":"two","instance":"i"}}"#), &[], 125, &["t: one: two"]),
        ("control characters in a title", json("400 Bad Request", &error("t", r"a\u001b[31mb\nc\u0000\u202ed")), &[], 125, &["a\\u{1b}[31mb c\\u{0}\\u{202e}d"]),
        ("a title without end", json("400 Bad Request", &error("t", &"long ".repeat(50_000))), &[], 125, &["long long", "…"]),
    ]
}

/// Responses that repeat the token, which must not be shown.
#[rustfmt::skip]
pub fn echoes(_: &Lab) -> Vec<Row> {
    vec![
        ("in a title", replies(|head| http("400 Bad Request", "", &format!(r#"{{"error":{{"type":"t","title":"bad: {}!"}}}}"#, jwt_in(head)))), &["-machine=m"], 125, &["bad: eyJ", "REDACTED!"]),
        ("in a detail", replies(|head| http("503 Service Unavailable", "", &format!(r#"{{"error":{{"detail":"x.y.z {} z"}}}}"#, jwt_in(head)))), &["-machine=m"], 125, &["x.y.z eyJ", "REDACTED z"]),
        ("in a message of Cloud Endpoints", replies(|head| http("401 Unauthorized", "", &format!(r#"{{"code":401,"message":"{}"}}"#, jwt_in(head)))), &["-machine=m"], 125, &["eyJ", "REDACTED)"]),
        ("in a page", replies(|head| http("502 Bad Gateway", "", &format!("no {}", jwt_in(head)))), &[], 125, &["HTTP 502 Bad Gateway", "eyJ"]),
        ("its end only", replies(|head| http("500 What", "", &format!(r#"{{"error":{{"title":"…{}"}}}}"#, jwt_in(head).split_once('.').unwrap().1))), &["-machine=m"], 125, &["…eyJ", "REDACTED)"]),
        ("in a value of the wrong type", replies(|head| http("200 OK", "", &format!(r#"{{"target":"{}"}}"#, jwt_in(head)))), &["-machine=m"], 125, &["unexpected response from locate at http", "eyJ", "REDACTED"]),
        ("under a URL key", replies(|head| http("200 OK", "", &format!(r#"{{"target":{{"urls":{{"a{0}":"","b{0}":""}}}}}}"#, jwt_in(head)))), &["-machine=m"], 125, &["offers several URLs", "aeyJ", "REDACTED, beyJ"]),
        ("in a location", replies(|head| http("302 Found", &format!("Location: http://[{}\r\n", jwt_in(head)), "")), &[], 125, &["redirects to \"http://[eyJ"]),
        ("with the URL", replies(|head| http("404 Not Found", "", head.lines().next().unwrap_or_default())), &[], 125, &["access_token=REDACTED"]),
    ]
}

/// Responses in another format.
#[rustfmt::skip]
pub fn other_forms(_: &Lab) -> Vec<Row> {
    let good = r#"{"target":{"urls":{"wss:///ndt/v7/download":"wss://h/"}}}"#;
    let nested = "[".repeat(200_000);
    let nested_deep = format!(r#"{{"target":{{"urls":{{}}}},"x":{}}}"#, r#"{"a":"#.repeat(100_000));
    vec![
        ("an empty object", json("200 OK", "{}"), &[], 125, &["returned no target.urls"]),
        ("a target of null", json("200 OK", r#"{"target":null}"#), &[], 125, &["returned no target.urls"]),
        ("a target without urls", json("200 OK", r#"{"target":{"machine":"m"}}"#), &[], 125, &["returned no target.urls"]),
        ("no urls", urls("{}"), &[], 125, &["returned no target.urls"]),
        ("urls of null", urls("null"), &[], 125, &["returned no target.urls"]),
        ("results only", json("200 OK", r#"{"results":[{"urls":{"k":"wss://h/"}}]}"#), &[], 125, &["returned no target.urls"]),
        ("JSON null", json("200 OK", "null"), &[], 125, &["a response that is not Locate JSON", "null"]),
        ("a list", json("200 OK", "[1]"), &[], 125, &["a response that is not Locate JSON"]),
        ("a list in the place of the object", json("200 OK", r#"[null,{"urls":{"k":"wss://h/"}},null]"#), &[], 125, &["a response that is not Locate JSON"]),
        ("a file for a service URL", urls(r#"{"k":"file://host/x"}"#), &[], 125, &["an unusable URL", "its scheme is file"]),
        ("a host of a dash", urls(r#"{"k":"wss://-/x"}"#), &[], 125, &["an unusable URL"]),
        ("a host like a flag", urls(r#"{"k":"wss://-oProxyCommand=x/"}"#), &[], 125, &["an unusable URL"]),
        ("a host like a short flag", urls(r#"{"k":"wss://-v.example/"}"#), &[], 125, &["an unusable URL"]),
        ("a flag in an inner label", urls(r#"{"k":"wss://a.-v.example:1/"}"#), &[], 125, &["an unusable URL"]),
        ("an escaped dash", urls(r#"{"k":"wss://%2dv.example/"}"#), &[], 125, &["an unusable URL"]),
        ("a string", json("200 OK", r#""wss://h/""#), &[], 125, &["a response that is not Locate JSON"]),
        ("a number", json("200 OK", "1e999"), &[], 125, &["HTTP 200"]),
        ("a target that is a number", json("200 OK", r#"{"target":5}"#), &[], 125, &["unexpected response from locate at ", "integer `5`"]),
        ("a target that is a list of the right shape", json("200 OK", r#"{"target":[{"wss:///ndt/v7/download":"wss://h/"}]}"#), &[], 125, &["unexpected response from locate at http://127.0.0.1:", "invalid type: sequence, expected an object"]),
        ("an error that is a list", json("200 OK", r#"{"error":["a","b","c"]}"#), &[], 125, &["unexpected response from locate at http://127.0.0.1:", "invalid type: sequence, expected an object"]),
        ("a target that is a list", json("200 OK", r#"{"target":["a"]}"#), &[], 125, &["unexpected response from locate at "]),
        ("urls that are a list", urls(r#"["wss://h/"]"#), &[], 125, &["unexpected response from locate at "]),
        ("a URL that is a number", urls(r#"{"wss:///ndt/v7/download":5}"#), &[], 125, &["unexpected response from locate at "]),
        ("a URL of null", urls(r#"{"wss:///ndt/v7/download":null}"#), &[], 125, &["unexpected response from locate at "]),
        ("an error that is a string", json("200 OK", r#"{"error":"no"}"#), &[], 125, &["unexpected response from locate at ", "\"no\""]),
        ("an error that is a string, with 403", json("403 Forbidden", r#"{"error":"no"}"#), &[], 125, &["does not allow", "{\"error\":\"no\"}"]),
        ("a title that is a number", json("400 Bad Request", r#"{"error":{"title":5}}"#), &[], 125, &["refused the request (HTTP 400"]),
        ("a string without end", json("200 OK", &format!(r#"{{"target":"{}"}}"#, "x".repeat(300_000))), &[], 125, &["unexpected response from locate at "]),
        ("deeply nested", json("200 OK", &nested), &[], 125, &["a response that is not Locate JSON"]),
        ("deeply nested, where nobody looks", json("200 OK", &nested_deep), &[], 125, &["a response that is not Locate JSON"]),
        ("half of it", json("200 OK", &good[..30]), &[], 125, &["a response that is not Locate JSON"]),
        ("twice", json("200 OK", &good.repeat(2)), &[], 125, &["a response that is not Locate JSON"]),
        ("with a byte order mark", json("200 OK", &format!("\u{feff}{good}")), &[], 125, &["a response that is not Locate JSON"]),
        ("not UTF-8", says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01".as_slice()), &[], 125, &["HTTP 200, \"\u{fffd}", "\\u{0}\\u{1}"]),
        ("a URL that is not UTF-8", says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"target\":{\"urls\":{\"wss:///ndt/v7/download\":\"wss://h/\xff\"}}}".as_slice()), &[], 125, &["a response that is not Locate JSON"]),
        ("more than 512 KiB", answers("200 OK", "", &" ".repeat(512 * 1024 + 1)), &[], 125, &["returned a response larger than 512 KiB (HTTP 200)"]),
        ("without end", endless("HTTP/1.1 200 OK\r\n\r\n", &[b'{'; 4096]), &[], 125, &["a response larger than 512 KiB"]),
        ("chunks without end", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\n    \r\n"), &[], 125, &["a response larger than 512 KiB"]),
        ("compressed", answers("200 OK", "Content-Encoding: gzip\r\n", "\x1f\x08"), &[], 125, &["Content-Encoding \"gzip\", which was not requested"]),
        ("an odd encoding", answers("200 OK", "Content-Encoding: \x7e\r\n", good), &[], 125, &["Content-Encoding"]),
    ]
}

/// Service URLs that cannot be used.
#[rustfmt::skip]
pub fn service_urls(_: &Lab) -> Vec<Row> {
    let long = format!(r#"{{"wss:///ndt/v7/download":"wss://h/{}"}}"#, "x".repeat(200_000));
    let many = format!("{{{}}}", (0..1000).map(|n| format!(r#""wss:///{n}":"wss://h/""#)).collect::<Vec<_>>().join(","));
    vec![
        ("a key that is not there", urls(r#"{"ws:///a":"ws://h/a","wss:///b":"wss://h/b"}"#), &["-service-url-key-name=wss:///c"], 125, &["no URL key \"wss:///c\" for ndt/ndt7", "keys it has: ws:///a, wss:///b"]),
        ("the same with -service-url", urls(r#"{"ws:///a":"ws://h/a"}"#), &["-service-url", "-service-url-key-name=wss:///c"], 125, &["keys it has: ws:///a"]),
        ("several and none named", urls(r#"{"ws:///a":"ws://h/a","wss:///b":"wss://h/b"}"#), &[], 125, &["offers several URLs for ndt/ndt7", "-service-url-key-name", "ws:///a, wss:///b"]),
        ("very many", urls(&many), &[], 125, &["offers several URLs", "…"]),
        ("control characters in a key", urls(r#"{"a\u001b[1m":"ws://h/","b\n":"ws://h/"}"#), &[], 125, &["a\\u{1b}[1m, b"]),
        ("an empty URL", urls(r#"{"wss:///ndt/v7/download":""}"#), &[], 125, &["an unusable URL under the key wss:///ndt/v7/download for ndt/ndt7: it is empty"]),
        ("a NUL", urls(r#"{"wss:///ndt/v7/download":"wss://h/\u0000"}"#), &[], 125, &["it contains spaces or control characters"]),
        ("a line end", urls(r#"{"wss:///ndt/v7/download":"wss://h/\r\nX: y"}"#), &[], 125, &["it contains spaces or control characters"]),
        ("a blank", urls(r#"{"wss:///ndt/v7/download":" wss://h/"}"#), &[], 125, &["it contains spaces or control characters"]),
        ("nothing but a scheme", urls(r#"{"wss:///ndt/v7/download":"wss://"}"#), &[], 125, &["it names no host"]),
        ("backslashes", urls(r#"{"wss:///ndt/v7/download":"wss:\\\\h"}"#), &[], 125, &["it names no host"]),
        ("no host", urls(r#"{"wss:///ndt/v7/download":"wss:///ndt/v7/download"}"#), &["-service-url"], 125, &["an unusable URL under the key wss:///ndt/v7/download", "it names no host"]),
        ("a file", urls(r#"{"wss:///ndt/v7/download":"file:///etc/passwd"}"#), &[], 125, &["it names no host"]),
        ("no URL", urls(r#"{"wss:///ndt/v7/download":"ndt7"}"#), &[], 125, &["it names no host"]),
        ("longer than a variable can be", urls(&long), &[], 125, &["it has 200008 bytes"]),
    ]
}

/// Redirects.
#[rustfmt::skip]
pub fn redirects(lab: &Lab) -> Vec<Row> {
    let elsewhere = lab.elsewhere.0;
    let to = |location: &str| answers("302 Found", &format!("Location: {location}\r\n"), "");
    vec![
        ("without a location", answers("302 Found", "", ""), &[], 125, &["redirects without a Location (HTTP 302)"]),
        ("to no URL", to("http://["), &[], 125, &["redirects to \"http://[\", which is not a valid URL"]),
        ("not modified", says("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"), &[], 125, &["returned an unexpected status (HTTP 304 Not Modified); check -locate-url"]),
        ("to something that is not HTTP", to("javascript:alert(1)"), &[], 125, &["redirects to javascript:…, which is not an http:// or https:// URL; check the URL"]),
        ("in a loop", to("/v2/platform/monitoring/ndt/ndt7"), &[], 125, &["redirected more than 3 times"]),
        ("to another port", to(&format!("http://{elsewhere}/")), &[], 125, &["redirects to http://127.0.0.1:", "a different origin"]),
        ("with the method kept", answers("307 Temporary Redirect", &format!("Location: http://{elsewhere}/\r\n"), ""), &[], 125, &["a different origin"]),
        ("to another scheme", replies(|head| http("301 Moved Permanently", &format!("Location: https://{}/\r\n", host_in(head)), "")), &[], 125, &["redirects to https://127.0.0.1:", "a different origin"]),
        ("to another name of the host", replies(|head| http("302 Found", &format!("Location: http://localhost:{}/\r\n", host_in(head).rsplit(':').next().unwrap()), "")), &[], 125, &["redirects to http://localhost:"]),
    ]
}
