//! Completions for bash, zsh and fish. clap writes them for two dashes; they are then changed to accept one dash as
//! well.

use std::path::Path;

use clap::Command;
use clap::builder::PossibleValuesParser;
use clap_complete::{Generator, Shell, generate};
use monitoring_sandbox::flags;
use monitoring_token::dispatch;

pub fn write(folder: &Path) -> Result<(), String> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let name = "monitoring-token";
        let text = script(shell, with_values(dispatch::full_command()), name);
        super::save(folder, &shell.file_name(name), one_dash(shell, &text)?.as_bytes())?;
        // The sandbox's flags have two dashes.
        let name = "monitoring-sandbox";
        let text = script(shell, flags::command(), name);
        super::save(folder, &shell.file_name(name), text.as_bytes())?;
    }
    Ok(())
}

/// Flags with few values, by the name of their value. clap does not know these values, because this program parses them.
fn with_values(command: Command) -> Command {
    let command = command.mut_args(|flag| {
        let values: &[&str] = match flag.get_value_names().and_then(<[_]>::first).map(AsRef::as_ref) {
            Some("WHERE") => &["discard", "inherit", "masked", "on-failure"],
            Some("FORMAT") => &["text", "json"],
            Some("ALG") => &["EdDSA", "ES256", "RS256"],
            _ => return flag,
        };
        flag.value_parser(PossibleValuesParser::new(values))
    });
    command.mut_subcommands(with_values)
}

fn script(shell: Shell, mut command: Command, name: &str) -> String {
    let mut text = Vec::new();
    generate(shell, &mut command, name, &mut text);
    let text = String::from_utf8(text).expect("the shells' scripts are text");
    // clap (4.6) writes the dash of a program's name in two ways, so bash would not find its subcommands.
    text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

fn one_dash(shell: Shell, text: &str) -> Result<String, String> {
    match shell {
        Shell::Bash => bash(text),
        Shell::Zsh => zsh(text),
        _ => fish(text),
    }
}

/// Replaces text. If it is missing, clap's output has changed and the script would be wrong.
fn swap(text: &str, old: &str, new: &str) -> Result<String, String> {
    if text.contains(old) {
        Ok(text.replace(old, new))
    } else {
        Err(format!("clap no longer writes {old:?}"))
    }
}

/// After `--`, the words belong to another command, whose own completion takes over.
const BASH_END_OF_FLAGS: &str = r#"    opts=""

    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ "${COMP_WORDS[i]}" == -- ]]; then
            if declare -F _command_offset >/dev/null; then
                _command_offset $((i + 1))
            elif ((COMP_CWORD == i + 1)); then
                COMPREPLY=( $(compgen -c -- "${cur}") )
            fi
            return 0
        fi
    done
"#;

/// A word with one dash is completed with one dash.
const BASH_ONE_DASH: &str = r#"[[ "${cur}" == -* && "${cur}" != --* ]] && opts="${opts//--/-}""#;

fn bash(text: &str) -> Result<String, String> {
    let text = swap(text, "    opts=\"\"\n", BASH_END_OF_FLAGS)?;
    let mut out = String::new();
    for line in text.lines() {
        let word = line.trim_start();
        let indent = &line[..line.len() - word.len()];
        match word.strip_prefix("--").and_then(|name| name.strip_suffix(')')) {
            Some(name) => out.push_str(&[indent, "--", name, "|-", name, ")"].concat()),
            None => out.push_str(line),
        }
        out.push('\n');
        if word.starts_with("opts=\"-") {
            out.push_str(&[indent, BASH_ONE_DASH, "\n"].concat());
        }
    }
    Ok(out)
}

fn zsh(text: &str) -> Result<String, String> {
    // -s allows combined letters: -machine would be six flags.
    let text = swap(text, "(-s -S -C)", "(-S -C)")?;
    let text = swap(&text, "(-s -C)", "(-C)")?;
    // COMMAND would replace the subcommands, so it is removed here and completed after them.
    let command = text.lines().find(|line| line.starts_with("'::operands -- The program to run"));
    let text = swap(&text, &format!("{}\n", command.ok_or("clap no longer writes COMMAND")?), "")?;
    let text = swap(&text, "$line[2]", "$line[1]")?;
    let commands = "_describe -t commands 'monitoring-token commands' commands \"$@\"\n";
    let text = swap(&text, commands, &format!("{commands}    _command_names -e\n"))?;
    let text = text.replacen("        case $line[1] in\n", ZSH_COMMAND, 1);
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(line);
        out.push('\n');
        if let Some(flag) = line.strip_prefix("'--") {
            out.push_str(&["'-", flag, "\n"].concat());
        }
    }
    Ok(out)
}

/// A first word that is not a subcommand is a command with its own completion.
const ZSH_COMMAND: &str =
    "        (( $+functions[_monitoring-token__subcmd__$line[1]_commands] )) || { _normal; return }
        case $line[1] in
";

fn fish(text: &str) -> Result<String, String> {
    // -l is a flag with two dashes, -o one with one.
    let both = |line: &str| match line.split_once(" -l ").filter(|_| line.starts_with("complete ")) {
        Some((before, after)) => {
            let name = after.split(' ').next().unwrap_or_default();
            format!("{before} -o {name} -l {after}\n")
        }
        None => format!("{line}\n"),
    };
    let text: String = text.lines().map(both).collect();
    // fish's own parser knows neither one dash nor a dot in a name. Subcommands count only as the very first word, so
    // it is not needed.
    let text = swap(
        &text,
        "    argparse -s (__fish_monitoring_token_global_optspecs) -- $cmd 2>/dev/null\n    or return\n    if set -q argv[1]\n",
        "    contains -- -- $cmd\n    and return 1\n    if set -q cmd[1]; and not string match -q -- '-*' $cmd[1]\n",
    )?;
    let mut text = swap(&text, "        echo $argv[1]\n", "        echo $cmd[1]\n")?;
    // clap writes no values of operands.
    let explain = dispatch::full_command().find_subcommand("explain").cloned().ok_or("no explain")?;
    for value in explain.get_positionals().flat_map(clap::Arg::get_possible_values) {
        let condition = "__fish_monitoring_token_using_subcommand explain";
        text += &format!("complete -c monitoring-token -n \"{condition}\" -f -a {}\n", value.get_name());
    }
    Ok(text)
}
