//! The metrics of a command line that cannot be run: the file would otherwise still show the success of the last run.
//! Only the raw flags and variables are used, because the others may be what is invalid.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Command;

use crate::admin::rotate;
use crate::cli::flags::{self, LabelList, SERVICE};
use crate::cli::raw_values;
use crate::cli::stackstate::NAME;
use crate::cli::values::{parse_base_url, path};
use crate::config::token::labels;
use crate::failure::Failure;
use crate::metrics::{self, Figures, Labels};
use crate::secret::scrub;

/// Writes the metrics of `command`, if the flags in `words` or the variables ask for them. A problem with that is added
/// to `failure`.
pub(super) fn write_metrics(failure: Failure, command: &Command, words: &[OsString]) -> Failure {
    let value = |name| values(command, words, name).pop();
    let Some(file) = value("metrics-textfile").and_then(|file| path(&file).ok()) else { return failure };
    let text = |name| value(name).map(|value| value.to_string_lossy().into_owned());
    // Without them, two jobs on one host may have the same labels.
    let mut added = LabelList::new();
    for (name, value) in
        values(command, words, "metrics-label").iter().filter_map(|list| flags::labels(list).ok()).flatten()
    {
        if added.iter().all(|(other, _)| *other != name) {
            added.push((name, scrub(&value)));
        }
    }
    let labels = match command.get_bin_name().and_then(|program| program.split(' ').nth(1)) {
        Some(issuer) => {
            let url = value("url").and_then(|url| parse_base_url(&url).ok());
            let owner = match text("username") {
                Some(user) => ("user", user),
                None if issuer == "gafaelfawr" => ("user", String::new()),
                None => ("name", NAME.or(text("name"))),
            };
            labels(added, issuer, url.as_ref(), (owner.0, &owner.1))
        }
        None => Labels {
            machine: scrub(&text("machine").unwrap_or_default()),
            service: scrub(&text("service").unwrap_or_else(|| SERVICE.to_owned())),
            token: Vec::new(),
            added,
        },
    };
    let figures = Figures {
        token_expiry: value("token-file").and_then(|file| rotate::known_expiry(Path::new(&file))),
        ..Figures::of_failure(&failure)
    };
    let written = metrics::write(&file, &labels, &figures);
    failure.with_warnings(written.err())
}

/// The values of the flags of this name, or else of its variable.
fn values(command: &Command, words: &[OsString], name: &str) -> Vec<OsString> {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) else {
        return Vec::new();
    };
    let mut values: Vec<OsString> = raw_values(words, name).map(OsStr::to_owned).collect();
    if values.is_empty() {
        values.extend(arg.get_env().and_then(std::env::var_os));
    }
    values.retain(|value| !value.is_empty());
    values
}
