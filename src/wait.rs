//! Waiting on the tokio runtime: for work to be done, for a descriptor to be readable.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::pin::{Pin, pin};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Failure, Stage};

/// Runs `work` to its end, on a runtime of its own. What it leaves under way (a name look-up that hangs)
/// is left behind.
pub(crate) fn until_done<T>(stage: Stage, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut result = None;
    block_on(stage, pin!(async { result = Some(work.await) }))?;
    Ok(result.expect("work that has ended has a result"))
}

/// One type of work for all: the runtime's code is large, and would be made anew for each.
fn block_on(stage: Stage, work: Pin<&mut dyn Future<Output = ()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| Failure::ours(stage, format!("cannot start: {error}")))?;
    runtime.block_on(work);
    runtime.shutdown_background();
    Ok(())
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
