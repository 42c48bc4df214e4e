//! Reads a file that may be a pipe (`<(…)`), until a deadline or a signal.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use zeroize::Zeroizing;

use crate::failure::{Failure, Reason, Stage};
use crate::go::duration;
use crate::sys::descriptors::{close_on_exec, wait_for};
use crate::sys::signal::{Signal, Signals};

/// Larger than most keys. All of it is zeroed, byte by byte: with 4 KiB, that was 2 % of a run without exchange.
const USUAL_BYTES: usize = 1024;
/// How long to wait for a pipe if no run sets a limit.
pub(crate) const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// When to stop waiting for the writer of a pipe.
#[derive(Clone, Copy)]
pub struct Until<'a> {
    /// When waiting began, for the message.
    pub since: Instant,
    pub deadline: Instant,
    /// The signals that end the run, if they are caught.
    pub signals: Option<&'a Signals>,
    /// Readable once the parent process has died, if it is followed.
    pub parent: Option<BorrowedFd<'a>>,
}

impl Until<'_> {
    pub fn at(deadline: Instant) -> Until<'static> {
        Until { since: Instant::now(), deadline, signals: None, parent: None }
    }

    /// For `patience` from now on. If that is too long for a clock, for the default.
    pub fn in_time(patience: Duration) -> Until<'static> {
        let now = Instant::now();
        Until { since: now, ..Until::at(now.checked_add(patience).unwrap_or(now + DEFAULT_PATIENCE)) }
    }
}

/// Some editors write this in front of a text (Unicode, 23.8).
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotText {
    /// They are UTF-16, which some other systems write.
    Utf16,
    Bytes,
}

/// The text of a small file that a person may have written: UTF-8, with or without a byte order mark.
pub(crate) fn as_text(bytes: &[u8]) -> Result<&str, NotText> {
    // ASCII in UTF-16 has a zero byte in each pair.
    let alternates = |at: usize| bytes.get(at..at + 2).is_some_and(|pair| (pair[0] == 0) != (pair[1] == 0));
    // UTF-32 begins like UTF-16.
    if bytes.starts_with(b"\xff\xfe\0\0") {
        return Err(NotText::Bytes);
    }
    if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || (alternates(0) && alternates(2)) {
        return Err(NotText::Utf16);
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| NotText::Bytes)
}

#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    TooLarge,
    Ended(Ended),
}

#[derive(Debug)]
pub(crate) enum Ended {
    /// The limit.
    Timeout(Duration),
    Interrupted(Signal),
    Orphaned,
}

impl Ended {
    pub(crate) fn failure(&self, stage: Stage, what: &str) -> Failure {
        match self {
            Ended::Timeout(after) => Failure {
                reason: Reason::TimeoutFile,
                ..Failure::timeout(
                    stage,
                    format!(
                        "timed out after {} while reading {what}; if it is a pipe, check the process that writes to it",
                        duration::show(*after)
                    ),
                )
            },
            Ended::Interrupted(signal) => Failure {
                message: format!("interrupted by {signal} while reading {what}"),
                ..Failure::signal(stage, *signal)
            },
            Ended::Orphaned => Failure::orphaned(stage),
        }
    }
}

/// Standard input as a file of its own, for a secret: this process and its command get an empty one instead. A file
/// could be read again from its beginning.
pub(crate) fn standard_input() -> Result<File, ReadError> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(ReadError::Io)?;
    empty_standard_input()?;
    Ok(File::from(stdin))
}

fn empty_standard_input() -> Result<(), ReadError> {
    let empty = File::open("/dev/null").and_then(|null| Ok(rustix::stdio::dup2_stdin(null)?));
    empty.map_err(ReadError::Io)
}

/// Opens a file without waiting for a writer.
pub(crate) fn open(path: &Path) -> Result<File, ReadError> {
    open_with(path, OFlags::empty())
}

/// As [`open`], if `path` is not a symbolic link.
pub(crate) fn open_without_link(path: &Path) -> Result<File, ReadError> {
    open_with(path, OFlags::NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlags) -> Result<File, ReadError> {
    let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(ReadError::Io)
}

/// Opens a file that holds a secret. If the path names an inherited descriptor (`/dev/fd/N`), that descriptor is closed
/// on exec, and standard input is replaced by an empty one, whatever its name: the command could read the secret from it.
pub(crate) fn open_secret(path: &Path) -> Result<File, ReadError> {
    let file = open(path)?;
    let descriptor = ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"]
        .into_iter()
        .find_map(|folder| path.strip_prefix(folder).ok()?.to_str()?.parse().ok());
    if let Some(descriptor) = descriptor {
        close_on_exec(descriptor);
    }
    if descriptor == Some(0) || path == Path::new("/dev/stdin") || is_standard_input(&file) {
        empty_standard_input()?;
    }
    Ok(file)
}

/// True if the file is what standard input leads to. Terminals and `/dev/null` do not count: the command cannot read
/// again what came from them.
fn is_standard_input(file: &File) -> bool {
    // Standard input first: most runs have /dev/null there.
    let Ok(stdin) = fstat(rustix::stdio::stdin()) else { return false };
    FileType::from_raw_mode(stdin.st_mode) != FileType::CharacterDevice
        && fstat(file).is_ok_and(|file| (file.st_dev, file.st_ino) == (stdin.st_dev, stdin.st_ino))
}

pub(crate) fn all(
    mut file: File,
    max_bytes: usize,
    until: &Until<'_>,
) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Enough for most files, so that there is only one copy; a larger file makes it grow.
    let mut bytes = Zeroizing::new(Vec::with_capacity(USUAL_BYTES));
    // Standard input, whose flags are not this program's to change.
    let blocks = !fcntl_getfl(&file).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK));
    loop {
        wait_readable(&file, until)?;
        let left = u64::try_from((max_bytes + 1).saturating_sub(bytes.len())).unwrap_or_default();
        // Reads what is there now: all of a file, and what has been written to a pipe.
        let mut now = file.by_ref().take(left);
        let result = if blocks {
            // A second read would wait.
            let mut part = Zeroizing::new([0; USUAL_BYTES]);
            now.read(&mut *part).inspect(|&count| bytes.extend_from_slice(&part[..count]))
        } else {
            now.read_to_end(&mut bytes)
        };
        match result {
            Ok(_) if bytes.len() > max_bytes => return Err(ReadError::TooLarge),
            Ok(count) if blocks && count > 0 => {}
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(ReadError::Io(error)),
        }
    }
}

fn wait_readable(file: &File, until: &Until<'_>) -> Result<(), ReadError> {
    loop {
        let left = until.deadline.saturating_duration_since(Instant::now());
        let signals = until.signals.map(AsFd::as_fd);
        let ready = wait_for([Some(file.as_fd()), until.parent, signals], left);
        if let Some(signal) = until.signals.and_then(Signals::take_interrupt) {
            return Err(ReadError::Ended(Ended::Interrupted(signal)));
        }
        match ready {
            Ok([_, true, _]) => return Err(ReadError::Ended(Ended::Orphaned)),
            Ok([true, ..]) => return Ok(()),
            Ok([.., false]) => return Err(ReadError::Ended(Ended::Timeout(until.deadline - until.since))),
            // A signal that does not end the run.
            Ok([.., true]) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(ReadError::Io(errno.into())),
        }
    }
}
