//! Where the administrator's credential comes from: rules between variables and flags.

use std::path::PathBuf;

use reqwest::Url;

use super::variable;
use crate::admin::Administration;
use crate::admin::output::Format;
use crate::cli::tokens::REFUSED;
use crate::cli::{Line, Values};
use crate::credential::{Credential, sound};
use crate::error::{Failure, Stage};
use crate::secret::zero_in_environment;

/// Refuses a token that was given as a flag's value, without showing it; `variables` are where it may be.
pub fn refuse_tokens_on_the_command_line(values: &Values<'_>, variables: &str) -> Result<(), Failure> {
    let advice = format!(
        "command lines are public; put the token into {variables}, or into a file for --admin-token-file (- is standard input)"
    );
    if let Some(name) = REFUSED.into_iter().find(|name| values.get(name).is_some()) {
        return Err(Failure::usage(format!("--{name}: {advice}")));
    }
    let file = values.get("admin-token-file").map(|given| given.text.to_string_lossy().into_owned());
    if file.is_some_and(|file| looks_like_a_token(&file)) {
        return Err(Failure::usage(format!("--admin-token-file: takes a file, not the token; {advice}")));
    }
    Ok(())
}

/// A token where a file's name, or a word, is expected.
pub fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("svctok-") || (text.starts_with("gt-") && text.contains('.'))
}

/// The credential: from the file, or from the one of `variables` that is set. What the variables hold is
/// overwritten in the environment block that the kernel shows.
pub fn credential(values: &Values<'_>, variables: &[&'static str]) -> Result<Credential, Failure> {
    let names = variables.join(" or ");
    refuse_tokens_on_the_command_line(values, &names)?;
    let mut found = Vec::new();
    for name in variables {
        if let Some(token) = variable(name) {
            zero_in_environment(name);
            found.push(Credential::Variable(name, sound(token.trim(), name)?));
        }
    }
    if let Some(path) = values.path("admin-token-file")? {
        return Ok(if path.as_os_str() == "-" { Credential::StandardInput } else { Credential::File(path) });
    }
    if found.len() > 1 {
        return Err(Failure::usage(format!("{} are both set; set one of them", variables.join(" and "))));
    }
    found.pop().ok_or_else(|| {
        Failure::ours(Stage::Sign, format!("no admin token: set {names}, or give --admin-token-file FILE"))
    })
}

/// The service's base URL.
pub fn base_url(values: &Values<'_>, variable: &str) -> Result<Url, Failure> {
    let Some(given) = values.get("url") else {
        return Err(Failure::usage(format!(
            "no URL: set {variable} or --url to the base URL of the service"
        )));
    };
    let url = given.text.to_str().and_then(|text| Url::parse(text.trim_end_matches('/')).ok());
    match url {
        // What does not belong there may be a secret, so it is not shown.
        Some(url) if !url.username().is_empty() || url.password().is_some() => Err(Failure::usage(format!(
            "{}: has a user or a password; give the base URL alone",
            given.origin()
        ))),
        Some(url) if url.query().is_some() || url.fragment().is_some() => {
            Err(Failure::usage(format!("{}: has a query or a fragment; give the base URL", given.origin())))
        }
        Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Failure::usage(format!("{}: is no http or https URL", given.origin()))),
    }
}

/// What the verbs of administrators have in common.
pub fn administration(
    values: &Values<'_>,
    url: &str,
    variables: &[&'static str],
) -> Result<Administration, Failure> {
    let format = match values.text("output")? {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(_) => return Err(values.refuse("output", "is neither text nor json")),
    };
    Ok(Administration {
        url: base_url(values, url)?,
        format,
        timeout: values.positive_duration("timeout")?.unwrap_or(super::DEFAULT_TIMEOUT),
        http: super::http(values)?,
        credential: credential(values, variables)?,
    })
}

/// Refuses words on a verb that takes none. They may be tokens, so they are not shown.
pub fn no_words(line: &Line, service: &str, verb: &str) -> Result<(), Failure> {
    if line.words.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{service} {verb} takes no arguments besides flags; {service} {verb} -help lists them"
    )))
}

/// `--out`: a file that must not be there yet.
pub fn out(values: &Values<'_>) -> Result<Option<PathBuf>, Failure> {
    values.path("out")
}

/// The parts of a list that is separated by commas, blanks around them removed.
pub fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let parts = values.into_iter().flat_map(|value| value.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
