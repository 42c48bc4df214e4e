//! What tests of service tokens know of each issuer, so that one test holds for both.

use std::process::Command;

use serde_json::Value;

use super::Sandbox;

/// An issuer of service tokens, as the sandbox plays it.
pub struct Issuer {
    /// The subcommand.
    pub name: &'static str,
    /// The variable of its base URL.
    pub url: &'static str,
    /// Where the sandbox shows its state.
    pub control: &'static str,
    /// The request that makes a token.
    pub create: &'static str,
    /// How the request begins that deletes one.
    pub delete: &'static str,
    /// What a token begins with.
    pub prefix: &'static str,
    /// The flags that describe a new token.
    pub new: &'static [&'static str],
    /// The arguments of `list`, and of `delete` for a token that may not be there.
    pub verbs: [&'static [&'static str]; 2],
}

pub const GAFAELFAWR: Issuer = Issuer {
    name: "gafaelfawr",
    url: "GAFAELFAWR_URL",
    control: "/sandbox/gafaelfawr",
    create: "POST /auth/api/v1/tokens",
    delete: "DELETE /auth/api/v1/users/bot-x/tokens/",
    prefix: "gt-",
    new: &["--username=bot-x", "--scopes=write:sasquatch"],
    verbs: [&["list", "--username=bot-x"], &["delete", "--username=bot-x", "AAAAAAAAAAAAAAAAAAAAAA"]],
};

pub const STACKSTATE: Issuer = Issuer {
    name: "stackstate",
    url: "STS_CLI_URL",
    control: "/sandbox/stackstate",
    create: "POST /api/security/tokens",
    delete: "DELETE /api/security/tokens/",
    prefix: "svctok-",
    new: &["-n=x", "--roles=stackstate-power-user"],
    verbs: [&["list"], &["delete", "7"]],
};

pub const ISSUERS: [Issuer; 2] = [GAFAELFAWR, STACKSTATE];

impl Issuer {
    /// The subcommand with these arguments.
    pub fn command(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = sandbox.token();
        command.arg(self.name).args(args);
        command
    }

    /// `create` of a token.
    pub fn create(&self, sandbox: &Sandbox) -> Command {
        self.command(sandbox, &[&["create"], self.new].concat())
    }

    /// `exec`, still without a COMMAND.
    pub fn exec(&self, sandbox: &Sandbox) -> Command {
        self.command(sandbox, &[&["exec"], self.new].concat())
    }

    /// How often a creation was asked for.
    pub fn creations(&self, sandbox: &Sandbox) -> usize {
        sandbox.requests().iter().filter(|line| *line == self.create).count()
    }

    #[track_caller]
    pub fn nothing_is_left(&self, sandbox: &Sandbox) {
        assert_eq!(sandbox.made_tokens(self.control), Vec::<Value>::new(), "{}", self.name);
    }

    /// Asserts that one token was made, and is gone.
    #[track_caller]
    pub fn made_and_deleted(&self, sandbox: &Sandbox) {
        self.nothing_is_left(sandbox);
        let requests = sandbox.requests();
        assert_eq!(self.creations(sandbox), 1, "{requests:?}");
        assert!(requests.last().unwrap().starts_with(self.delete), "{requests:?}");
    }
}
