//! Descriptors: those that this process was started with, known by their numbers only, and waiting for others to be
//! readable, with and without the tokio runtime.

use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Opens `/dev/null` in the place of each standard descriptor that is closed: the next file that is opened would
/// take its number, and then be written to by mistake. Says whether standard output was closed.
pub fn open_standard() -> bool {
    let mut stdout_was_closed = false;
    for fd in 0..=2 {
        // SAFETY: both calls have no memory to be unsafe with; the lowest free descriptor is `fd`.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                stdout_was_closed |= fd == libc::STDOUT_FILENO;
            }
        }
    }
    stdout_was_closed
}

/// Keeps a descriptor that we were started with from the command. One of our own is kept from it already.
pub(crate) fn close_on_exec(descriptor: RawFd) {
    if descriptor > libc::STDERR_FILENO {
        // SAFETY: fcntl has no memory to be unsafe with here.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Waits until one of `fds` is readable (or has failed), or until `at_most` has passed; says of each whether it
/// is. Those that are `None` never are.
pub(crate) fn wait_for<const COUNT: usize>(
    fds: [Option<BorrowedFd<'_>>; COUNT],
    at_most: Duration,
) -> rustix::io::Result<[bool; COUNT]> {
    let mut waiting: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    poll(&mut waiting, Timespec::try_from(at_most).ok().as_ref())?;
    let mut ready = waiting.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && ready.next().unwrap_or_default()))
}

/// Returns once `fd` is readable; never, if the runtime cannot watch it (the deadline still holds then).
pub(crate) async fn readable(fd: BorrowedFd<'_>) {
    // SAFETY: a borrowed descriptor stays open and the same while it is borrowed, so for as long as it
    // is registered here.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    let Ok(registered) = registered else { return std::future::pending().await };
    if registered.readable().await.is_err() {
        tracing::debug!(fd = fd.as_raw_fd(), "cannot be watched");
        std::future::pending::<()>().await;
    }
}
