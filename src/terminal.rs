//! Terminals whose other side may not read: a frozen connection, for example.

use std::io::IsTerminal as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

/// The terminal at `fd`, opened again for writing without waiting. poll(2) reports room for a single byte, and an
/// ordinary write then waits until all of it is taken. (O_NONBLOCK on `fd` itself would affect other programs.) `None`
/// if it is not a terminal, or cannot be opened.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    if !fd.is_terminal() {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()).ok()
}
