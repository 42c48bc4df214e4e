//! What the URLs that users give have in common.

use reqwest::Url;

/// Fails if the host of `url` cannot be one. The URL standard takes what no resolver knows, such as a variable
/// that a configuration file did not expand.
pub(super) fn check_host(url: &Url) -> Result<(), String> {
    let Some(host) = url.domain() else { return Ok(()) };
    let is_sound = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if is_sound {
        return Ok(());
    }
    let hint = if host.contains(['$', '{', '}']) { "; a variable in it was not expanded" } else { "" };
    Err(format!("invalid host {host}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_made_of_letters_digits_dashes_and_dots() {
        for url in [
            "http://h/",
            "https://a-b.example_c.org./p",
            "http://127.0.0.1/",
            "http://[::1]:8080/",
            "http://münchen.example/",
        ] {
            assert_eq!(check_host(&url.parse().unwrap()), Ok(()), "{url}");
        }
        for url in [
            "https://locate-dot-${PROJECT}.appspot.com/",
            "http://$HOST/",
            "http://{{host}}/",
            "http://$(hostname)/",
            "http://a,b/",
            "http://a;b/",
            "http://*.example/",
        ] {
            let why = check_host(&url.parse().unwrap()).unwrap_err();
            assert!(why.starts_with("invalid host "), "{url}: {why}");
        }
    }
}
