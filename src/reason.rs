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
    ($($variant:ident $name:literal: $meaning:literal $(<- $cause:literal)+ $(-> $check:literal)+)+) => {
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

// `<-` is a cause, and `->` something to check or change.
reasons! {
    Usage "usage": "The command line or an environment variable is invalid; nothing was run"
        <- "a flag is misspelled, or its value is missing or malformed"
        <- "a flag of the command was put before the command"
        <- "a variable in a script is not set, so that a value is empty"
        -> "the error line names the flag or variable to correct"
        -> "run monitoring-token -help, or the subcommand with -help, for the flags and their values"
    KeyMissing "key-missing": "No signing key is configured"
        <- "MONITORING_SIGNER_KEY is not set in this environment, for example because sudo or cron removed it"
        -> "set MONITORING_SIGNER_KEY or -monitoring-signer-key to the path of the private JWK"
    KeyUnreadable "key-unreadable": "The file with the signing key cannot be read"
        <- "the path is wrong, or the secret is not mounted"
        <- "this user cannot read the file"
        -> "run ls -l on the path as the user that runs the job"
        -> "make it readable by that user and nobody else: mode 0400, or 0440 if root owns it and the user is in its group"
    KeyInvalid "key-invalid": "The signing key was read but cannot sign"
        <- "it is a public key, a key set, an encrypted key or PEM instead of a private JWK"
        <- "the file is another file, for example one larger than 64 KiB"
        <- "its alg, use or key_ops does not allow signing"
        <- "it was truncated or altered when it was copied"
        -> "run monitoring-token key inspect FILE"
        -> "create a new key with monitoring-token key generate, and register its public part with Locate"
    CredentialMissing "credential-missing": "No admin token is configured"
        <- "the variable with the admin token is not set in this environment"
        -> "gafaelfawr: set GAFAELFAWR_ADMIN_TOKEN, or use --admin-token-file FILE"
        -> "stackstate: set STS_CLI_API_TOKEN, STS_CLI_SERVICE_TOKEN or STS_CLI_K8S_SA_TOKEN"
    CredentialUnreadable "credential-unreadable": "The file with the admin token, or the one in --token-file, cannot be read"
        <- "the path is wrong, or the secret is not mounted"
        <- "this user cannot read the file"
        -> "run ls -l on the path as the user that runs the job"
    CredentialInvalid "credential-invalid": "The configured admin token, or the content of --token-file, cannot be a token"
        <- "the file holds more than one word, or text that is not ASCII"
        <- "the file was written as UTF-16, or is another file"
        <- "it is a token of the other issuer"
        -> "write the token alone into the file, for example with printf %s"
        -> "check that the variable or the file is the one for this issuer"
    CredentialRejected "credential-rejected": "The issuer does not accept the admin token, or the token in --token-file; the error line says which"
        <- "the admin token expired or was deleted"
        <- "it belongs to another environment"
        <- "a proxy removes the header that carries it, or refuses the request itself"
        -> "if it is the admin token, create a new one and replace it"
        -> "check that --url is the environment that issued the token, and that no proxy answers in its place"
    CredentialForbidden "credential-forbidden": "The admin token is valid but does not permit this"
        <- "Gafaelfawr: the admin token lacks the scope admin:token"
        <- "StackState: the roles of the token do not permit managing service tokens"
        -> "create an admin token with that scope or role"
    CredentialExpiring "credential-expiring": "The admin token expires before the run would have to delete its token"
        <- "the admin token is short-lived"
        <- "-timeout is long"
        -> "use an admin token that lives longer, or a shorter -timeout"
    StsConfigInvalid "sts-config-invalid": "The configuration file of sts cannot be used"
        <- "the file or the context that was named does not exist"
        <- "the file is not valid YAML"
        <- "the context sets options that cannot be used together, or that monitoring-token refuses"
        -> "run sts context list"
        -> "check --config, --context and STS_CLI_CONTEXT"
    CaFileInvalid "ca-file-invalid": "The configured CA certificates cannot be read"
        <- "the path in -ca-file is wrong, or this user cannot read the file"
        <- "the file contains no PEM certificate, or a damaged one"
        -> "run openssl x509 -in FILE -noout -subject on the file"
    ProxyInvalid "proxy-invalid": "The value of HTTP_PROXY or HTTPS_PROXY is not the URL of a proxy"
        <- "the URL is misspelled, or has a scheme that is not supported"
        -> "set it to http://HOST:PORT, or unset it"
        -> "list hosts that need no proxy in NO_PROXY"
    Dns "dns": "The host name of the server or the proxy could not be resolved"
        <- "the host name is misspelled"
        <- "DNS does not work on this machine or in this container"
        -> "run dig HOST, and look for HOST in /etc/hosts: unlike getent, monitoring-token uses nothing else, such as mDNS or LDAP"
        -> "check the host in -locate-url, --url or the proxy variable"
        -> "check /etc/resolv.conf and the network policy"
    ConnectionRefused "connection-refused": "The connection was refused: no server listens on this port, or a firewall rejects it"
        <- "the server is not running or is restarting"
        <- "the port in the URL is wrong"
        <- "a firewall rejects connections to this port"
        -> "check that the server is running"
        -> "check the host and port in -locate-url or --url"
    ConnectionFailed "connection-failed": "No connection to the server could be established"
        <- "this machine has no route to the server"
        <- "a firewall or network policy drops the packets"
        <- "the server is down"
        -> "run curl -v on the URL from this machine"
        -> "check routes, firewalls and network policies"
    ConnectionBroken "connection-broken": "The connection was lost before the response was complete"
        <- "the server or a load balancer in front of it restarted or gave up"
        <- "a firewall or proxy on the path cut the connection, or was too slow (HTTP 408)"
        -> "run the job again"
        -> "check the load balancer and the proxies on the path if this lasts"
    NotHttp "not-http": "The server on this port does not speak HTTP"
        <- "the URL has http:// for a port that serves https://"
        <- "the port belongs to another service"
        -> "check the scheme and port in -locate-url or --url"
    ProxyFailed "proxy-failed": "The proxy could not be reached, or did not connect to the server"
        <- "the proxy is down, or the proxy variable is wrong"
        <- "the rules of the proxy do not allow this host or port"
        <- "the proxy cannot reach the server (HTTP 502, 503 or 504)"
        -> "check HTTP_PROXY and HTTPS_PROXY"
        -> "add the host to NO_PROXY if it can be reached directly"
    ProxyAuthentication "proxy-authentication": "The proxy requires a user and password"
        <- "the proxy variable has no credentials, or the wrong ones"
        <- "the proxy offers only authentication that is not supported, such as Negotiate or NTLM"
        -> "set the proxy variable to http://USER:PASSWORD@HOST:PORT"
    TlsUntrusted "tls-untrusted": "The certificate of the server is signed by an authority that this machine does not trust"
        <- "the server has a certificate of a private CA, or a self-signed one"
        <- "the server does not send its intermediate certificates"
        <- "something on the path intercepts TLS"
        -> "trust the CA with -ca-file or SSL_CERT_FILE"
        -> "run openssl s_client -connect HOST:PORT -showcerts to see the chain"
    TlsExpired "tls-expired": "The certificate of the server has expired or is not valid yet"
        <- "the certificate was not renewed"
        <- "the clock of this machine is wrong"
        -> "run date -u on this machine"
        -> "renew the certificate on the server"
    TlsName "tls-name": "The certificate of the server is for another host name"
        <- "the URL has another name for the host, or its address"
        <- "the server has the wrong certificate, or one without a subject alternative name"
        -> "use the host name that the certificate lists"
        -> "issue the certificate for the name in the URL"
    TlsCertificate "tls-certificate": "The certificate of the server cannot be used for this purpose"
        <- "it is a CA certificate, or not meant for servers"
        <- "its version, key or signature algorithm is not supported"
        <- "it does not match the private key of the server"
        -> "issue the certificate again as the error line says"
    TlsFailed "tls-failed": "The TLS handshake failed"
        <- "the URL has https:// for a port that serves plain http://"
        <- "the server supports only outdated TLS versions or ciphers"
        <- "the server requires a client certificate"
        -> "check the scheme and port in -locate-url or --url"
        -> "run openssl s_client -connect HOST:PORT"
    TokenRejected "token-rejected": "Locate does not accept the token that the signing key has signed"
        <- "the public key is not registered with this Locate, or another key is registered under its key ID"
        <- "Locate does not support the algorithm of the key"
        <- "the clock of this machine is about a minute behind"
        -> "compare monitoring-token key public FILE with the key that Locate has"
        -> "check that -locate-url is the Locate of this project"
    ClockSkew "clock-skew": "The clock of this machine is about a minute or more behind, so tokens have already expired when they arrive"
        <- "time synchronization does not run on this machine"
        -> "run timedatectl or chronyc tracking, and correct the clock"
    UnknownMachine "unknown-machine": "Locate does not recognize the machine name"
        <- "-machine is not an M-Lab host name"
        <- "a variable in the command line is not set"
        -> "set -machine to a name such as mlab1-lga0t.mlab-sandbox.measurement-lab.org"
    UnknownService "unknown-service": "Locate does not know the service"
        <- "-service is misspelled, or ends with a slash"
        <- "the service is not deployed in this project"
        -> "set -service to EXPERIMENT/DATATYPE, for example ndt/ndt7"
    ServiceNotEnforced "service-not-enforced": "This Locate does not enforce tokens for the service, so it cannot be monitored there"
        <- "-service is not set (the default is ndt/ndt5), or comes after COMMAND"
        <- "Locate v0.19 enforces tokens only for ndt/ndt7 and wehe/replay"
        <- "-service is misspelled or ends with a slash, or a variable in it is not set"
        -> "check -service"
        -> "use a Locate that enforces tokens for it"
    NoTarget "no-target": "Locate returned no service URL for the machine"
        <- "the machine does not run this service, or is not registered with Locate"
        <- "-locate-url is not the monitoring path"
        -> "check -machine and -service"
        -> "check that the path in -locate-url ends in /v2/platform/monitoring/"
    UnknownUrlKey "unknown-url-key": "Locate offers no URL under the name in -service-url-key-name"
        <- "the name is misspelled, or belongs to another service"
        -> "choose one of the names in the error line, which monitoring-token check lists too"
    AmbiguousUrlKey "ambiguous-url-key": "Locate offers several URLs for the service, and none is chosen"
        <- "the service has no default URL key"
        -> "set -service-url-key-name to one of the names in the error line"
    UnusableServiceUrl "unusable-service-url": "Locate returned a service URL that no client can use"
        <- "the machine is registered with a wrong URL"
        <- "Locate has a bug"
        -> "report the error line to the operators of Locate"
    Forbidden "forbidden": "The server does not allow the request (HTTP 403)"
        <- "Locate: the path in -locate-url is not the monitoring path"
        <- "the server, or a gateway in front of it, allows only certain addresses"
        -> "check -locate-url or --url"
        -> "check that the address of this machine is allowed there"
    NotFound "not-found": "The server has nothing at this path (HTTP 404 or 405)"
        <- "the path in -locate-url, --url or --api-path is wrong"
        <- "-service is misspelled"
        -> "Locate: the path in -locate-url must end in /v2/platform/monitoring/"
        -> "Gafaelfawr and StackState: check that --url is the base URL alone, and check --api-path"
    RateLimited "rate-limited": "The server refuses requests for a while because there were too many (HTTP 429)"
        <- "many probes run at the same time"
        <- "-retries multiplies the requests during an outage"
        -> "run the jobs less often, spread them over time, or use -retries=0 while the server is overloaded"
        -> "Locate: use -cache-ttl to repeat fewer tests; a cached success can hide an outage for up to the TTL"
    RequestRefused "request-refused": "The server refused the request with another client error (HTTP 4xx)"
        <- "the URL is wrong"
        <- "the server or a gateway in front of it has its own rules"
        -> "the error line quotes the server"
        -> "check -locate-url or --url"
    ServerError "server-error": "The server failed (HTTP 5xx), or reported an error in its response"
        <- "the server, or a gateway in front of it, is down or overloaded"
        -> "retry later, or report it to the operators of the server"
    RedirectRefused "redirect-refused": "The server redirects to another origin, where the token must not be sent, or redirects without end"
        <- "the URL has http:// where the server uses https://"
        <- "the URL has an old host name"
        -> "use the URL that the server redirects to, if it is the right one"
    UnexpectedResponse "unexpected-response": "The response does not come from the expected server, or cannot be read"
        <- "a proxy, the login page of a network (HTTP 511) or another server responded"
        <- "-locate-url or --url is the URL of another service"
        -> "run curl -i on the URL and look at the response"
        -> "check -locate-url or --url"
    TokenExists "token-exists": "A service token with this name already exists"
        <- "another run chose the same name"
        -> "run the command again"
        -> "delete the other token, or choose another --name"
    TokenNotFound "token-not-found": "The service token does not exist"
        <- "it expired or was deleted"
        <- "the key, ID or name is misspelled"
        -> "run the subcommand list to see the tokens"
    InvalidExpiry "invalid-expiry": "The requested expiry of the service token was rejected"
        <- "the lifetime is too short or too long"
        <- "the clock of this machine is wrong"
        <- "rotate: the token in the file is valid beyond --expiration"
        -> "check --lifetime or --expiration"
        -> "run date -u on this machine"
    UnknownScope "unknown-scope": "Gafaelfawr does not know one of the scopes"
        <- "--scopes is misspelled"
        <- "this environment does not have the scope"
        -> "check --scopes"
    TokenNotDeleted "token-not-deleted": "A service token was not deleted, because that failed or it may be in use; it is valid until it expires"
        <- "the issuer could not be reached after the run"
        <- "the admin token expired during the run"
        <- "rotate: the token may be in use elsewhere, or may not be its own"
        -> "the line says when the token expires and how to delete it"
        -> "rotate resumes once the extra token is deleted or expires, or at the time that the line says"
    TokenFileRefused "token-file-refused": "rotate refused to replace the file in --token-file, and left it unchanged"
        <- "it holds a token of another user, service or program"
        <- "it is a directory, device or pipe"
        <- "FILE.state is damaged or unreadable, or belongs to another issuer"
        <- "another user may have put FILE, FILE.state or FILE.lock there: the directory is open to other users"
        -> "the error line says what the file holds, or what to do about FILE.state"
        -> "use another --token-file"
    TimeoutFile "timeout-file": "The timeout ended the run while a file was read: a key, a token, a certificate or COMMAND"
        <- "the file is a pipe, or standard input, into which nothing is written"
        <- "COMMAND is on a network file system that is down, or a virus scanner holds it"
        -> "check the process that writes to the pipe, or check the file system"
        -> "use a larger -timeout"
    TimeoutExchange "timeout-exchange": "The timeout ended the run while it waited for Locate or for the issuer of service tokens"
        <- "the wait left too little time for the command"
        <- "the server is slow or does not respond"
        <- "DNS, a proxy or a firewall delays or drops packets"
        -> "the error line names the step that took too long"
        -> "if it names SCRIPT_DEADLINE, raise the timeout of the exporter and of the scrape"
        -> "run monitoring-token check with the same flags"
    TimeoutCommand "timeout-command": "monitoring-token terminated the command at the timeout"
        <- "the target is slow or does not respond"
        <- "-timeout, or the exporter's SCRIPT_DEADLINE, is too short for this test"
        -> "run the command with -output=inherit to see where it waits"
        -> "use a larger -timeout; if the error line names SCRIPT_DEADLINE, raise the timeout of the exporter and of the scrape"
        -> "if you raise -timeout, raise the supervisor's timeout, too (systemd: TimeoutStartSec=)"
    TimeoutCache "timeout-cache": "The timeout ended the run while it waited for another process to finish the same run"
        <- "the wait left too little time for the command"
        <- "runs of the same machine, service and command start more often than they finish"
        <- "the other run has a larger -timeout"
        -> "start the job less often"
    TimeoutLock "timeout-lock": "The timeout ended rotate while it waited for another rotate of the same file"
        <- "the other rotate is stuck, here or on another host"
        <- "many hosts rotate the same file"
        -> "find the other rotate and see what it waits for"
        -> "use a larger --timeout"
    DeadlinePassed "deadline-passed": "SCRIPT_DEADLINE had passed before the run began; nothing was run"
        <- "the exporter started the script too late"
        <- "scrape_timeout is too short"
        -> "raise the timeout of the exporter and of the scrape"
        -> "check the load of this machine"
    Interrupted "interrupted": "A signal stopped the run"
        <- "an operator, a supervisor or a shutdown stopped monitoring-token"
        -> "ignore it if you stopped the run; status 129, 130, 131, 137 or 143 without an error line means the same"
        -> "check the supervisor's timeout (systemd: TimeoutStartSec=), which may be shorter than -timeout"
    ParentDied "parent-died": "The parent process died, and -die-with-parent ended the run"
        <- "the exporter or CI job gave up and killed its shell"
        -> "check the timeout of the exporter, which may be shorter than -timeout"
    CommandNotFound "command-not-found": "The command was not found"
        <- "its name is misspelled, or it is not in PATH"
        <- "the interpreter in its first line does not exist"
        -> "run command -v NAME with the same PATH"
        -> "check that it is installed in this image"
    CommandNotExecutable "command-not-executable": "The command exists but cannot be executed"
        <- "it is not executable, or its file system is mounted noexec"
        <- "it has file capabilities that this user or container does not have"
        <- "it is empty, truncated or built for another architecture"
        <- "its arguments and environment are too large"
        -> "run ls -l and file on it"
        -> "run chmod +x on it"
    CommandFailed "command-failed": "The command ran and reported a failure"
        <- "the target failed its test"
        <- "the command rejected its flags"
        -> "look up the exit status in the documentation of the command; 2 usually means wrong flags"
        -> "run it with -output=on-failure to see what it prints"
    CommandKilled "command-killed": "The command was killed by a signal that monitoring-token did not send"
        <- "SIGKILL: this host or container ran out of memory"
        <- "SIGSEGV, SIGABRT or SIGBUS: the command crashed"
        <- "SIGXCPU or SIGSYS: it reached its CPU limit, or a seccomp profile stopped it"
        <- "SIGTERM: a program such as earlyoom sent it to the command alone"
        -> "check the kernel log and the memory limit"
        -> "run it with -output=on-failure to see what it prints"
    CommandStuck "command-stuck": "The command could not be stopped and is still running"
        <- "it waits in the kernel, for example for a network file system"
        <- "it runs as another user, for example through sudo"
        -> "find it with pgrep -a NAME, and run kill -9 PID as root"
        -> "repair the file system that it waits for"
    OutputFailed "output-failed": "The result could not be written"
        <- "the disk is full, or this user cannot write there"
        <- "the file already exists, and it is never overwritten"
        <- "the reader of standard output has exited"
        -> "free disk space, or use another path: the line names the file"
    System "system": "The operating system refused something that monitoring-token needs"
        <- "no process, memory or file descriptor is left"
        <- "a sandbox or container forbids a system call, or has no /dev/null"
        -> "check ulimit -a, the limits of the container and its security profile"
    InternalError "internal-error": "monitoring-token has a bug"
        <- "a bug"
        -> "report the error line together with the command line"
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
