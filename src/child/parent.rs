//! `-die-with-parent`: notices the death of the parent process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{PidfdFlags, getppid, pidfd_open};

use crate::sys::descriptors::readable;

/// The parent process, followed by pidfd: PR_SET_PDEATHSIG follows the parent's thread, and a thread of a Go or Java
/// program may end long before the program does.
pub(crate) struct Parent(OwnedFd);

impl Parent {
    /// Follows the current parent process. Fails with ESRCH if it has already died, and with another error if the kernel
    /// cannot do it (pidfd_open(2): Linux 5.3), or if the parent is outside this PID namespace.
    pub(crate) fn follow() -> rustix::io::Result<Parent> {
        let parent = getppid().ok_or(Errno::CHILD)?;
        let fd = pidfd_open(parent, PidfdFlags::empty())?;
        // The process ID may have been reused in the meantime.
        if getppid() == Some(parent) { Ok(Parent(fd)) } else { Err(Errno::SRCH) }
    }

    pub(crate) async fn death(&self) {
        readable(self.0.as_fd()).await;
    }
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
