//! Validates names of users and keys of tokens.

use serde_json::{Value, json};

/// Cases 231 to 237; see [`matches_username_pattern`].
const USERNAME_PATTERN: &str = "^[a-z0-9](?:[a-z0-9]|-[a-z0-9])*[a-z](?:[a-z0-9]|-[a-z0-9])*$";
const MAX_USERNAME_CHARS: usize = 64;
const KEY_CHARS: usize = 22;

/// The error for an invalid username in a body or a path.
pub(crate) fn username_error(name: &str, place: &str) -> Option<Value> {
    let error = |kind: &str, msg: String, ctx: Value| {
        Some(json!({"type": kind, "loc": [place, "username"], "msg": msg, "input": name, "ctx": ctx}))
    };
    if name.is_empty() {
        error(
            "string_too_short",
            "String should have at least 1 character".to_owned(),
            json!({"min_length": 1}),
        )
    } else if name.chars().count() > MAX_USERNAME_CHARS {
        let msg = format!("String should have at most {MAX_USERNAME_CHARS} characters");
        error("string_too_long", msg, json!({"max_length": MAX_USERNAME_CHARS}))
    } else if !matches_username_pattern(name) {
        let msg = format!("String should match pattern '{USERNAME_PATTERN}'");
        error("string_pattern_mismatch", msg, json!({"pattern": USERNAME_PATTERN}))
    } else {
        None
    }
}

/// True if [`USERNAME_PATTERN`] matches: lower case and digits, single dashes within, and a letter that is neither the
/// first character nor after a dash.
fn matches_username_pattern(name: &str) -> bool {
    let name = name.as_bytes();
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_dash_within = |at: usize| {
        let neighbours = at.checked_sub(1).and_then(|before| Some((name.get(before)?, name.get(at + 1)?)));
        name[at] == b'-' && neighbours.is_some_and(|(&before, &after)| is_word(before) && is_word(after))
    };
    (0..name.len()).all(|at| is_word(name[at]) || is_dash_within(at))
        && name.windows(2).any(|pair| is_word(pair[0]) && pair[1].is_ascii_lowercase())
}

/// True if a token's key or secret is well formed: only its length matters (cases 348 and 360).
pub(crate) fn is_well_formed(part: &str) -> bool {
    part.chars().count() == KEY_CHARS
}

/// The error for an invalid key in a path.
pub(crate) fn key_error(key: &str) -> Option<Value> {
    let (kind, word, limit) = match key.chars().count() {
        KEY_CHARS => return None,
        ..KEY_CHARS => ("string_too_short", "least", "min_length"),
        _ => ("string_too_long", "most", "max_length"),
    };
    Some(json!({
        "type": kind, "loc": ["path", "key"], "input": key, "ctx": {limit: KEY_CHARS},
        "msg": format!("String should have at {word} {KEY_CHARS} characters"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_those_that_the_pattern_matches() {
        for name in ["bot-sasquatch", "bot-1", "someuser", "1a", "aa", "a-bc", "0-0a"] {
            assert!(matches_username_pattern(name), "{name}");
        }
        for name in [
            "",
            "-",
            "a",
            "a1",
            "a-b",
            "12",
            "bot-",
            "-bot",
            "bot--sasquatch",
            "bot_sasquatch",
            "bot-S",
            "bé",
        ] {
            assert!(!matches_username_pattern(name), "{name}");
        }
    }
}
