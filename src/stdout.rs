//! Standard output for results that must not get lost: a closed descriptor and a closed reader are
//! errors here.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::failure::{Failure, Reason, system_error};

/// Whether it was closed when the program was started. `/dev/null` stands in for it since.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Records that it was closed.
pub fn record_closed() {
    CLOSED.store(true, Ordering::Relaxed);
}

/// Fails if it was closed when the program was started.
pub fn check_open() -> io::Result<()> {
    if CLOSED.load(Ordering::Relaxed) {
        return Err(Errno::BADF.into());
    }
    Ok(())
}

/// Writes all of `text`, or says why it could not: a closed reader is an error, too.
pub fn deliver(text: &str) -> io::Result<()> {
    check_open()?;
    // A file of its own, because `std::io::Stdout` hides EBADF.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    stdout.write_all(text.as_bytes())
}

/// The failure of text that did not get there.
pub fn unwritten(error: &io::Error) -> Failure {
    Failure::local(Reason::OutputFailed, format!("cannot write to stdout: {}", system_error(error)))
}

/// Prints what was asked for. A reader that has gone away is its own business, a full disk is not.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match deliver(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

/// Prints what has been done, which holds also where nobody can read it.
pub(crate) fn report(text: &str) -> Result<(), Failure> {
    if check_open().is_err() { Ok(()) } else { print(text) }
}
