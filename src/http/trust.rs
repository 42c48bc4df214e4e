//! The trusted roots: the system's, found as Go's `crypto/x509` finds them, and `-ca-file`.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustls::pki_types::CertificateDer;

use super::roots::{self, MAX_BUNDLE_BYTES, Roots};
use crate::failure::{Failure, Reason, Stage, system_error};
use crate::read::{self, ReadError, Until};

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
    /// Reads `-ca-file`, and `SSL_CERT_FILE` if it is a pipe. The others are read when they are needed.
    pub fn load(self, until: &Until<'_>) -> Result<LoadedTrust, Failure> {
        let mut read = Vec::new();
        match (&self.extra, &self.extra_pem) {
            (Some(path), _) => read.push((path.clone(), read_ca_file(path, until)?)),
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
            && let Some(pem) = roots::read_pipe(named, until)?
        {
            read.push((named.clone(), roots::certificates(&pem)));
        }
        Ok(LoadedTrust { places: self, read })
    }

    /// The places that were searched, for messages, and the error if none could be read.
    pub fn describe(&self) -> String {
        let shown = |path: &Path, why: Option<String>| match why {
            Some(why) => format!("{} ({why})", path.display()),
            None => path.display().to_string(),
        };
        // A single file comes from SSL_CERT_FILE; several are possible places of a bundle.
        let bundle = match self.files.as_slice() {
            [named] => Some(shown(named, roots::unreadable(named))),
            system => system
                .iter()
                .find(|file| roots::unreadable(file).is_none())
                .map(|file| file.display().to_string()),
        };
        let dirs = self.dirs.iter().filter_map(|dir| match dir.read_dir() {
            Ok(_) => Some(shown(dir, None)),
            Err(_) if SYSTEM_DIRS.iter().any(|system| Path::new(system) == dir) => None,
            Err(_) => Some(shown(dir, Some("which cannot be read".to_owned()))),
        });
        let origin = self.extra_pem.as_ref().map(|(origin, _)| origin.clone());
        let extra = self.extra.as_deref().map(|path| shown(path, None)).or(origin);
        let places: Vec<String> = extra.into_iter().chain(bundle).chain(dirs).collect();
        if places.is_empty() { "any place that was searched".to_owned() } else { places.join(", ") }
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
            files.find_map(|path| Some((roots::open_bundle(path, MAX_BUNDLE_BYTES as u64)?, path)))
        {
            roots.take_all(pem, path);
        }
    }

    pub(super) fn search_dirs(&self, roots: &mut Roots<'_>) {
        for dir in &self.places.dirs {
            roots::each_bundle(dir, |path, pem| roots.take_all(pem, path));
        }
    }
}

fn read_ca_file(path: &Path, until: &Until<'_>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let what = format!("the CA file {}", path.display());
    let wrong = |why: String| {
        Failure::failed(Stage::Exchange, Reason::CaFileInvalid, format!("{what} {why}; set -ca-file"))
    };
    let read = read::open(path).and_then(|file| read::all(file, MAX_BUNDLE_BYTES, until));
    let pem = read.map_err(|error| match error {
        ReadError::Io(error) => wrong(format!("cannot be read: {}", system_error(&error))),
        ReadError::TooLarge => wrong(format!("is larger than {} MiB", MAX_BUNDLE_BYTES / 1024 / 1024)),
        ReadError::Ended(ended) => ended.failure(Stage::Exchange, &what),
    })?;
    certificates(&pem, &wrong)
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
