//! Determines the text of `--version` (the version, the commit and its date), and how the program is laid out.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}

fn main() {
    let version = env!("CARGO_PKG_VERSION");
    // Outside a checkout (a source archive), only the version.
    let commit = git(&["log", "-1", "--format=%h %cs"]);
    let full = commit.map_or(version.to_owned(), |commit| format!("{version} ({commit})"));
    println!("cargo::rustc-env=MONITORING_TOKEN_VERSION={full}");
    for path in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", path]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");

    // In which order the functions of the program stand; only `make build` says it.
    println!("cargo::rerun-if-env-changed=MONITORING_TOKEN_LAYOUT");
    if let Ok(layout) = std::env::var("MONITORING_TOKEN_LAYOUT") {
        println!("cargo::rerun-if-changed={layout}");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{layout}");
    }
}
