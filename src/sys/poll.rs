//! Waiting for descriptors to be readable, with and without the tokio runtime.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until one of `fds` is readable (or has failed), or until `at_most` has passed; says of each whether it
/// is. Those that are `None` never are.
pub fn wait_for<const COUNT: usize>(
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
pub async fn readable(fd: BorrowedFd<'_>) {
    // SAFETY: a borrowed descriptor stays open and the same while it is borrowed, so for as long as it
    // is registered here.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    let Ok(registered) = registered else { return std::future::pending().await };
    if registered.readable().await.is_err() {
        tracing::debug!(fd = fd.as_raw_fd(), "cannot be watched");
        std::future::pending::<()>().await;
    }
}
