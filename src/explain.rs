//! `monitoring-token explain`: explains the reasons of failures, offline.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::cli::suggest;
use crate::failure::{Failure, brief};
use crate::reason::{Explanation, Reason};

/// The list of all reasons, or the explanation of the one in `operands`.
pub(crate) fn text(operands: &[OsString]) -> Result<String, Failure> {
    match operands {
        [] => Ok(list()),
        [name] => {
            let reason = name.to_str().and_then(Reason::named).ok_or_else(|| {
                let names = Reason::ALL.iter().map(|reason| reason.name());
                let closest = name.to_str().and_then(|word| suggest::closest(word, names));
                let advice = match closest {
                    Some(closest) => format!("did you mean {closest}?"),
                    None => "monitoring-token explain lists the reasons".to_owned(),
                };
                Failure::usage(format!("unknown reason \"{}\"; {advice}", brief(name)))
            })?;
            Ok(one(reason))
        }
        _ => Err(Failure::usage("explain expects one reason")),
    }
}

fn list() -> String {
    let width = Reason::ALL.iter().map(|reason| reason.name().len()).max().unwrap_or_default();
    Reason::ALL.iter().fold(String::new(), |mut text, reason| {
        let _ = writeln!(text, "{:width$}  {}", reason.name(), reason.explanation().meaning);
        text
    })
}

fn one(reason: Reason) -> String {
    let Explanation { meaning, causes, checks } = reason.explanation();
    let mut text = format!("{}: {meaning}.\n", reason.name());
    for (heading, clauses) in [("Likely causes", causes), ("What to check", checks)] {
        let _ = writeln!(text, "\n{heading}:");
        for clause in *clauses {
            let _ = writeln!(text, "  - {clause}");
        }
    }
    text
}
