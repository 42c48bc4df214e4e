//! Standard output for results that must not get lost: a closed descriptor and a closed reader are errors.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::failure::{Failure, system_error};
use crate::sys::signal::Signals;

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
pub(crate) fn wait_for_room(signals: &Signals, deadline: Instant) -> io::Result<()> {
    let stdout = io::stdout();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&stdout, PollFlags::OUT), PollFd::new(signals, PollFlags::IN)];
        poll(&mut fds, Timespec::try_from(left).ok().as_ref())?;
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        if let Some(signal) = signals.take_interrupt() {
            return Err(io::Error::other(format!("interrupted by {signal}")));
        }
        if left.is_zero() {
            return Err(io::Error::other("its reader did not take it in time"));
        }
    }
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
