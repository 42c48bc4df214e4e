//! The trusted roots: the system's, found as Go's `crypto/x509` finds them, and `-ca-file`.

use std::fs::{DirEntry, File};
use std::io::{Read as _, Take};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::roots::{self, Roots};
use crate::failure::{Failure, Reason, Stage, system_error};
use crate::read::{self, ReadError};
use crate::until::{Ended, Until};

/// The bundles that Go tries on Linux (`crypto/x509/root_linux.go`, Go 1.26); the first readable one is used.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The directories of single roots that Go reads on Linux; all are used.
const SYSTEM_DIRS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// A larger file is not a bundle (for example `/dev/zero`).
const MAX_BUNDLE_BYTES: usize = 16 * 1024 * 1024;

/// The limit for all files of `SSL_CERT_DIR` together. They are read during a handshake, where neither the deadline nor
/// a signal can interrupt.
const MAX_DIRECTORY_BYTES: u64 = 2 * MAX_BUNDLE_BYTES as u64;

const PIPE_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct TrustStore {
    /// `-ca-file`, in addition to the others.
    pub extra: Option<PathBuf>,
    /// PEM text given in place of `-ca-file`, with its origin.
    pub extra_pem: Option<(String, Vec<u8>)>,
    /// Bundles; the first readable one is used.
    pub files: Vec<PathBuf>,
    pub dirs: Vec<PathBuf>,
}

impl Default for TrustStore {
    fn default() -> TrustStore {
        TrustStore {
            extra: None,
            extra_pem: None,
            files: SYSTEM_FILES.map(PathBuf::from).into(),
            dirs: SYSTEM_DIRS.map(PathBuf::from).into(),
        }
    }
}

impl TrustStore {
    /// Reads `-ca-file` at once if it is a pipe, whose text another program needs, too.
    pub(crate) fn read_pipe(&mut self, until: &Until<'_>) -> Result<(), Failure> {
        if let Some(path) = self.extra.take_if(|path| path.exists() && !path.is_file() && !path.is_dir()) {
            self.extra_pem = Some((path.display().to_string(), read_ca_file(&path, until)?));
        }
        Ok(())
    }

    /// Reads `-ca-file`, and `SSL_CERT_FILE` if it is a pipe. The others are read when they are needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedTrust, Failure> {
        let mut read = Vec::new();
        match (&self.extra, &self.extra_pem) {
            (Some(path), _) => {
                let pem = read_ca_file(path, until)?;
                read.push((path.clone(), certificates(&pem, &|why| unusable(path, &why))?));
            }
            (None, Some((origin, pem))) => {
                let wrong = |why| {
                    let message = format!("the CA certificate in {origin} {why}");
                    Failure::failed(Stage::Exchange, Reason::CaFileInvalid, message)
                };
                read.push((origin.into(), certificates(pem, &wrong)?));
            }
            (None, None) => {}
        }
        // The system's own bundles are several, and regular files.
        if let [named] = self.files.as_slice()
            && let Some(certificates) = read_pipe(named, until)?
        {
            read.push((named.clone(), certificates));
        }
        Ok(LoadedTrust { places: self, read })
    }

    /// The places that were searched, for messages, and the error if none could be read.
    pub fn describe(&self) -> String {
        let origin = self.extra_pem.as_ref().map(|(origin, _)| origin.clone());
        let extra = self.extra.as_ref().map(|path| path.display().to_string()).or(origin);
        // A single file comes from SSL_CERT_FILE; several are possible places of a bundle.
        let is_named = self.files.len() == 1;
        let mut bundles = self.files.iter().filter_map(|file| match unreadable(file) {
            None => Some(file.display().to_string()),
            Some(why) => is_named.then(|| format!("{} ({why})", file.display())),
        });
        let bundle = bundles.next();
        let dirs = self.dirs.iter().filter_map(|dir| match dir.read_dir() {
            Ok(_) => Some(dir.display().to_string()),
            Err(_) if SYSTEM_DIRS.iter().any(|system| Path::new(system) == dir) => None,
            Err(_) => Some(format!("{} (which cannot be read)", dir.display())),
        });
        let places: Vec<String> = extra.into_iter().chain(bundle).chain(dirs).collect();
        if places.is_empty() {
            format!("{} and the other usual places", SYSTEM_FILES[0])
        } else {
            places.join(", ")
        }
    }

    pub(super) fn describe_empty(&self) -> String {
        format!("no CA certificates found in {}; install ca-certificates, or use -ca-file", self.describe())
    }
}

/// The places of the roots, and the files that have been read already.
#[derive(Clone, Debug, Default)]
pub struct LoadedTrust {
    pub places: TrustStore,
    /// The certificates of the files that had to be read first, each with its place.
    read: Vec<(PathBuf, Vec<CertificateDer<'static>>)>,
}

impl LoadedTrust {
    /// The warning that the store has no certificate at all, if that is so.
    pub(crate) fn explain_empty(&self) -> Option<String> {
        let none = CertificateDer::from(Vec::new());
        let mut roots = Roots::for_chain(&none, &[]);
        self.search_files(&mut roots);
        self.search_dirs(&mut roots);
        (!roots.has_seen_any).then(|| self.places.describe_empty())
    }

    /// Adds the certificates that matter for a chain from `-ca-file` and the first readable bundle.
    pub(super) fn search_files(&self, roots: &mut Roots<'_>) {
        for (place, certificates) in &self.read {
            let place = Rc::new(place.clone());
            for der in certificates {
                roots.take(der, &place);
            }
        }
        let mut files = self.places.files.iter();
        if let Some((pem, path)) =
            files.find_map(|path| Some((open_bundle(path, MAX_BUNDLE_BYTES as u64)?, path)))
        {
            roots.take_all(pem, path);
        }
    }

    /// Searches each file of the directories. As in Go, links to files in the same directory are skipped, because their
    /// targets are read.
    pub(super) fn search_dirs(&self, roots: &mut Roots<'_>) {
        for dir in &self.places.dirs {
            let mut left = MAX_DIRECTORY_BYTES;
            let entries = dir.read_dir().into_iter().flatten().flatten();
            for path in entries.filter(|entry| !is_link_to_neighbor(entry)).map(|entry| entry.path()) {
                let most = left.min(MAX_BUNDLE_BYTES as u64);
                if let Some(mut bundle) = open_bundle(&path, most) {
                    roots.take_all(&mut bundle, &path);
                    left -= most - bundle.limit();
                }
            }
        }
    }
}

fn is_link_to_neighbor(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_symlink())
        && std::fs::read_link(entry.path()).is_ok_and(|target| target.components().count() == 1)
}

/// Opens a regular file. Type and size are checked on the open file, because the path may change in between.
fn open_bundle(path: &Path, max_bytes: u64) -> Option<Take<File>> {
    let file = read::open(path).ok()?;
    file.metadata().ok().filter(|about| about.is_file() && about.len() <= max_bytes)?;
    Some(file.take(max_bytes))
}

/// Why a bundle cannot be read, for the message that lists the places that were searched.
fn unreadable(path: &Path) -> Option<String> {
    let Ok(about) = read::open(path).and_then(|file| file.metadata().map_err(ReadError::Io)) else {
        return Some("which cannot be read".to_owned());
    };
    let is_pipe = about.file_type().is_fifo();
    if !(about.is_file() || is_pipe) {
        return Some("which is not a file".to_owned());
    }
    let too_large = about.len() > MAX_BUNDLE_BYTES as u64;
    too_large.then(|| format!("which is larger than {} MiB", MAX_BUNDLE_BYTES / 1024 / 1024))
}

/// Reads `SSL_CERT_FILE` before any connection if it is a pipe, which can be read only once and may block. Returns
/// `None` for other files, which are read when needed.
fn read_pipe(path: &Path, until: &Until<'_>) -> Result<Option<Vec<CertificateDer<'static>>>, Failure> {
    if !std::fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo()) {
        return Ok(None);
    }
    let patience = Until::in_time(PIPE_PATIENCE);
    let until = Until { deadline: until.deadline.min(patience.deadline), ..*until };
    match read::open(path).and_then(|file| read::all(&file, MAX_BUNDLE_BYTES, &until)) {
        Ok(pem) => Ok(Some(roots::certificates(&pem[..]))),
        Err(ReadError::Ended(ended @ (Ended::Interrupted(_) | Ended::Orphaned))) => {
            Err(ended.while_reading(Stage::Exchange, &format!("SSL_CERT_FILE {}", path.display())))
        }
        Err(_) => Ok(Some(Vec::new())),
    }
}

fn read_ca_file(path: &Path, until: &Until<'_>) -> Result<Vec<u8>, Failure> {
    let read = read::open(path).and_then(|file| read::all(&file, MAX_BUNDLE_BYTES, until));
    read.map(|pem| pem.to_vec()).map_err(|error| match error {
        ReadError::Io(error) => unusable(path, &format!("cannot be read: {}", system_error(&error))),
        ReadError::TooLarge => {
            unusable(path, &format!("is larger than {} MiB", MAX_BUNDLE_BYTES / 1024 / 1024))
        }
        ReadError::Ended(ended) => {
            ended.while_reading(Stage::Exchange, &format!("the CA file {}", path.display()))
        }
    })
}

fn unusable(path: &Path, why: &str) -> Failure {
    let message = format!("the CA file {} {why}; check -ca-file", path.display());
    Failure::failed(Stage::Exchange, Reason::CaFileInvalid, message)
}

fn certificates(
    pem: &[u8],
    wrong: &dyn Fn(String) -> Failure,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let certificates = roots::certificates(pem);
    if certificates.is_empty() {
        return Err(wrong("holds no PEM certificates".to_owned()));
    }
    // A certificate that cannot be parsed would be ignored silently.
    match certificates.iter().position(|cert| webpki::anchor_from_trusted_cert(cert).is_err()) {
        Some(at) => Err(wrong(format!("holds a certificate that cannot be parsed (number {})", at + 1))),
        None => Ok(certificates),
    }
}
