//! Parses the names of M-Lab's machines as m-lab/go does (`host/host.go`), including its quirks.

/// The parts of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Machine<'a> {
    /// `mlab1.lga0t.measurement-lab.org`, also behind a service.
    V1 { machine: &'a str, site: &'a str },
    /// `mlab1-lga0t.mlab-sandbox.measurement-lab.org`, also behind a service.
    V2 { machine: &'a str, site: &'a str, project: &'a str },
    /// `ndt-lga3356-040e9f4b.mlab.sandbox.measurement-lab.org`, also without the service.
    V3 { site: &'a str, machine: &'a str, rest: &'a str },
}

impl Machine<'_> {
    pub(super) fn parse(name: &str) -> Option<Machine<'_>> {
        let fields: Vec<&str> = name.split('.').collect();
        match fields.as_slice() {
            [first, _, _, _, _] => v3(first, name),
            [first, project, domain, last] if first.len() > 6 => v2(first, project, domain, last),
            [_, _, _] | [_, _, _, _] | [_, _, _, _, _, _] => v1(name),
            _ => None,
        }
    }

    /// Its name with this service in place of the original one.
    pub(super) fn with_service(&self, service: &str) -> String {
        match self {
            Machine::V1 { machine, site } => format!("{service}-{machine}.{site}.measurement-lab.org"),
            Machine::V2 { machine, site, project } => {
                format!("{service}-{machine}-{site}.{project}.measurement-lab.org")
            }
            Machine::V3 { site, machine, rest } => format!("{service}-{site}-{machine}.{rest}"),
        }
    }
}

fn v1(name: &str) -> Option<Machine<'_>> {
    let name = name.strip_suffix(".measurement-lab.org")?;
    let site_at = name.len().checked_sub(5).filter(|&at| name.is_char_boundary(at))?;
    let (before, site) = name.split_at(site_at);
    let before = before.strip_suffix(['-', '.'])?;
    let machine_at = before.rfind("mlab")?;
    let machine = &before[machine_at..];
    let is_machine = matches!(machine[4..].strip_suffix('d').unwrap_or(&machine[4..]), "1" | "2" | "3" | "4");
    let (letters, digits) = site.as_bytes().split_at(3);
    let is_site = letters.iter().all(u8::is_ascii_lowercase)
        && digits.iter().all(|&b| b.is_ascii_digit() || b == b't' || b == b'c');
    (is_machine && is_site).then_some(Machine::V1 { machine, site })
}

fn v2<'a>(first: &'a str, project: &'a str, domain: &str, last: &str) -> Option<Machine<'a>> {
    let parts: Vec<&str> = first.split('-').collect();
    let ([machine, site] | [_, machine, site]) = *parts.as_slice() else { return None };
    let is_machine = match machine.as_bytes() {
        [_, _, _, _, digit] => digit.is_ascii_digit(),
        [_, _, _, _, _, b'd'] => true,
        _ => false,
    };
    let is_site = matches!(site.as_bytes(), [_, _, _, a, b] if a.is_ascii_digit() && (b.is_ascii_digit() || *b == b't'));
    // An instance group appends a suffix: measurement-lab.org-d9h6.
    let is_domain = domain == "measurement-lab"
        && last.strip_prefix("org").is_some_and(|suffix| {
            suffix.is_empty() || suffix.strip_prefix('-').is_some_and(|suffix| !suffix.contains('-'))
        });
    (is_machine && is_site && is_domain).then_some(Machine::V2 { machine, site, project })
}

fn v3<'a>(first: &'a str, name: &'a str) -> Option<Machine<'a>> {
    let parts: Vec<&str> = first.split('-').collect();
    let (site, machine) = match *parts.as_slice() {
        [site, machine] => (site, machine),
        [service, site, machine] if !service.is_empty() => (site, machine),
        _ => return None,
    };
    let is_site = (4..=13).contains(&site.len())
        && site.bytes().take(3).all(|b| b.is_ascii_alphabetic())
        && site.bytes().skip(3).all(|b| b.is_ascii_digit());
    // The domain is not checked.
    let rest = &name[first.len() + 1..];
    (is_site && machine.len() == 8).then_some(Machine::V3 { site, machine, rest })
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn the_service_takes_the_place_of_the_one_in_the_name() {
        for (name, hostname) in [
            (
                "mlab1-lga0t.mlab-sandbox.measurement-lab.org",
                "wehe-mlab1-lga0t.mlab-sandbox.measurement-lab.org",
            ),
            (
                "ndt-mlab9-lga0t.mlab-sandbox.measurement-lab.org",
                "wehe-mlab9-lga0t.mlab-sandbox.measurement-lab.org",
            ),
            ("mlab2d-lga03.x.measurement-lab.org-d9h6", "wehe-mlab2d-lga03.x.measurement-lab.org"),
            ("mlab4.lga0t.measurement-lab.org", "wehe-mlab4.lga0t.measurement-lab.org"),
            ("ndt.iupui.mlab1.lga0t.measurement-lab.org", "wehe-mlab1.lga0t.measurement-lab.org"),
            ("ndt-iupui-mlab1-lga0t.measurement-lab.org", "wehe-mlab1.lga0t.measurement-lab.org"),
            ("lga3356-040e9f4b.mlab.sandbox.example.org", "wehe-lga3356-040e9f4b.mlab.sandbox.example.org"),
        ] {
            let machine = Machine::parse(name);
            assert_eq!(
                machine.map(|machine| machine.with_service("wehe")).as_deref(),
                Some(hostname),
                "{name}"
            );
        }
    }

    #[test]
    fn other_names_are_not_machines() {
        for name in [
            "",
            "localhost",
            "127.0.0.1",
            "mlab1-lga0t",
            "mlab1.lga0t",
            "mlab1-lga0t.example.org",
            "mlab1-lga.mlab-sandbox.measurement-lab.org",
            "mlab1-lga0tt.mlab-sandbox.measurement-lab.org",
            "MLAB1-LGA0T.mlab-sandbox.measurement-lab.org",
            "mlabé-lga0t.mlab-sandbox.measurement-lab.org",
            "ndt-iupui-mlab1-lga0t.mlab-sandbox.measurement-lab.org",
            "mlab1-lga0t.mlab-sandbox.measurement-lab.org.",
            "mlab1-lga0t.mlab-sandbox.measurement-lab.org:443",
            "mlab9.lga0t.measurement-lab.org",
            "é.é.measurement-lab.org",
            "-lga3356-040e9f4b.mlab.sandbox.measurement-lab.org",
            "a.b.c.d.e.f.g",
        ] {
            assert_eq!(Machine::parse(name), None, "{name}");
        }
    }
}
