//! Decides whether a file may be obeyed: not if another user can have put it where it is.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const WRITABLE_BY_OTHERS: u32 = 0o022;

/// True for this user and for root.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw() || uid == 0
}

/// Tells why the file at `path`, an absolute path without symbolic links, may have been put there by a user who should
/// not decide what it is. A file of another user is trusted where only trusted users, or that user alone, could have
/// put it: root may rotate a token in `/home/app` for the user `app`, but not in `/tmp`.
pub(crate) fn distrust(path: &Path, file: &Metadata) -> io::Result<Option<String>> {
    let Some(folder) = path.parent() else { return Ok(None) };
    let metadata = folder.symlink_metadata()?;
    let is_closed = is_trusted(metadata.uid()) && metadata.mode() & WRITABLE_BY_OTHERS == 0;
    let uid = file.uid();
    if is_closed || (metadata.uid() == uid && !is_trusted(uid) && distrust(folder, &metadata)?.is_none()) {
        return Ok(None);
    }
    Ok(if !is_trusted(uid) {
        Some(format!("it belongs to another user (uid {uid}), who may have put it there"))
    } else if file.is_file() && file.nlink() > 1 {
        Some("it is a hard link, which another user may have put there".to_owned())
    } else {
        None
    })
}
