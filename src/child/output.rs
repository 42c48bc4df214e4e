//! Handles the command's output when it is not inherited: keeps the end of it in case the command fails, or masks it
//! and passes it on.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};

use crate::secret::{self, Mask};
use crate::terminal;

const KEPT_BYTES: usize = 64 * 1024;
/// How much of the output already written is read after the command has ended. Another process that holds the pipe may
/// write for ever.
const LAST_READ_BYTES: usize = 2 * KEPT_BYTES;
const READ_BYTES: usize = 24 * 1024;
/// Room for what one read makes ready, with what was held back.
const READY_BYTES: usize = READ_BYTES + 4096;
/// How far the command may be ahead of us, if the kernel allows it: both of us sleep less often.
const MASKED_PIPE_BYTES: usize = 256 * 1024;
/// How long text is held back that may be the beginning of a secret.
const HELD_AT_MOST: Duration = Duration::from_millis(90);
/// A pipe or socket that is ready for writing takes this much without blocking (Linux: a page).
const PIECE_BYTES: usize = 4096;
/// A terminal may take less. Only for one that cannot be opened again.
const TERMINAL_PIECE_BYTES: usize = 1;

/// How the command's output is handled; empty if it is inherited or discarded.
#[derive(Default)]
pub(crate) struct Output {
    /// The end of it is kept.
    pub tail: Option<Tail>,
    /// Stdout and stderr are masked and passed on.
    pub masked: Vec<Masked>,
}

impl Output {
    /// The descriptors to wait for: there is more to read, or more can be written.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let tail = self.tail.iter().filter_map(|tail| Some((tail.pipe.as_ref()?.as_fd(), PollFlags::IN)));
        tail.chain(self.masked.iter().filter_map(Masked::interest))
    }

    /// When text that is held back must be passed on.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.masked.iter().filter_map(Masked::due_at).min()
    }

    /// Reads and writes once, as far as possible without blocking.
    pub(crate) fn advance(&mut self) {
        self.tail.as_mut().map(Tail::read);
        if let [stdout, stderr] = self.masked.as_mut_slice() {
            stdout.advance(stderr);
            stderr.advance(stdout);
        }
    }

    /// Call this when the command has ended: only what is in the pipes now is still read.
    pub(crate) fn command_ended(&mut self) {
        self.masked.iter_mut().for_each(Masked::command_ended);
    }

    /// True if the command may have got SIGPIPE because its reader closed the pipe, as in a pipeline.
    pub(crate) fn is_cut(&self) -> bool {
        self.masked.iter().any(|stream| stream.cut.is_some())
    }

    /// True if everything was passed on.
    pub(crate) fn is_done(&self) -> bool {
        self.masked.iter().all(Masked::is_done)
    }

    pub(crate) fn finish(self) -> Finished {
        let in_line = match self.masked.as_slice() {
            [stdout, stderr] => stderr.in_line || (stdout.in_line && stdout.goes_with(stderr)),
            _ => false,
        };
        Finished {
            kept: self.tail.map(Tail::finish).unwrap_or_default(),
            unwritten: self.masked.into_iter().find_map(Masked::failure),
            in_line,
        }
    }
}

/// The output after the end of the command.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// The kept part of it.
    pub kept: Vec<u8>,
    /// The error if some of it was not passed on. A closed reader is not an error, because the command got SIGPIPE.
    pub unwritten: Option<io::Error>,
    /// True if the last line on stderr is unfinished.
    pub in_line: bool,
}

/// One of the command's streams, masked and passed on.
pub(crate) struct Masked {
    /// The pipe that the command writes to; `None` once it is closed.
    pipe: Option<OwnedFd>,
    /// How much is still read after the command has ended.
    left_to_read: Option<usize>,
    mask: Mask,
    held_since: Option<Instant>,
    /// Text ready to be written. While there is some, nothing is read: a slow reader slows the command.
    ready: Vec<u8>,
    /// The text after that, the beginning of a line whose end is about to come, if the streams may share a place.
    begun: Vec<u8>,
    to: BorrowedFd<'static>,
    /// Device and number of the file that it leads to.
    place: Option<(u64, u64)>,
    /// The same for writing without waiting: a terminal, or a pipe if the following is not possible.
    reopened: Option<OwnedFd>,
    /// A single write can be told not to block (pwritev2(2), RWF_NOWAIT).
    takes_what_it_can: bool,
    /// The size of a write where that is not possible.
    piece_bytes: usize,
    /// The reader is gone, so the command gets SIGPIPE.
    cut: Option<Errno>,
    /// True if the last line is unfinished.
    in_line: bool,
    /// True if the rest of it is ready, because the reader has taken only a part of it.
    is_within_line: bool,
}

impl Masked {
    /// Reads from `pipe`, which does not block, and writes to a standard stream.
    pub(crate) fn new(pipe: OwnedFd, to: BorrowedFd<'static>) -> Masked {
        let stat = rustix::fs::fstat(to);
        let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
        let piece_bytes = match kind {
            _ if to.is_terminal() => TERMINAL_PIECE_BYTES,
            // Nobody waits for room in a file.
            Ok(FileType::RegularFile) => READ_BYTES,
            _ => PIECE_BYTES,
        };
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, MASKED_PIPE_BYTES);
        Masked {
            takes_what_it_can: matches!(kind, Ok(FileType::Fifo | FileType::Socket)),
            pipe: Some(pipe),
            left_to_read: None,
            mask: secret::mask(),
            held_since: None,
            ready: Vec::new(),
            begun: Vec::new(),
            to,
            place: stat.ok().map(|stat| (stat.st_dev, stat.st_ino)),
            reopened: if to.is_terminal() { terminal::reopen(to) } else { None },
            piece_bytes,
            cut: None,
            in_line: false,
            is_within_line: false,
        }
    }

    /// True if both lead to one file, such as a log (`2>&1`). Then they must not mix within a line.
    fn goes_with(&self, other: &Masked) -> bool {
        self.place.is_some() && self.place == other.place
    }

    fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if !self.ready.is_empty() {
            return Some((self.to, PollFlags::OUT));
        }
        self.pipe.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN))
    }

    fn due_at(&self) -> Option<Instant> {
        self.held_since.filter(|_| self.ready.is_empty()).map(|since| since + HELD_AT_MOST)
    }

    fn is_done(&self) -> bool {
        self.pipe.is_none() && self.ready.is_empty()
    }

    fn command_ended(&mut self) {
        if let Some(pipe) = &self.pipe {
            self.left_to_read = Some(rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(KEPT_BYTES));
        }
    }

    fn advance(&mut self, other: &Masked) {
        let goes_with_it = self.goes_with(other);
        if self.ready.is_empty() {
            self.read(goes_with_it);
        }
        if self.due_at().is_some_and(|due| due <= Instant::now()) {
            self.ready.append(&mut self.begun);
            self.mask.release(&mut self.ready);
        }
        if !self.mask.is_holding() && self.begun.is_empty() {
            self.held_since = None;
        }
        // The other one's line comes first: if the reader has taken a part of it, or if this one is in no line itself. So
        // they never wait for each other.
        let has_line = other.in_line && !other.ready.is_empty() && !self.in_line;
        if !(goes_with_it && (other.is_within_line || has_line)) {
            self.write();
        }
    }

    /// Reads once. If `in_lines`, the beginning of a line stays behind while its end is about to come.
    fn read(&mut self, in_lines: bool) {
        let Some(pipe) = &self.pipe else { return };
        self.ready.append(&mut self.begun);
        self.ready.reserve_exact(READY_BYTES);
        let limit = self.left_to_read.unwrap_or(usize::MAX);
        let read = |buffer: &mut Vec<u8>| rustix::io::read(pipe, spare_capacity(buffer));
        let mut is_full = false;
        match self.mask.read(READ_BYTES, limit, read, &mut self.ready) {
            Ok(length @ 1..) => {
                self.left_to_read = self.left_to_read.map(|left| left - length);
                is_full = length == READ_BYTES;
                if !is_full {
                    // The pipe is empty.
                    self.mask.release_line(&mut self.ready);
                }
                // Starts again, because the text held back so far was resolved.
                self.held_since = Some(Instant::now());
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if self.left_to_read.is_none() => {}
            // The end of the stream.
            _ => {
                self.pipe = None;
                self.mask.release(&mut self.ready);
            }
        }
        let begins = memchr::memrchr(b'\n', &self.ready).map_or(0, |at| at + 1);
        if in_lines && (is_full || self.mask.is_holding()) && self.ready.len() - begins < READ_BYTES {
            self.begun = self.ready.split_off(begins);
        }
    }

    /// Writes as much as the reader takes now.
    fn write(&mut self) {
        let (mut written, ready) = (0, self.ready.len());
        while written < ready {
            match self.write_some(written) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The reader takes no more. The command gets SIGPIPE at its next write.
                Err(error) => {
                    (self.pipe, self.held_since, self.cut) = (None, None, Some(error));
                    self.begun.clear();
                    self.is_within_line = false;
                    return self.ready.clear();
                }
            }
        }
        if let Some(last) = self.ready.drain(..written).next_back() {
            self.in_line = last != b'\n';
            self.is_within_line = self.in_line && written < ready;
        }
    }

    /// Writes some of what is ready, without waiting.
    fn write_some(&mut self, from: usize) -> Result<usize, Errno> {
        /// The current position of the stream.
        const HERE: u64 = u64::MAX;
        if let Some(reopened) = &self.reopened {
            return rustix::io::write(reopened, &self.ready[from..]);
        }
        if self.takes_what_it_can {
            let rest = IoSlice::new(&self.ready[from..]);
            match rustix::io::pwritev2(self.to, &[rest], HERE, ReadWriteFlags::NOWAIT) {
                // Not supported on pipes before Linux 6.4, or forbidden by a sandbox; anything else fails again below.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE | Errno::PERM) => {
                    self.takes_what_it_can = false;
                    self.reopened = terminal::reopen(self.to);
                    return self.write_some(from);
                }
                result => return result,
            }
        }
        let mut fds = [PollFd::from_borrowed_fd(self.to, PollFlags::OUT)];
        if poll(&mut fds, Some(&Timespec::default())) != Ok(1) {
            return Err(Errno::AGAIN);
        }
        let end = (from + self.piece_bytes).min(self.ready.len());
        rustix::io::write(self.to, &self.ready[from..end])
    }

    fn failure(self) -> Option<io::Error> {
        match self.cut {
            Some(Errno::PIPE) => None,
            Some(error) => Some(error.into()),
            None if self.is_done() => None,
            None => Some(io::Error::other("its reader did not take all of it in time")),
        }
    }
}

/// A pipe whose last bytes are kept.
pub(crate) struct Tail {
    /// `None` once nobody can write to it.
    pipe: Option<OwnedFd>,
    incoming: Vec<u8>,
    kept: VecDeque<u8>,
}

impl Tail {
    pub(crate) fn new(pipe: OwnedFd) -> Tail {
        Tail { pipe: Some(pipe), incoming: Vec::new(), kept: VecDeque::new() }
    }

    /// Reads once; returns the number of bytes, 0 if there are none now.
    fn read(&mut self) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        // On the stack, the buffer would cost every run four page faults, 3 % of its CPU time, for the room alone.
        self.incoming.clear();
        self.incoming.reserve_exact(READ_BYTES);
        match rustix::io::read(pipe, spare_capacity(&mut self.incoming)) {
            Ok(length @ 1..) => {
                self.kept.extend(&self.incoming);
                let surplus = self.kept.len().saturating_sub(KEPT_BYTES);
                self.kept.drain(..surplus);
                length
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            _ => {
                self.pipe = None;
                0
            }
        }
    }

    /// The kept bytes, including the ones that are in the pipe now.
    fn finish(mut self) -> Vec<u8> {
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
