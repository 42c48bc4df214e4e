//! The reasons of failures: one table with the name of each reason, its meaning, its usual causes and what to check.
//! Scripts, alerts and dashboards rely on the names, so renaming one is a breaking change.

/// The explanation of a reason. Each text is one clause without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The meaning of the reason.
    pub meaning: &'static str,
    /// Usual causes, the most likely first.
    pub causes: &'static [&'static str],
    /// Things to check or change.
    pub checks: &'static [&'static str],
}

macro_rules! reasons {
    ($($variant:ident $name:literal {
        meaning: $meaning:literal,
        causes: [$($cause:literal),+ $(,)?],
        checks: [$($check:literal),+ $(,)?],
    })+) => {
        /// Why a run failed, in a form that programs can rely on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)+
        }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)+];

            /// The stable name, in kebab case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)+
                }
            }

            /// The meaning, causes and checks, for people.
            pub const fn explanation(self) -> &'static Explanation {
                match self {
                    $(Reason::$variant => &Explanation {
                        meaning: $meaning,
                        causes: &[$($cause),+],
                        checks: &[$($check),+],
                    },)+
                }
            }
        }
    };
}

reasons! {
    Usage "usage" {
        meaning: "The command line or an environment variable is invalid; nothing was run",
        causes: [
            "a flag is misspelled, or its value is missing or malformed",
            "a flag of the command was put before the command",
            "a variable in a script is not set, so that a value is empty",
        ],
        checks: [
            "the error line names the flag or variable to correct",
            "run monitoring-token -help, or the subcommand with -help, for the flags and their values",
        ],
    }
    KeyMissing "key-missing" {
        meaning: "No signing key is configured",
        causes: ["MONITORING_SIGNER_KEY is not set in this environment, for example because sudo or cron removed it"],
        checks: ["set MONITORING_SIGNER_KEY or -monitoring-signer-key to the path of the private JWK"],
    }
    KeyUnreadable "key-unreadable" {
        meaning: "The file with the signing key cannot be read",
        causes: [
            "the path is wrong, or the secret is not mounted",
            "this user cannot read the file",
        ],
        checks: [
            "run ls -l on the path as the user that runs the job",
            "make it readable by that user and nobody else: mode 0400, or 0440 if root owns it and the user is in its group",
        ],
    }
    KeyInvalid "key-invalid" {
        meaning: "The signing key was read but cannot sign",
        causes: [
            "it is a public key, a key set, an encrypted key or PEM instead of a private JWK",
            "the file is another file, for example one larger than 64 KiB",
            "its alg, use or key_ops does not allow signing",
            "it was truncated or altered when it was copied",
        ],
        checks: [
            "run monitoring-token key inspect FILE",
            "create a new key with monitoring-token key generate, and register its public part with Locate",
        ],
    }
    CredentialMissing "credential-missing" {
        meaning: "No admin token is configured",
        causes: ["the variable with the admin token is not set in this environment"],
        checks: ["gafaelfawr: set GAFAELFAWR_ADMIN_TOKEN, or use --admin-token-file FILE",
            "stackstate: set STS_CLI_API_TOKEN, STS_CLI_SERVICE_TOKEN or STS_CLI_K8S_SA_TOKEN"],
    }
    CredentialUnreadable "credential-unreadable" {
        meaning: "The file with the admin token, or the one in --token-file, cannot be read",
        causes: ["the path is wrong, or the secret is not mounted", "this user cannot read the file"],
        checks: ["run ls -l on the path as the user that runs the job"],
    }
    CredentialInvalid "credential-invalid" {
        meaning: "The configured admin token, or the content of --token-file, cannot be a token",
        causes: [
            "the file holds more than one word, or text that is not ASCII",
            "the file was written as UTF-16, or is another file",
        ],
        checks: ["write the token alone into the file, for example with printf %s"],
    }
    CredentialRejected "credential-rejected" {
        meaning: "The issuer does not accept the admin token, or the token in --token-file; the error line says which",
        causes: [
            "the admin token expired or was deleted",
            "it belongs to another environment",
            "a proxy removes the header that carries it, or refuses the request itself",
        ],
        checks: [
            "if it is the admin token, create a new one and replace it",
            "check that --url is the environment that issued the token, and that no proxy answers in its place",
        ],
    }
    CredentialForbidden "credential-forbidden" {
        meaning: "The admin token is valid but does not permit this",
        causes: [
            "Gafaelfawr: the admin token lacks the scope admin:token",
            "StackState: the roles of the token do not permit managing service tokens",
        ],
        checks: ["create an admin token with that scope or role"],
    }
    CredentialExpiring "credential-expiring" {
        meaning: "The admin token expires before the run would have to delete its token",
        causes: ["the admin token is short-lived", "-timeout is long"],
        checks: ["use an admin token that lives longer, or a shorter -timeout"],
    }
    StsConfigInvalid "sts-config-invalid" {
        meaning: "The configuration file of sts cannot be used",
        causes: [
            "the file or the context that was named does not exist",
            "the file is not valid YAML",
            "the context sets options that exclude each other or that monitoring-token refuses",
        ],
        checks: ["run sts context list", "check --config, --context and STS_CLI_CONTEXT"],
    }
    CaFileInvalid "ca-file-invalid" {
        meaning: "The configured CA certificates cannot be read",
        causes: [
            "the path in -ca-file is wrong, or this user cannot read the file",
            "the file holds no PEM certificates, or a damaged one",
        ],
        checks: ["run openssl x509 -in FILE -noout -subject on the file"],
    }
    ProxyInvalid "proxy-invalid" {
        meaning: "The value of HTTP_PROXY or HTTPS_PROXY is not the URL of a proxy",
        causes: ["the URL is misspelled, or has a scheme that is not supported"],
        checks: ["set it to http://HOST:PORT, or unset it", "list hosts that need no proxy in NO_PROXY"],
    }
    Dns "dns" {
        meaning: "The host name of the server or the proxy could not be resolved",
        causes: [
            "the host name is misspelled",
            "DNS does not work on this machine or in this container",
        ],
        checks: [
            "run dig HOST, and look for HOST in /etc/hosts: unlike getent, monitoring-token uses nothing else, such as mDNS or LDAP",
            "check the host in -locate-url, --url or the proxy variable",
            "check /etc/resolv.conf and the network policy",
        ],
    }
    ConnectionRefused "connection-refused" {
        meaning: "The connection was refused: no server listens on this port, or a firewall rejects it",
        causes: [
            "the server is not running or is restarting",
            "the port in the URL is wrong",
            "a firewall rejects connections to this port",
        ],
        checks: ["check that the server is running", "check the host and port in -locate-url or --url"],
    }
    ConnectionFailed "connection-failed" {
        meaning: "No connection to the server could be established",
        causes: [
            "this machine has no route to the server",
            "a firewall or network policy drops the packets",
            "the server is down",
        ],
        checks: ["run curl -v on the URL from this machine", "check routes, firewalls and network policies"],
    }
    ConnectionBroken "connection-broken" {
        meaning: "The connection was lost before the response was complete",
        causes: [
            "the server or a load balancer in front of it restarted or gave up",
            "a firewall or proxy on the path cut the connection, or was too slow (HTTP 408)",
        ],
        checks: ["run the job again", "check the load balancer and the proxies on the path if this lasts"],
    }
    NotHttp "not-http" {
        meaning: "The server on this port does not speak HTTP",
        causes: ["the URL has http:// for a port that serves https://", "the port belongs to another service"],
        checks: ["check the scheme and port in -locate-url or --url"],
    }
    ProxyFailed "proxy-failed" {
        meaning: "The proxy could not be reached, or did not connect to the server",
        causes: [
            "the proxy is down, or the proxy variable is wrong",
            "the rules of the proxy do not allow this host or port",
            "the proxy cannot reach the server (HTTP 502, 503 or 504)",
        ],
        checks: [
            "check HTTP_PROXY and HTTPS_PROXY",
            "add the host to NO_PROXY if it can be reached directly",
        ],
    }
    ProxyAuthentication "proxy-authentication" {
        meaning: "The proxy requires a user and password",
        causes: [
            "the proxy variable has no credentials, or the wrong ones",
            "the proxy offers only authentication that is not supported, such as Negotiate or NTLM",
        ],
        checks: ["set the proxy variable to http://USER:PASSWORD@HOST:PORT"],
    }
    TlsUntrusted "tls-untrusted" {
        meaning: "The certificate of the server is signed by an authority that this machine does not trust",
        causes: [
            "the server has a certificate of a private CA, or a self-signed one",
            "the server does not send its intermediate certificates",
            "something on the path intercepts TLS",
        ],
        checks: [
            "trust the CA with -ca-file or SSL_CERT_FILE",
            "run openssl s_client -connect HOST:PORT -showcerts to see the chain",
        ],
    }
    TlsExpired "tls-expired" {
        meaning: "The certificate of the server has expired or is not valid yet",
        causes: ["the certificate was not renewed", "the clock of this machine is wrong"],
        checks: ["run date -u on this machine", "renew the certificate on the server"],
    }
    TlsName "tls-name" {
        meaning: "The certificate of the server is for another host name",
        causes: [
            "the URL has another name for the host, or its address",
            "the server has the wrong certificate, or one without a subject alternative name",
        ],
        checks: ["use the host name that the certificate lists", "issue the certificate for the name in the URL"],
    }
    TlsCertificate "tls-certificate" {
        meaning: "The certificate of the server cannot be used for this purpose",
        causes: [
            "it is a CA certificate, or not meant for servers",
            "its version, key or signature algorithm is not supported",
            "it does not match the private key of the server",
        ],
        checks: ["issue the certificate again as the error line says"],
    }
    TlsFailed "tls-failed" {
        meaning: "The TLS handshake failed",
        causes: [
            "the URL has https:// for a port that serves plain http://",
            "the server supports only outdated TLS versions or ciphers",
            "the server requires a client certificate",
        ],
        checks: [
            "check the scheme and port in -locate-url or --url",
            "run openssl s_client -connect HOST:PORT",
        ],
    }
    TokenRejected "token-rejected" {
        meaning: "Locate does not accept the token that the signing key has signed",
        causes: [
            "the public key is not registered with this Locate, or another key is registered under its key ID",
            "Locate does not support the algorithm of the key",
            "the clock of this machine is up to a minute behind",
        ],
        checks: [
            "compare monitoring-token key public FILE with the key that Locate has",
            "check that -locate-url is the Locate of this project",
        ],
    }
    ClockSkew "clock-skew" {
        meaning: "The clock of this machine is about a minute or more behind, so tokens have already expired when they arrive",
        causes: ["time synchronization does not run on this machine"],
        checks: ["run timedatectl or chronyc tracking, and correct the clock"],
    }
    UnknownMachine "unknown-machine" {
        meaning: "Locate does not recognize the machine name",
        causes: ["-machine is not an M-Lab host name", "a variable in the command line is not set"],
        checks: ["set -machine to a name such as mlab1-lga0t.mlab-sandbox.measurement-lab.org"],
    }
    UnknownService "unknown-service" {
        meaning: "Locate does not know the service",
        causes: ["-service is misspelled", "the service is not deployed in this project"],
        checks: ["set -service to EXPERIMENT/DATATYPE, for example ndt/ndt7"],
    }
    ServiceNotEnforced "service-not-enforced" {
        meaning: "This Locate does not enforce tokens for the service, so it cannot be monitored there",
        causes: [
            "-service is not set (the default is ndt/ndt5), or comes after COMMAND",
            "Locate v0.19 enforces tokens only for ndt/ndt7 and wehe/replay",
            "-service is misspelled, or a variable in it is not set",
        ],
        checks: ["check -service", "use a Locate that enforces tokens for it"],
    }
    NoTarget "no-target" {
        meaning: "Locate returned no service URL for the machine",
        causes: [
            "the machine does not run this service, or is not registered with Locate",
            "-locate-url is not the monitoring path",
        ],
        checks: ["check -machine and -service", "check that the path in -locate-url ends in /v2/platform/monitoring/"],
    }
    UnknownUrlKey "unknown-url-key" {
        meaning: "Locate offers no URL under the name in -service-url-key-name",
        causes: ["the name is misspelled, or belongs to another service"],
        checks: ["choose one of the names in the error line, which monitoring-token check lists too"],
    }
    AmbiguousUrlKey "ambiguous-url-key" {
        meaning: "Locate offers several URLs for the service, and none is chosen",
        causes: ["the service has no default URL key"],
        checks: ["set -service-url-key-name to one of the names in the error line"],
    }
    UnusableServiceUrl "unusable-service-url" {
        meaning: "Locate returned a service URL that no client can use",
        causes: ["the machine is registered with a wrong URL", "Locate has a bug"],
        checks: ["report the error line to the operators of Locate"],
    }
    Forbidden "forbidden" {
        meaning: "The server does not allow the request (HTTP 403)",
        causes: [
            "Locate: the path in -locate-url is not the monitoring path",
            "the server, or a gateway in front of it, allows only certain addresses",
        ],
        checks: ["check -locate-url or --url", "check that the address of this machine is allowed there"],
    }
    NotFound "not-found" {
        meaning: "The server has nothing at this path (HTTP 404 or 405)",
        causes: ["the path in -locate-url, --url or --api-path is wrong", "-service is misspelled"],
        checks: [
            "Locate: the path in -locate-url must end in /v2/platform/monitoring/",
            "Gafaelfawr and StackState: check that --url is the base URL alone, and check --api-path",
        ],
    }
    RateLimited "rate-limited" {
        meaning: "The server refuses requests for a while because there were too many (HTTP 429)",
        causes: ["many probes run at the same time", "-retries multiplies the requests during an outage"],
        checks: ["run the jobs less often, spread them over time, or use -retries=0 while the server is overloaded",
            "Locate: use -cache-ttl to repeat fewer tests; a cached success can hide an outage for up to the TTL"],
    }
    RequestRefused "request-refused" {
        meaning: "The server refused the request with another client error (HTTP 4xx)",
        causes: ["the URL is wrong", "the server or a gateway in front of it has rules of its own"],
        checks: ["the error line quotes the server", "check -locate-url or --url"],
    }
    ServerError "server-error" {
        meaning: "The server failed (HTTP 5xx), or reported an error of its own",
        causes: ["the server, or a gateway in front of it, is down or overloaded"],
        checks: ["retry later, or report it to the operators of the server"],
    }
    RedirectRefused "redirect-refused" {
        meaning: "The server redirects to another origin, where the token must not be sent, or redirects without end",
        causes: ["the URL has http:// where the server uses https://", "the URL has an old host name"],
        checks: ["use the URL that the server redirects to, if it is the right one"],
    }
    UnexpectedResponse "unexpected-response" {
        meaning: "The response does not come from the expected server, or cannot be read",
        causes: [
            "a proxy, the login page of a network (HTTP 511) or another server responded",
            "-locate-url or --url is the URL of another service",
        ],
        checks: ["run curl -i on the URL and look at the response", "check -locate-url or --url"],
    }
    TokenExists "token-exists" {
        meaning: "A service token with this name already exists",
        causes: ["another run chose the same name"],
        checks: ["run the command again", "delete the other token, or choose another --name"],
    }
    TokenNotFound "token-not-found" {
        meaning: "The service token does not exist",
        causes: ["it expired or was deleted", "the key, ID or name is misspelled"],
        checks: ["run the subcommand list to see the tokens"],
    }
    InvalidExpiry "invalid-expiry" {
        meaning: "The requested expiry of the service token was rejected",
        causes: [
            "the lifetime is too short or too long",
            "the clock of this machine is wrong",
            "rotate: the token in the file is valid beyond --expiration",
        ],
        checks: ["check --lifetime or --expiration", "run date -u on this machine"],
    }
    UnknownScope "unknown-scope" {
        meaning: "Gafaelfawr does not know one of the scopes",
        causes: ["--scopes is misspelled", "this environment does not have the scope"],
        checks: ["check --scopes"],
    }
    TokenNotDeleted "token-not-deleted" {
        meaning: "A service token was not deleted, because that failed or it may be in use; it is valid until it expires",
        causes: [
            "the issuer could not be reached after the run",
            "the admin token expired during the run",
            "rotate: the token may be in use elsewhere, or may not be its own",
        ],
        checks: ["the line says when the token expires and how to delete it",
            "rotate resumes once the extra token is deleted or expires"],
    }
    TokenFileRefused "token-file-refused" {
        meaning: "rotate refused to replace the file in --token-file, and left it unchanged",
        causes: [
            "it holds a token of another user, service or program",
            "it is a directory, device or pipe",
            "FILE.state is damaged or unreadable, or belongs to another issuer",
            "another user may have put FILE, FILE.state or FILE.lock there: the directory is open to other users",
        ],
        checks: ["the error line says what the file holds, or what to do about FILE.state", "use another --token-file"],
    }
    TimeoutFile "timeout-file" {
        meaning: "The timeout ended the run while a key, token or certificate file was read",
        causes: ["the file is a pipe, or standard input, into which nothing is written"],
        checks: ["check what writes to it", "use a larger -timeout"],
    }
    TimeoutExchange "timeout-exchange" {
        meaning: "The timeout ended the run while it waited for Locate or for the issuer of service tokens",
        causes: [
            "the server is slow or does not respond",
            "DNS, a proxy or a firewall delays or drops packets",
        ],
        checks: ["the error line names the step that took too long", "run monitoring-token check with the same flags"],
    }
    TimeoutCommand "timeout-command" {
        meaning: "monitoring-token terminated the command at the timeout",
        causes: ["the target is slow or does not respond", "-timeout is too short for this test"],
        checks: ["run the command with -output=inherit to see where it waits", "use a larger -timeout"],
    }
    TimeoutCache "timeout-cache" {
        meaning: "The timeout ended the run while it waited for another process to finish the same run",
        causes: ["runs of the same machine, service and command start faster than they end",
            "the other run has a larger -timeout"],
        checks: ["start the job less often"],
    }
    TimeoutLock "timeout-lock" {
        meaning: "The timeout ended rotate while it waited for another rotate of the same file",
        causes: ["the other rotate is stuck, here or on another host", "many hosts rotate the same file"],
        checks: ["find the other rotate and see what it waits for", "use a larger --timeout"],
    }
    DeadlinePassed "deadline-passed" {
        meaning: "SCRIPT_DEADLINE had passed before the run began; nothing was run",
        causes: ["the exporter started the script too late", "scrape_timeout is too short"],
        checks: ["raise the timeout of the exporter and of the scrape", "check the load of this machine"],
    }
    Interrupted "interrupted" {
        meaning: "A signal stopped the run",
        causes: ["an operator, a supervisor or a shutdown stopped monitoring-token"],
        checks: ["ignore it if you stopped the run; status 129, 130, 131 or 143 without an error line means the same", "check the timeout of the supervisor, which may be shorter than -timeout"],
    }
    ParentDied "parent-died" {
        meaning: "The parent process died, and -die-with-parent ended the run",
        causes: ["the exporter or CI job gave up and killed its shell"],
        checks: ["check the timeout of the exporter, which may be shorter than -timeout"],
    }
    CommandNotFound "command-not-found" {
        meaning: "The command was not found",
        causes: [
            "its name is misspelled, or it is not in PATH",
            "the interpreter in its first line does not exist",
        ],
        checks: ["run command -v NAME with the same PATH", "check that it is installed in this image"],
    }
    CommandNotExecutable "command-not-executable" {
        meaning: "The command exists but cannot be executed",
        causes: [
            "it is not executable, or its file system is mounted noexec",
            "it is empty, truncated or built for another architecture",
            "its arguments and environment are too large",
        ],
        checks: ["run ls -l and file on it", "run chmod +x on it"],
    }
    CommandFailed "command-failed" {
        meaning: "The command ran and reported a failure",
        causes: ["the target failed its test", "the command rejected its flags"],
        checks: [
            "look up the exit status in the documentation of the command; 2 usually means wrong flags",
            "run it with -output=on-failure to see what it prints",
        ],
    }
    CommandKilled "command-killed" {
        meaning: "The command was killed by a signal that monitoring-token did not send",
        causes: [
            "SIGKILL: this host or container ran out of memory",
            "SIGSEGV, SIGABRT or SIGBUS: the command crashed",
        ],
        checks: ["check the kernel log and the memory limit", "run it with -output=on-failure to see what it prints"],
    }
    CommandStuck "command-stuck" {
        meaning: "The command could not be stopped and is still running",
        causes: [
            "it waits in the kernel, for example for a network file system",
            "it runs as another user, for example through sudo",
        ],
        checks: ["find it with pgrep -a NAME, and run kill -9 PID as root", "repair the file system that it waits for"],
    }
    OutputFailed "output-failed" {
        meaning: "The result could not be written",
        causes: [
            "the disk is full, or this user cannot write there",
            "the file already exists, and it is never overwritten",
            "the reader of standard output has exited",
        ],
        checks: ["free disk space, or use another path: the line names the file"],
    }
    System "system" {
        meaning: "The operating system refused something that monitoring-token needs",
        causes: [
            "no process, memory or file descriptor is left",
            "a sandbox or container forbids a system call, or has no /dev/null",
        ],
        checks: ["check ulimit -a, the limits of the container and its security profile"],
    }
    InternalError "internal-error" {
        meaning: "monitoring-token has a bug",
        causes: ["a bug"],
        checks: ["report the error line together with the command line"],
    }
}

impl Reason {
    /// The reason with this name.
    pub fn named(name: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.name() == name)
    }

    /// The checks, on one line.
    pub fn advice(self) -> String {
        self.explanation().checks.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_in_kebab_case_and_short_clauses() {
        for (at, &reason) in Reason::ALL.iter().enumerate() {
            let name = reason.name();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            assert!(name.len() <= 24 && !name.starts_with('-') && !name.ends_with('-'), "{name}");
            assert_eq!(Reason::named(name), Some(reason));
            assert!(Reason::ALL[..at].iter().all(|other| other.name() != name), "{name} is there twice");
            let Explanation { meaning, causes, checks } = reason.explanation();
            for text in [meaning].into_iter().chain(*causes).chain(*checks) {
                assert!(!text.ends_with('.') && text.len() <= 120 && text.is_ascii(), "{name}: {text}");
            }
        }
    }
}
