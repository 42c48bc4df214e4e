//! `/etc/hosts` (hosts(5)).

use std::net::IpAddr;

/// The addresses of `name`, which must be in lower case without a trailing dot.
pub(super) fn addresses(file: &str, name: &str) -> Vec<IpAddr> {
    let lists = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name))
    };
    let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter(lists).filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn all_lines_with_the_name_count() {
        let file = "127.0.0.1\tlocalhost # loopback\n10.0.0.1 a.example A\n#10.0.0.2 a\nnonsense a\n\
                    2001:db8::1 b a.\r\n10.0.0.3\n10.0.0.4 ab";
        let found = |name| addresses(file, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("a"), ["10.0.0.1", "2001:db8::1"]);
        assert_eq!(found("localhost"), ["127.0.0.1"]);
        assert_eq!(found("loopback"), Vec::<String>::new());
    }
}
