//! Standard output for results that must not get lost: a closed descriptor and a closed reader are errors.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::failure::{Failure, system_error};
use crate::until::{Ended, Until};

/// It was closed at the start of the program. Since then, `/dev/null` stands in for it.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Records that standard output was closed at the start.
pub fn record_closed() {
    CLOSED.store(true, Ordering::Relaxed);
}

/// Fails if it was closed at the start of the program.
pub fn check_open() -> io::Result<()> {
    if CLOSED.load(Ordering::Relaxed) {
        return Err(Errno::BADF.into());
    }
    Ok(())
}

/// Waits until there is room for a line, so that a write does not wait for a reader that has stopped. Fails if a signal
/// arrives first, or the time is up.
pub(crate) fn wait_for_room(until: &Until<'_>) -> io::Result<()> {
    let stdout = io::stdout();
    let wait = |until: &Until<'_>| until.wait_for(stdout.as_fd(), PollFlags::OUT);
    // A signal does not keep back what can be printed at once.
    wait(&Until::in_time(Duration::ZERO)).or_else(|_| wait(until)).map_err(|ended| {
        io::Error::other(match ended {
            Ended::Interrupted(signal) => format!("interrupted by {signal}"),
            Ended::Timeout(_) | Ended::Orphaned => "its reader did not take it in time".to_owned(),
        })
    })
}

/// Writes all of `text`; a closed reader is an error.
pub fn deliver(text: &str) -> io::Result<()> {
    check_open()?;
    // A separate file, because `std::io::Stdout` hides EBADF.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    stdout.write_all(text.as_bytes())
}

/// The failure for text that could not be written.
pub fn unwritten(error: &io::Error) -> Failure {
    Failure::unwritten(format!("cannot write to stdout: {}", system_error(error)))
}

/// Prints a result. A closed reader is not an error, a full disk is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match deliver(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

/// Prints what was done, which stays done even if nobody can read it.
pub(crate) fn report(text: &str) -> Result<(), Failure> {
    if check_open().is_err() { Ok(()) } else { print(text) }
}
