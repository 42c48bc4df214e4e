//! Man pages: name, synopsis and flags from the definitions, the rest from `packaging/man`.

use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use monitoring_token::VERSION;
use monitoring_token::dispatch;

/// Replaced by the section that all pages of `monitoring-token` share.
const EXIT_STATUS: &str = ".\\\" EXIT STATUS\n";

pub fn write(folder: &Path) -> Result<(), String> {
    let mut main = dispatch::full_command();
    main.build();
    page(folder, "monitoring-token", &main, &[])?;
    for subcommand in main.get_subcommands() {
        let verbs: Vec<&Command> = subcommand.get_subcommands().collect();
        page(folder, &format!("monitoring-token-{}", subcommand.get_name()), subcommand, &verbs)?;
    }
    let mut sandbox = monitoring_sandbox::flags::command();
    sandbox.build();
    let verbs: Vec<&Command> = sandbox.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    page(folder, "monitoring-sandbox", &sandbox, &verbs)
}

/// One page, with the flags of the command and of each verb.
fn page(folder: &Path, name: &str, command: &Command, verbs: &[&Command]) -> Result<(), String> {
    let (description, rest) = text(name)?;
    let mut page = Page::default();
    let (version, date) = version_and_date();
    page.raw(&format!(
        ".TH {} 1 \"{date}\" \"monitoring-token {version}\" \"User Commands\"\n",
        name.to_uppercase()
    ));
    page.raw(&format!(".SH NAME\n{name} \\- {}\n.SH SYNOPSIS\n", escape(&about(command))));
    if verbs.is_empty() || name == "monitoring-sandbox" {
        page.synopsis(command);
    }
    for (at, verb) in verbs.iter().enumerate() {
        if at > 0 || name == "monitoring-sandbox" {
            page.raw(".br\n");
        }
        page.synopsis(verb);
    }
    page.raw(".SH DESCRIPTION\n");
    page.raw(&description);
    if verbs.is_empty() || name == "monitoring-sandbox" {
        page.options(command, false)?;
    }
    for verb in verbs {
        page.raw(&format!(".SH {}\n{}.\n", verb.get_name().to_uppercase(), escape(&about(verb))));
        page.options(verb, true)?;
    }
    page.raw(&rest);
    super::save(folder, &format!("{name}.1"), page.0.as_bytes())
}

/// The texts of this page in `packaging/man`: the description, and the sections after the flags.
fn text(name: &str) -> Result<(String, String), String> {
    let folder = super::root().join("packaging/man");
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let text = read(&format!("{name}.roff"))?.replace(EXIT_STATUS, &read("exit-status.roff")?);
    let at = text.find("\n.SH ").ok_or_else(|| format!("packaging/man/{name}.roff has no section"))?;
    let (description, rest) = text.split_at(at + 1);
    Ok((description.to_owned(), rest.to_owned()))
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Splits `0.1.0 (1234567 2026-01-01)` into the version and the date of its commit.
fn version_and_date() -> (&'static str, &'static str) {
    let (version, commit) = VERSION.split_once(' ').unwrap_or((VERSION, ""));
    (version, commit.trim_end_matches(')').rsplit_once(' ').map_or("", |(_, date)| date))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// `monitoring-token key public [flags] FILE`, unless the definition has its own.
    fn synopsis(&mut self, command: &Command) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        let overridden = command.get_overridden_usage().map(ToString::to_string);
        let usage = overridden.unwrap_or_else(|| {
            let shown = command.get_positionals().filter(|word| !word.is_hide_set());
            let words = shown.flat_map(|word| word.get_value_names().unwrap_or_default());
            words.fold(format!("{name} [flags]"), |line, word| line + " " + word)
        });
        let lines: Vec<String> = usage.lines().map(|line| bold_name(name, line.trim())).collect();
        self.raw(&(lines.join("\n.br\n") + "\n"));
    }

    /// The flags; those of a verb are indented further.
    fn options(&mut self, command: &Command, deeper: bool) -> Result<(), String> {
        let mut text = Vec::new();
        // Operands are in the synopsis.
        let command = command.clone().mut_args(|arg| {
            let hide = arg.is_positional() || arg.is_hide_set();
            arg.hide(hide)
        });
        Man::new(command).render_options_section(&mut text).map_err(|error| error.to_string())?;
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        self.raw(&if deeper { text.replace("\n.SH ", "\n.SS ") } else { text });
        Ok(())
    }
}

fn bold_name(name: &str, line: &str) -> String {
    match line.strip_prefix(name) {
        Some(rest) => format!("\\fB{}\\fR{}", escape(name), escape(rest)),
        None => escape(line),
    }
}
