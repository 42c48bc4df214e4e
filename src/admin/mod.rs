//! The administrator's commands: create, list and delete keys and service tokens, and prepare an installation.
//!
//! They return the text for stdout, except for a new token, whose loss they have to handle. Nothing here runs a
//! command.

pub(crate) mod bootstrap;
pub(crate) mod gafaelfawr;
pub(crate) mod key;
pub(crate) mod output;
pub(crate) mod rotate;
pub(crate) mod stackstate;

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::failure::{ExitStatus, Failure, Reason, Stage};
use crate::issuer::api::{Access, Api};
use crate::issuer::{CreateError, Site};
use crate::new_file::NewFile;
use crate::secret::SecretString;
use crate::stdout;
use crate::until::{Ended, Until, block_on};

/// Reads the files that may be pipes, `-ca-file` and the credential, and calls `connect` with them.
fn connect<T>(
    until: &Until<'_>,
    Site { url, http, credential, flags }: Site,
    connect: impl FnOnce(Access<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (http, credential) = (http.load(until)?, credential.read(until)?);
    connect(Access { http: &http, url, credential: &credential, deadline: until.deadline, flags })
}

static PLAIN_HTTP_HOST: OnceLock<String> = OnceLock::new();

/// The host that got a token over plain HTTP, unless it is this machine.
pub(crate) fn plain_http_host() -> Option<&'static str> {
    PLAIN_HTTP_HOST.get().map(String::as_str)
}

/// Runs `work` until it finishes, the time is up or a signal arrives.
fn wait<T>(
    until: &Until<'_>,
    api: &Api,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    api.set_deadline(until.deadline);
    let result = block_on(Stage::Exchange, async {
        let ended = tokio::select! {
            biased;
            result = work => return result,
            ended = until.ended() => ended,
        };
        let doing = if let Ended::Timeout(_) = ended { api.stuck() } else { api.doing() };
        Err(ended.failure(Stage::Exchange, Reason::TimeoutExchange, &format!("while {doing}")))
    });
    if let Some(host) = api.client.plain_http_host(api.url()) {
        PLAIN_HTTP_HOST.get_or_init(|| host);
    }
    result?
}

/// As [`wait`], for a request that changes something: if it is interrupted, `open` says what may have happened.
fn change<T>(
    until: &Until<'_>,
    api: &Api,
    work: impl Future<Output = Result<T, Failure>>,
    open: &str,
) -> Result<T, Failure> {
    wait(until, api, work).map_err(|failure| match failure.status {
        ExitStatus::Timeout | ExitStatus::Signal(_) if api.maybe_sent() => failure.and(open),
        _ => failure,
    })
}

/// Creates a token; if the response is lost, `open` says that there may be one.
fn make<T>(
    until: &Until<'_>,
    api: &Api,
    work: impl Future<Output = Result<T, CreateError>>,
    open: &str,
) -> Result<T, Failure> {
    let work = async {
        work.await.map_err(|error| match error.leftover {
            Some(_) => error.failure.and(open),
            None => error.failure,
        })
    };
    change(until, api, work, open)
}

/// Where to write a new token.
enum Place {
    Stdout,
    File(NewFile),
}

impl Place {
    const FLAG: &str = "--out";

    /// Fails before a token is created if it could not be delivered.
    fn reserve(out: Option<PathBuf>) -> Result<Place, Failure> {
        if let Some(path) = out.filter(|path| path.as_os_str() != "-") {
            return NewFile::reserve(&path, Place::FLAG).map(Place::File);
        }
        stdout::check_open().map(|()| Place::Stdout).map_err(|_| {
            let message = "stdout is closed, so no token was created; open it, or use --out";
            Failure::unwritten(message)
        })
    }

    /// Writes a new token. If that fails, `undo` deletes it, and returns a clause about that, with the advice that it gets.
    /// Prints `shown(Some(path))` if the token went to a file, and otherwise `shown(None)`, which includes the token.
    fn deliver(
        self,
        until: &Until<'_>,
        token: &SecretString,
        shown: impl Fn(Option<&str>) -> String,
        undo: impl FnOnce(&str) -> String,
    ) -> Result<String, Failure> {
        match self {
            Place::File(mut file) => {
                file.fill(token, Place::FLAG).map_err(|failure| failure.and(&undo("")))?;
                let path = file.path().display().to_string();
                let room = stdout::wait_for_room(until).map_err(|error| stdout::unwritten(&error));
                room.and_then(|()| stdout::report(&shown(Some(&path))))
                    .map_err(|failure| failure.and(&format!("the token is in {path}")))?;
            }
            Place::Stdout => stdout::wait_for_room(until)
                .and_then(|()| stdout::deliver(&shown(None)))
                .map_err(|error| stdout::unwritten(&error).and(&undo("; check --out")))?,
        }
        Ok(String::new())
    }
}
