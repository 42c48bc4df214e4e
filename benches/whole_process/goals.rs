//! The goals of the benchmark.
//!
//! Some goals are shares of what m-lab's Go `monitoring-token` v0.17.6 takes for the same run. If that program is not
//! available (`ORIGINAL=FILE make bench`, or installed by `scripts/original.sh`), they are converted into multiples of
//! the floor program, with the times of the original on a two-core machine where the floor took [`FLOOR_MS`].

use std::path::{Path, PathBuf};

/// CPU time of the floor program for a command that does nothing, in milliseconds.
const FLOOR_MS: f64 = 1.224;
/// The same of the original: without exchange, over http, over https with the system's roots, and one of 300 at once
/// over https. With other keys and a larger environment it was not measured, and takes at least as long.
pub const ORIGINAL_PLAIN_MS: f64 = 7.2;
pub const ORIGINAL_HTTP_MS: f64 = 8.7;
pub const ORIGINAL_HTTPS_MS: f64 = 24.4;
pub const ORIGINAL_OF_MANY_MS: f64 = 29.3;

/// Converts a time of the original to floors.
pub fn in_floors(original_ms: f64) -> f64 {
    original_ms / FLOOR_MS
}

/// The original, from `ORIGINAL` or installed by `make bench`.
pub fn original() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/original/monitoring-token");
    let original = std::env::var_os("ORIGINAL").map_or(installed, PathBuf::from);
    original.exists().then_some(original)
}

/// One line of the table: a figure and its goal.
pub struct Row {
    pub name: String,
    /// The unit of the figure, or the program that it is a multiple of.
    pub unit: &'static str,
    /// `None` if it could not be measured.
    pub figure: Option<f64>,
    pub goal: f64,
    /// Additional information.
    pub note: String,
}

impl Row {
    pub fn new(name: &str, unit: &'static str, figure: f64, goal: f64) -> Row {
        Row { name: name.to_owned(), unit, figure: Some(figure), goal, note: String::new() }
    }

    pub fn not_measured(name: &str, unit: &'static str, goal: f64, why: &str) -> Row {
        Row { name: name.to_owned(), unit, figure: None, goal, note: why.to_owned() }
    }

    pub fn with_note(self, note: String) -> Row {
        Row { note, ..self }
    }

    pub fn is_met(&self) -> bool {
        self.figure.is_none_or(|figure| figure <= self.goal)
    }

    pub fn verdict(&self) -> &'static str {
        match self.figure {
            None => "not measured",
            Some(_) if self.is_met() => "met",
            Some(_) => "MISSED",
        }
    }

    pub fn show(&self, figure: f64) -> String {
        match self.unit {
            "threads" => format!("{figure:.0}"),
            "KiB" => format!("{figure:.0} KiB"),
            "MiB" | "MB" | "s/GB" => format!("{figure:.2} {}", self.unit),
            unit => format!("{figure:.2} × {unit}"),
        }
    }
}
