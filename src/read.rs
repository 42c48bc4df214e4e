//! Reads a file that may be a pipe (`<(…)`), until a deadline or a signal.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::sys::descriptors::close_on_exec;
use crate::until::{Ended, Until};

/// Larger than most keys. All of it is zeroed, byte by byte: with 4 KiB, that was 2 % of a run without exchange.
const USUAL_BYTES: usize = 1024;
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

pub(crate) fn all(file: &File, max_bytes: usize, until: &Until<'_>) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Enough for most files, so that there is only one copy; a larger file makes it grow.
    let mut bytes = Zeroizing::new(Vec::with_capacity(USUAL_BYTES));
    loop {
        // Before each read: standard input may block, and its flags are not this program's to change.
        until.wait_for(file.as_fd(), PollFlags::IN).map_err(ReadError::Ended)?;
        bytes.reserve(1);
        match rustix::io::read(file, spare_capacity(&mut *bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() > max_bytes => return Err(ReadError::TooLarge),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(ReadError::Io(errno.into())),
        }
    }
}
