//! Waiting for a descriptor on the tokio runtime.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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
