//! Terminals and pipes whose other side may not read: a frozen connection, for example.

use std::io::IsTerminal as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::process::getpgid;
use rustix::termios::tcgetpgrp;

/// The terminal or pipe at `fd`, opened again for writing without waiting. poll(2) reports room for a single byte, which
/// another program may take, and an ordinary write then waits until all of it is taken. (O_NONBLOCK on `fd` itself
/// would affect other programs.) `None` if it is something else, or cannot be opened.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let is_pipe = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if !is_pipe && !fd.is_terminal() {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()).ok()
}

/// True if stdin is the terminal of a shell that has put this program into the background: what is typed there is for
/// another program.
pub(crate) fn is_in_background() -> bool {
    let is_elsewhere = |foreground| getpgid(None).is_ok_and(|own| own != foreground);
    tcgetpgrp(rustix::stdio::stdin()).is_ok_and(is_elsewhere)
}
