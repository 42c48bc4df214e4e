//! The differences between issuers, so that one test works for both.

use std::process::Command;

use serde_json::Value;

use super::Sandbox;

/// An issuer of service tokens in the sandbox.
#[derive(Clone, Copy)]
pub struct Issuer {
    /// The subcommand.
    pub name: &'static str,
    /// The variable with its base URL.
    pub url: &'static str,
    /// The sandbox's path that shows its state.
    pub control: &'static str,
    /// The request that creates a token.
    pub create: &'static str,
    /// The beginning of the request that deletes one.
    pub delete: &'static str,
    /// Prefix of a token.
    pub prefix: &'static str,
    /// The flags that describe a new token.
    pub new: &'static [&'static str],
    /// The arguments of `list`, and of `delete` for a token that may not exist.
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

/// StackState's response (HTTP 401) to a token that it does not know.
pub const UNKNOWN_TOKEN: &str = r#"{"_type":"ErrorsResponse","errors":[{"_type":"InvalidToken","message":"Token is invalid","errorCode":401}]}"#;

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

    /// How many creations were requested.
    pub fn creations(&self, sandbox: &Sandbox) -> usize {
        sandbox.requests().iter().filter(|line| *line == self.create).count()
    }

    #[track_caller]
    pub fn nothing_is_left(&self, sandbox: &Sandbox) {
        assert_eq!(sandbox.made_tokens(self.control), Vec::<Value>::new(), "{}", self.name);
    }

    /// Asserts that one token was created, and is gone.
    #[track_caller]
    pub fn made_and_deleted(&self, sandbox: &Sandbox) {
        self.nothing_is_left(sandbox);
        let requests = sandbox.requests();
        assert_eq!(self.creations(sandbox), 1, "{requests:?}");
        assert!(requests.last().unwrap().starts_with(self.delete), "{requests:?}");
    }
}

/// The key of a token as the operand of a command line: a key may begin with a dash.
pub fn operand(key: &str) -> String {
    let end = if key.starts_with('-') { "-- " } else { "" };
    format!("{end}{key}")
}
