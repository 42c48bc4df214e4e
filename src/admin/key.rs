//! `key generate|public|inspect`.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use zeroize::Zeroizing;

use crate::failure::{Failure, Reason, Stage, printable, system_error};
use crate::key::convert::{public_half, read, thumbprint, to_json};
use crate::key::generate::private_jwk;
use crate::key::inspect::inspect;
use crate::key::load::read_file;
use crate::key::{Algorithm, Unusable, algorithm};
use crate::new_file::NewFile;
use crate::read::Until;

pub(crate) enum Action {
    Generate {
        algorithm: Algorithm,
        /// `None`: the key's thumbprint.
        key_id: Option<String>,
        /// Where to write the private key; `None`: a name made of algorithm and key ID.
        out: Option<PathBuf>,
    },
    Public {
        file: KeyFile,
        /// Print a JWK set instead of one JWK.
        as_set: bool,
    },
    Inspect {
        file: KeyFile,
    },
}

/// A file with a JWK.
pub(crate) struct KeyFile {
    /// May be a pipe.
    pub path: PathBuf,
    /// How long to wait for a pipe.
    pub patience: Duration,
}

impl KeyFile {
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        read_file(&self.path, &Until::in_time(self.patience), "give the path of a JWK")
    }

    fn refuse(&self, refusal: &Unusable) -> Failure {
        failure(Reason::KeyInvalid, format!("cannot use the key {}: {refusal}", self.path.display()))
    }
}

/// Performs the action and returns the text for stdout.
pub(crate) fn act(action: Action) -> Result<String, Failure> {
    match action {
        Action::Generate { algorithm, key_id, out } => generate(algorithm, key_id, out),
        Action::Public { file, as_set } => {
            let json = file.read()?;
            let public = read(&json).and_then(|jwk| public_half(&jwk)).and_then(|public| to_json(&public));
            let public = public.map_err(|refusal| file.refuse(&refusal))?;
            Ok(if as_set { format!("{{\"keys\":[{public}]}}\n") } else { public + "\n" })
        }
        Action::Inspect { file } => inspect(&file.read()?).map_err(|refusal| file.refuse(&refusal)),
    }
}

/// Writes FILE (0600) and FILE.pub, and says so.
fn generate(kind: Algorithm, key_id: Option<String>, out: Option<PathBuf>) -> Result<String, Failure> {
    let mut jwk = private_jwk(kind).map_err(not_created)?;
    let key_id = match key_id {
        Some(key_id) => key_id,
        // As `jwk-keygen --kid-rand`: padded.
        None => URL_SAFE.encode(thumbprint(&jwk).map_err(not_created)?),
    };
    jwk.set_key_id(&key_id);
    let private_path = out.unwrap_or_else(|| format!("jwk_sig_{}_{key_id}", algorithm::name(kind)).into());
    let public_path = with_suffix(&private_path, ".pub");
    let private_json = Zeroizing::new(to_json(&jwk).map_err(not_created)?);
    let public_json = public_half(&jwk).and_then(|public| to_json(&public)).map_err(not_created)?;
    // Half a key pair is useless, so both files are kept or none.
    let mut private = written(NewFile::private, &private_path, &private_json)?;
    let mut public = written(NewFile::public, &public_path, &public_json)?;
    private.keep();
    public.keep();
    Ok(format!(
        "key ID:      {}\nprivate key: {}\npublic key:  {}\n",
        printable(&key_id),
        private_path.display(),
        public_path.display()
    ))
}

fn written(create: fn(&Path) -> io::Result<NewFile>, path: &Path, json: &str) -> Result<NewFile, Failure> {
    let file = create(path).and_then(|mut file| file.write_line(json).map(|()| file));
    file.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists => "choose another file with --out",
            _ => "check --out",
        };
        Failure::unwritten(format!("cannot write {}: {}; {advice}", path.display(), system_error(&error)))
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn not_created(why: impl fmt::Display) -> Failure {
    failure(Reason::System, format!("cannot create a key: {why}"))
}

fn failure(reason: Reason, message: String) -> Failure {
    Failure::failed(Stage::Sign, reason, message)
}
