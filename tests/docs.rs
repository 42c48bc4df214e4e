//! The manual is true: each of its command lines is one that the program takes.

use std::fs;
use std::path::Path;

use crate::lines::{all_are_taken, in_text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text between a line that begins with `begin` and one that begins with `end`, all of them.
fn blocks(text: &str, begin: &str, end: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in text.lines() {
        let (opens, closes) = (line.trim_end() == begin, line.starts_with(end));
        if inside && !closes {
            out.push_str(line);
            out.push('\n');
        }
        inside = if inside { !closes } else { opens };
    }
    assert!(!inside, "a block that begins with {begin} has no end");
    out
}

/// Without the prompt that some examples show.
fn without_prompts(text: &str) -> String {
    text.lines().map(|line| line.trim_start().strip_prefix("$ ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn every_command_in_the_readme_is_one_that_the_program_takes() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let lines = in_text(&without_prompts(&blocks(&readme, "```sh", "```")));
    assert!(
        lines.len() >= 5,
        "README.md has only {} lines of monitoring-token in its ```sh blocks",
        lines.len()
    );
    all_are_taken("README.md", &lines);
}

#[test]
fn every_command_in_the_man_pages_is_one_that_the_program_takes() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("packaging/man")).expect("packaging/man is there") {
        let path = entry.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("a text");
        let plain = blocks(&text, ".EX", ".EE").replace("\\-", "-").replace("\\e", "\\");
        let lines = in_text(&plain);
        seen += lines.len();
        all_are_taken(&path.display().to_string(), &lines);
    }
    assert!(seen >= 15, "only {seen} lines");
}
