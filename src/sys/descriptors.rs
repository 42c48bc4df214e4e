//! Descriptors that this process was started with, known by their numbers only.

use std::os::fd::RawFd;

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
