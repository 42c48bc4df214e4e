//! Reading a file that may be a pipe (`<(…)`): never beyond a deadline, and not past a signal.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use zeroize::Zeroizing;

use crate::signal::{Signal, Signals};

/// The size of a large key.
const USUAL_BYTES: usize = 4 * 1024;

/// Why nothing was read.
#[derive(Debug)]
pub enum ReadError {
    /// The system says so.
    Io(io::Error),
    /// There is more than was expected.
    TooLarge,
    /// It was not all there in time.
    Timeout,
    /// This signal came first.
    Interrupted(Signal),
}

/// Opens a file without waiting for somebody who writes to it.
pub fn open(path: &Path) -> Result<File, ReadError> {
    let flags =
        i32::try_from((rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits()).unwrap_or(0);
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(ReadError::Io)
}

/// Reads at most `max_bytes`, which must be all, until `deadline`, or until one of `signals` comes.
pub fn all(
    mut file: File,
    max_bytes: usize,
    signals: Option<&Signals>,
    deadline: Instant,
) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Enough for what is usually read, so that there is one copy; more grows it.
    let mut bytes = Zeroizing::new(Vec::with_capacity(USUAL_BYTES));
    loop {
        wait_readable(&file, signals, deadline)?;
        let left = u64::try_from((max_bytes + 1).saturating_sub(bytes.len())).unwrap_or_default();
        // To the end of what is there now: of a file that is all, of a pipe what has been written.
        match file.by_ref().take(left).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() > max_bytes => return Err(ReadError::TooLarge),
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(ReadError::Io(error)),
        }
    }
}

fn wait_readable(file: &File, signals: Option<&Signals>, deadline: Instant) -> Result<(), ReadError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = vec![PollFd::new(file, PollFlags::IN)];
        fds.extend(signals.map(|signals| PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)));
        let ready = poll(&mut fds, rustix::event::Timespec::try_from(left).ok().as_ref());
        if let Some(signal) = signals.and_then(Signals::take_interrupt) {
            return Err(ReadError::Interrupted(signal));
        }
        match ready {
            Ok(0) => return Err(ReadError::Timeout),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(ReadError::Io(errno.into())),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => {}
        }
    }
}
