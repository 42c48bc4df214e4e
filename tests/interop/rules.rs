//! Other rules of Go that the program follows: durations, booleans, proxies, queries.

use std::ffi::OsStr;

use monitoring_token::go::duration::{self, GoDuration};
use monitoring_token::go::flag::parse_bool;
use monitoring_token::http::proxy::ProxyRules;
use serde_json::Value;

use crate::go::Go;
use crate::support::{run, testdata, token};
use crate::{Check, Found, Peers};

pub const CHECKS: &[Check] = &[
    Check { peer: "Go's package time", claim: "reads durations as we do", run: durations },
    Check { peer: "Go's package strconv", claim: "reads booleans as we do", run: booleans },
    Check { peer: "Go's httpproxy v0.62.0", claim: "decides on a proxy as we do", run: proxies },
    Check { peer: "Go's package net/url", claim: "writes the monitoring URL as we do", run: queries },
];

fn durations(peers: &Peers) -> Found {
    let mut go = Go::start(peers)?;
    let numbers = [
        "0",
        "1",
        "1.5",
        ".5",
        "5.",
        "0.333333333333333333",
        "9223372036854775807",
        "9223372036854775808",
        "1e3",
        "",
        "00",
        "+1",
        "-1",
        "-0",
        "٣",
    ];
    let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "S", "", " s"];
    let mut texts: Vec<String> =
        numbers.iter().flat_map(|n| units.iter().map(move |u| format!("{n}{u}"))).collect();
    texts.extend(
        [
            "1h2m3s",
            "1h-2m",
            "3s2h",
            "1h 2m",
            "--1s",
            "+-1s",
            "2562047h47m16.854775807s",
            "2562047h47m16.854775808s",
        ]
        .map(str::to_owned),
    );
    for text in &texts {
        let theirs = go.ask(&["duration", text])?;
        let agree = match duration::parse(text) {
            None => theirs.is_null(),
            Some(GoDuration::Negative) => theirs.as_i64().is_some_and(|nanoseconds| nanoseconds < 0),
            Some(GoDuration::NotNegative(ours)) => theirs.as_u64().map(u128::from) == Some(ours.as_nanos()),
        };
        if !agree {
            return Err(format!("{text:?}: {:?} here, {theirs} in Go", duration::parse(text)));
        }
    }
    Ok(format!("{} texts", texts.len()))
}

fn booleans(peers: &Peers) -> Found {
    let mut go = Go::start(peers)?;
    let texts = [
        "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False", "", "yes", "no",
        "on", "tRue", " true", "2",
    ];
    for text in texts {
        let theirs = go.ask(&["bool", text])?;
        let ours = parse_bool(OsStr::new(text)).map_or(Value::Null, Value::Bool);
        if ours != theirs {
            return Err(format!("{text:?}: {ours} here, {theirs} in Go"));
        }
    }
    Ok(format!("{} words", texts.len()))
}

fn proxies(peers: &Peers) -> Found {
    let mut go = Go::start(peers)?;
    let rules = [
        "",
        "*",
        "example",
        ".example",
        "*.example",
        "ample",
        "a.example:80",
        "a.example:81",
        "b, a.example",
        "a.example.",
        "10.0.0.0/8",
        "10.1.2.3",
        "10.1.2.3:80",
        "0.0.0.0/0",
        "[2001:db8::1]",
        "[2001:db8::1]:80",
        "2001:db8::/32",
        "2001:db8::1",
        "A.EXAMPLE",
        " a.example ",
        ",",
        "10.0.0.0/33",
        ":80",
        "a.example:x",
        ".3",
        "*.2.3",
    ];
    let targets = [
        "http://a.example/",
        "https://a.example/",
        "http://example/",
        "http://a.example:81/",
        "http://10.1.2.3/",
        "http://11.1.2.3/",
        "http://[2001:db8::1]/",
        "http://[2001:db9::1]/",
        "http://localhost/",
        "http://127.0.0.9/",
        "http://[::1]/",
        "http://A.Example/",
    ];
    let mut rows = 0;
    for except in rules {
        for target in targets {
            let theirs = go.ask(&["proxied", except, target])?;
            let rules = ProxyRules::new("http://proxy.test:1", except);
            let url = target.parse().map_err(|_| format!("{target} is not a URL"))?;
            let ours = rules.proxy_for(&url)?.is_some();
            if theirs != Value::Bool(ours) {
                return Err(format!("NO_PROXY={except:?} {target}: {ours} here, {theirs} in Go"));
            }
            rows += 1;
        }
    }
    Ok(format!("{rows} decisions"))
}

fn queries(peers: &Peers) -> Found {
    let mut go = Go::start(peers)?;
    let prefixes = [
        "http://h.test/v2/platform/monitoring/",
        "http://h.test/?early_exit=250&monitoring=true",
        "http://h.test/?z=1&b=2&b=1&a=",
        "http://h.test/?q=a%20b+c%2F%7E*~-_.&e=%C3%A9",
        "http://h.test/?access_token=old&x=1",
        "http://h.test/?k=a%26b%3Dc&zz",
    ];
    for prefix in prefixes {
        let ended = run(token().env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json")).args([
            "-exchange=false",
            "-output=inherit",
            "-service=ndt/ndt7",
            "-locate-url",
            prefix,
            "--",
            "printenv",
            "MONITORING_URL",
        ]));
        let ours = ended.stdout.trim();
        let token =
            ours.split(['?', '&']).find_map(|part| part.strip_prefix("access_token=")).unwrap_or_default();
        let theirs = go.ask(&["query", prefix, token])?;
        let theirs = theirs.as_str().unwrap_or_default().replacen('?', "ndt/ndt7?", 1);
        if ended.status != 0 || ours != theirs {
            return Err(format!("{prefix}: {ours} here, {theirs} in Go"));
        }
    }
    Ok(format!("{} prefixes", prefixes.len()))
}
