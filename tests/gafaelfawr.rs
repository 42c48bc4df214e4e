//! Gafaelfawr's service tokens: the sandbox responds like a recorded server, and the program handles these responses.

mod client;
mod exec;
mod limits;
mod orphans;
mod replay;
mod secrets;

use serde_json::Value;

use crate::support::testdata;

const CONTROL: &str = "/sandbox/gafaelfawr";

/// The recorded exchanges.
fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(testdata("gafaelfawr/cases.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number at the beginning of a case's name.
fn number(case: &Value) -> u32 {
    case["case"].as_str().unwrap()[..3].parse().unwrap()
}
