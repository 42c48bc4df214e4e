//! `-die-with-parent`: notices the death of the parent process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{PidfdFlags, getppid, pidfd_open};

use crate::sys::descriptors::readable;

/// The parent process, followed by pidfd: PR_SET_PDEATHSIG follows the parent's thread, and a thread of a Go or Java
/// program may end long before the program does.
pub(crate) struct Parent(OwnedFd);

/// Why the parent cannot be followed.
#[derive(Debug)]
pub(crate) enum ParentError {
    /// It has already died.
    Gone,
    /// The kernel cannot do it (pidfd_open(2): Linux 5.3), or the parent is outside this PID namespace.
    Unsupported,
}

impl Parent {
    /// Follows the current parent process.
    pub(crate) fn follow() -> Result<Parent, ParentError> {
        let parent = getppid().ok_or(ParentError::Unsupported)?;
        let fd = pidfd_open(parent, PidfdFlags::empty()).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => ParentError::Gone,
            _ => ParentError::Unsupported,
        })?;
        // The process ID may have been reused in the meantime.
        if getppid() == Some(parent) { Ok(Parent(fd)) } else { Err(ParentError::Gone) }
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
