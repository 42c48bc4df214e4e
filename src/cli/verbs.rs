//! The verbs of the subcommands: the word after `key`, `gafaelfawr` or `stackstate`.

use std::ffi::OsStr;

/// A verb of `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyVerb {
    /// Makes a pair.
    Generate,
    /// Prints the public half.
    Public,
    /// Says what a key is.
    Inspect,
}

impl KeyVerb {
    const ALL: [KeyVerb; 3] = [KeyVerb::Generate, KeyVerb::Public, KeyVerb::Inspect];
    /// How they are written.
    pub(crate) const NAMES: [&str; 3] = ["generate", "public", "inspect"];

    /// The verb that is written like this.
    pub fn named(word: &OsStr) -> Option<KeyVerb> {
        KeyVerb::ALL.into_iter().find(|verb| word == verb.name())
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            KeyVerb::Generate => "generate",
            KeyVerb::Public => "public",
            KeyVerb::Inspect => "inspect",
        }
    }
}

/// What administrators do with service tokens by hand, whoever issues them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminVerb {
    /// Makes one.
    Create,
    /// Lists them.
    List,
    /// Deletes one.
    Delete,
}

impl AdminVerb {
    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            AdminVerb::Create => "create",
            AdminVerb::List => "list",
            AdminVerb::Delete => "delete",
        }
    }
}

/// A verb of `gafaelfawr` or `stackstate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVerb {
    /// One for administrators.
    Admin(AdminVerb),
    /// Prepares an installation. Only `stackstate` has it.
    Bootstrap,
    /// Runs COMMAND with a token.
    Exec,
    /// Keeps a working token in a file.
    Rotate,
}

impl TokenVerb {
    const ALL: [TokenVerb; 6] = [
        TokenVerb::Admin(AdminVerb::Create),
        TokenVerb::Admin(AdminVerb::List),
        TokenVerb::Admin(AdminVerb::Delete),
        TokenVerb::Bootstrap,
        TokenVerb::Exec,
        TokenVerb::Rotate,
    ];

    /// The verb that is written like this.
    pub fn named(word: &OsStr) -> Option<TokenVerb> {
        TokenVerb::ALL.into_iter().find(|verb| word == verb.name())
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            TokenVerb::Admin(verb) => verb.name(),
            TokenVerb::Bootstrap => "bootstrap",
            TokenVerb::Exec => "exec",
            TokenVerb::Rotate => "rotate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{flags, tokens};

    fn names(command: &clap::Command) -> Vec<&str> {
        command.get_subcommands().map(clap::Command::get_name).collect()
    }

    #[test]
    fn every_verb_is_defined_and_every_definition_is_a_verb() {
        assert_eq!(names(&flags::key_command()), KeyVerb::ALL.map(KeyVerb::name));
        assert_eq!(KeyVerb::NAMES, KeyVerb::ALL.map(KeyVerb::name));
        assert_eq!(names(&tokens::stackstate_command()), TokenVerb::ALL.map(TokenVerb::name));
        let gafaelfawr = TokenVerb::ALL.into_iter().filter(|verb| *verb != TokenVerb::Bootstrap);
        assert!(names(&tokens::gafaelfawr_command()).into_iter().eq(gafaelfawr.map(TokenVerb::name)));
        for verb in TokenVerb::ALL {
            assert_eq!(TokenVerb::named(verb.name().as_ref()), Some(verb));
        }
        assert_eq!(TokenVerb::named("remove".as_ref()), None);
    }
}
