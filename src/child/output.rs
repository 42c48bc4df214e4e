//! The last of the command's output, kept in case it fails.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How much is kept.
const KEPT_BYTES: usize = 64 * 1024;
/// How much of what is already written is still read once the command has ended. Whoever else holds
/// the pipe may write for ever.
const LAST_READ_BYTES: usize = 2 * KEPT_BYTES;

/// A pipe whose last bytes are kept.
pub struct Tail {
    pipe: Option<OwnedFd>,
    kept: VecDeque<u8>,
}

impl Tail {
    pub fn new(pipe: Option<OwnedFd>) -> Tail {
        Tail { pipe, kept: VecDeque::new() }
    }

    /// The descriptor to wait on, while somebody can write to it.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once; gives the number of bytes, 0 if there is nothing now.
    pub fn read(&mut self) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        let mut buffer = [0_u8; 16 * 1024];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => {
                self.pipe = None;
                0
            }
            Ok(length) => {
                self.kept.extend(&buffer[..length]);
                let surplus = self.kept.len().saturating_sub(KEPT_BYTES);
                self.kept.drain(..surplus);
                length
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => 0,
            Err(_) => {
                self.pipe = None;
                0
            }
        }
    }

    /// What was written last, and is there now.
    pub fn finish(mut self) -> Vec<u8> {
        let mut read = 0;
        while read < LAST_READ_BYTES {
            match self.read() {
                0 => break,
                length => read += length,
            }
        }
        self.kept.into()
    }
}
