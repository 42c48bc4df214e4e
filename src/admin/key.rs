//! `key generate|public|inspect`.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use zeroize::Zeroizing;

use crate::cli::Line;
use crate::cli::flags::{ALGORITHM, GenerateFlags, InspectFlags, KeyFileFlags, PublicFlags, TIMEOUT};
use crate::config::may_hold_a_secret;
use crate::failure::{Failure, Reason, Stage, brief, printable};
use crate::key::convert::{public_half, read, thumbprint, to_json};
use crate::key::generate::private_jwk;
use crate::key::load::read_file;
use crate::key::{self, Unusable, name_of};
use crate::new_file::{NewFile, unwritten};
use crate::stdout;
use crate::until::Until;

/// The JWK file of a command line, and its content.
struct KeyFile {
    path: PathBuf,
    json: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    fn read(flags: &KeyFileFlags, operands: &[OsString]) -> Result<KeyFile, Failure> {
        refuse_secrets(operands)?;
        let path = match operands {
            [path] => PathBuf::from(path),
            [] => return Err(Failure::usage("missing FILE: expected the path of one JWK")),
            many => {
                let words = many.iter().map(|word| brief(word)).collect::<Vec<_>>().join(" ");
                return Err(Failure::usage(format!("expected one FILE, got {}: {words}", many.len())));
            }
        };
        let until = Until::in_time(TIMEOUT.or(flags.timeout));
        let json = read_file(&path, &until, || "give the path of a JWK".to_owned())?;
        Ok(KeyFile { path, json })
    }

    fn refuse(&self, refusal: &Unusable) -> Failure {
        Failure::failed(
            Stage::Sign,
            Reason::KeyInvalid,
            format!("cannot use the key {}: {refusal}", self.path.display()),
        )
    }
}

/// Fails if one of the words is more likely to be a key, or a URL with a credential, than the name of a file.
fn refuse_secrets(words: &[OsString]) -> Result<(), Failure> {
    let is_file = |word: &OsString| Path::new(word).symlink_metadata().is_ok();
    if words.iter().any(|word| !is_file(word) && may_hold_a_secret(word)) {
        let message = "expected the path of a file, not a key or a URL; it is not shown";
        return Err(Failure::usage(message));
    }
    Ok(())
}

pub(crate) fn public(line: &Line<PublicFlags>) -> Result<String, Failure> {
    let file = KeyFile::read(&line.flags.file, &line.operands)?;
    let public = read(&file.json).and_then(|jwk| public_half(&jwk)).and_then(|public| to_json(&public));
    let public = public.map_err(|refusal| file.refuse(&refusal))?;
    let as_set = line.flags.jwks.unwrap_or_default();
    Ok(if as_set { format!("{{\"keys\":[{public}]}}\n") } else { public + "\n" })
}

pub(crate) fn inspect(line: &Line<InspectFlags>) -> Result<String, Failure> {
    let file = KeyFile::read(&line.flags.file, &line.operands)?;
    key::inspect(&file.json).map_err(|refusal| file.refuse(&refusal))
}

/// Writes FILE (0600) and FILE.pub, and says so.
pub(crate) fn generate(line: &Line<GenerateFlags>) -> Result<String, Failure> {
    refuse_secrets(&line.operands)?;
    if let Some(word) = line.operands.first() {
        return Err(Failure::usage(format!(
            "key generate takes no argument {}; name the file with --out",
            brief(word)
        )));
    }
    let GenerateFlags { alg, kid: key_id, out } = &line.flags;
    if out.is_none() && key_id.as_ref().is_some_and(|key_id| key_id.contains('/')) {
        return Err(Failure::usage("-kid: must not contain a slash unless --out names the file"));
    }
    let kind = ALGORITHM.or(*alg);
    let mut jwk = private_jwk(kind).map_err(not_created)?;
    let key_id = match key_id {
        Some(key_id) => key_id.clone(),
        // As `jwk-keygen --kid-rand`: padded.
        None => URL_SAFE.encode(thumbprint(&jwk).map_err(not_created)?),
    };
    jwk.set_key_id(&key_id);
    let private_path = out.clone().unwrap_or_else(|| format!("jwk_sig_{}_{key_id}", name_of(kind)).into());
    let public_path = with_suffix(&private_path, ".pub");
    let private_json = Zeroizing::new(to_json(&jwk).map_err(not_created)?);
    let public_json = public_half(&jwk).and_then(|public| to_json(&public)).map_err(not_created)?;
    // Half a key pair is useless, so both files are kept or none.
    let mut private = written(NewFile::private, &private_path, &private_json)?;
    let mut public = written(NewFile::public, &public_path, &public_json)?;
    let text = format!(
        "key ID:      {}\nprivate key: {}\npublic key:  {}\n",
        printable(&key_id),
        private_path.display(),
        public_path.display()
    );
    // Otherwise nobody would know of files with a random name.
    stdout::print(&text).map_err(|failure| failure.and("no key was kept"))?;
    private.keep();
    public.keep();
    Ok(String::new())
}

fn written(create: fn(&Path) -> io::Result<NewFile>, path: &Path, json: &str) -> Result<NewFile, Failure> {
    let file = create(path).and_then(|mut file| file.write_line(json).map(|()| file));
    file.map_err(unwritten(path, "--out"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn not_created(why: impl fmt::Display) -> Failure {
    Failure::failed(Stage::Sign, Reason::System, format!("cannot create a key: {why}"))
}
