//! Descriptors: the inherited ones, which are known only by their numbers, and waiting for others on the tokio runtime.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::net::getpeername;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Opens `/dev/null` in place of each standard descriptor that is closed: otherwise, the next file to be opened would
/// get its number, and be written to by mistake. Returns true if standard output was closed.
pub fn open_standard() -> bool {
    let mut stdout_was_closed = false;
    for fd in 0..=2 {
        // SAFETY: neither call accesses memory; the lowest free descriptor is `fd`.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                stdout_was_closed |= fd == libc::STDOUT_FILENO;
            }
        }
    }
    stdout_was_closed
}

/// Closes an inherited descriptor on exec, so that the command does not get it. Descriptors opened by this program are
/// closed on exec anyway.
pub(crate) fn close_on_exec(descriptor: RawFd) {
    if descriptor > libc::STDERR_FILENO {
        // SAFETY: fcntl does not access memory here.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Limits the receive buffer of each socket that this process has opened.
pub(crate) fn bound_receive_buffers(bytes: usize) {
    for_each_own(|descriptor| {
        let _ = set_socket_recv_buffer_size(descriptor, bytes);
    });
}

/// True if a socket that this process has opened is connected to one of these hosts.
pub(crate) fn is_connected_to(hosts: &[SocketAddr]) -> bool {
    let mut found = false;
    for_each_own(|descriptor| {
        let peer = getpeername(descriptor).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok());
        found |= peer.is_some_and(|peer| hosts.iter().any(|host| host.ip() == peer.ip()));
    });
    found
}

/// Each descriptor that this process has opened, because the HTTP library does not expose its sockets. Inherited
/// descriptors are not closed on exec, and are left alone.
fn for_each_own(mut visit: impl FnMut(BorrowedFd<'_>)) {
    /// A socket takes the lowest number that is free, and few of those below it are closed before this is called.
    const MAX_GAPS: usize = 16;
    let mut gaps = 0;
    for number in libc::STDERR_FILENO + 1..RawFd::MAX {
        // SAFETY: for a descriptor that is not open, these calls fail; no other thread opens or closes any.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        match fcntl_getfd(descriptor) {
            Ok(flags) if flags.contains(FdFlags::CLOEXEC) => visit(descriptor),
            Ok(_) => {}
            Err(Errno::BADF) if gaps < MAX_GAPS => gaps += 1,
            Err(_) => return,
        }
    }
}

/// Returns once `fd` is readable. If the runtime cannot watch it, never returns; the deadline still holds then.
pub(crate) async fn readable(fd: BorrowedFd<'_>) {
    // SAFETY: a borrowed descriptor stays open while it is borrowed, which is longer than it is registered here.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    let Ok(registered) = registered else { return std::future::pending().await };
    if registered.readable().await.is_err() {
        tracing::debug!(fd = fd.as_raw_fd(), "cannot be watched");
        std::future::pending::<()>().await;
    }
}
