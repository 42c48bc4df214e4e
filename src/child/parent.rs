//! `-die-with-parent`: notices the death of our parent process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{PidfdFlags, getppid, pidfd_open};

use crate::sys::descriptors::readable;

/// Our parent. It is followed by pidfd: PR_SET_PDEATHSIG follows the parent's thread, and that of a Go
/// or Java program may end long before the program does.
pub(crate) struct Parent(OwnedFd);

/// Why the parent cannot be followed.
#[derive(Debug)]
pub(crate) enum ParentError {
    /// It has already died.
    Gone,
    /// The kernel cannot (pidfd_open(2): Linux 5.3), or the parent is outside our PID namespace.
    Unsupported,
}

impl Parent {
    /// Follows the process that is our parent now.
    pub(crate) fn follow() -> Result<Parent, ParentError> {
        let parent = getppid().ok_or(ParentError::Unsupported)?;
        let fd = pidfd_open(parent, PidfdFlags::empty()).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => ParentError::Gone,
            _ => ParentError::Unsupported,
        })?;
        // The number may have been given to another process in between.
        if getppid() == Some(parent) { Ok(Parent(fd)) } else { Err(ParentError::Gone) }
    }

    /// Waits for its death on the tokio runtime.
    pub(crate) async fn death(&self) {
        readable(self.0.as_fd()).await;
    }
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
