//! Where the key comes from: a file (or a pipe: `<(…)`), or the variable itself.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::PrivateKey;
use crate::error::{Failure, Stage};
use crate::secret::scrub_stack;
use crate::signal::Signals;

/// A file that is larger is no key.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Where the private key is.
pub enum KeySource {
    /// In this file.
    File(PathBuf),
    /// The JWK itself, from the variable.
    Inline(SecretString),
    /// Neither flag nor variable names one. It is the run that fails of it, so that its metrics say so.
    Missing,
}

impl KeySource {
    /// For messages.
    pub fn describe(&self) -> String {
        match self {
            KeySource::File(path) => path.display().to_string(),
            KeySource::Inline(_) => "in MONITORING_SIGNER_KEY".to_owned(),
            KeySource::Missing => "(none)".to_owned(),
        }
    }

    /// Reads the key. A pipe may keep us waiting: until `deadline`, or until a signal ends the run.
    pub fn load(&self, signals: &Signals, deadline: Instant) -> Result<PrivateKey, Failure> {
        let key = match self {
            KeySource::Missing => {
                return Err(Failure::ours(
                    Stage::Sign,
                    "no signing key: set MONITORING_SIGNER_KEY or -monitoring-signer-key to the path of the private JWK",
                ));
            }
            KeySource::Inline(jwk) => PrivateKey::from_jwk(jwk.expose_secret().as_bytes()),
            KeySource::File(path) => {
                let json = read(path, signals, deadline).map_err(|error| error.into_failure(path))?;
                PrivateKey::from_jwk(&json)
            }
        };
        scrub_stack();
        key.map_err(|refusal| self.refuse(&refusal))
    }

    /// The failure of a key that cannot be used.
    pub fn refuse(&self, refusal: &str) -> Failure {
        Failure::ours(Stage::Sign, format!("cannot use the key {}: {refusal}", self.describe()))
    }
}

enum ReadError {
    Io(io::Error),
    TooLarge,
    Timeout,
    Interrupted(Failure),
}

impl ReadError {
    fn into_failure(self, path: &Path) -> Failure {
        let path = path.display();
        match self {
            ReadError::Io(error) => {
                let advice = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        format!("let uid {} read it", rustix::process::geteuid().as_raw())
                    }
                    _ => "set -monitoring-signer-key or MONITORING_SIGNER_KEY".to_owned(),
                };
                Failure::ours(Stage::Sign, format!("cannot read the key {path}: {error}; {advice}"))
            }
            ReadError::TooLarge => Failure::ours(
                Stage::Sign,
                format!(
                    "cannot use the key {path}: it is larger than {} KiB, so no JWK",
                    MAX_KEY_BYTES / 1024
                ),
            ),
            ReadError::Timeout => {
                Failure::timeout(Stage::Sign, format!("timed out while reading the key {path}"))
            }
            ReadError::Interrupted(failure) => failure,
        }
    }
}

fn read(path: &Path, signals: &Signals, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Opening a pipe that nobody writes to must not hang.
    let flags =
        i32::try_from((rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits()).unwrap_or(0);
    let mut file =
        std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(ReadError::Io)?;
    // Larger than any key that is accepted, so that there is one copy; a larger file grows it.
    let mut json = Zeroizing::new(Vec::with_capacity(4 * 1024));
    loop {
        wait_readable(&file, signals, deadline)?;
        let left = u64::try_from(MAX_KEY_BYTES + 1 - json.len()).unwrap_or_default();
        // To the end of what is there now: of a file that is all, of a pipe what has been written.
        match file.by_ref().take(left).read_to_end(&mut json) {
            Ok(_) if json.len() > MAX_KEY_BYTES => return Err(ReadError::TooLarge),
            Ok(_) => return Ok(json),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(ReadError::Io(error)),
        }
    }
}

fn wait_readable(file: &std::fs::File, signals: &Signals, deadline: Instant) -> Result<(), ReadError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds =
            [PollFd::new(file, PollFlags::IN), PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        let ready = poll(&mut fds, rustix::event::Timespec::try_from(left).ok().as_ref());
        if fds[1].revents().contains(PollFlags::IN)
            && let Some(signal) = signals.take_interrupt()
        {
            return Err(ReadError::Interrupted(Failure::signal(Stage::Sign, signal)));
        }
        match ready {
            Ok(0) => return Err(ReadError::Timeout),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(ReadError::Io(errno.into())),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => {}
        }
    }
}
