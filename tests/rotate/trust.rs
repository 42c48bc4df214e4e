//! Another user can put files into a directory such as /tmp before `rotate` does. As root, `rotate` kept the owner of
//! FILE, who could then read the new token, and deleted the tokens that a FILE.state of that user listed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::{DUE, Outcome as _, Rotated, now};
use crate::support::issuer::{ISSUERS, STACKSTATE};
use crate::support::{Ended, run};
use crate::wild::{NOBODY, has_other_users};

fn open_to(mode: u32, folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn is_refused(ended: &Ended, name: &str, why: &str) {
    ended.failed_with(
        125,
        &["cannot trust ", &format!("/{name}: {why}"), "; use a directory that no other user can write to"],
    );
}

#[test]
fn a_file_that_another_user_may_have_put_there_is_not_obeyed() {
    if !has_other_users() {
        return;
    }
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        let (token, tokens) = (rotated.token(), rotated.tokens());
        for mode in [0o1777, 0o777, 0o770] {
            for name in ["token", "token.state", "token.lock"] {
                let path = rotated.folder.path(name);
                open_to(mode, rotated.folder.root());
                chown(&path, Some(NOBODY), None).unwrap();
                let why = "it belongs to another user (uid 65534), who may have put it there";
                is_refused(&rotated.rotate(&[DUE]), name, why);
                assert_eq!((rotated.token(), rotated.tokens()), (token.clone(), tokens.clone()));
                open_to(0o700, rotated.folder.root());
                rotated.rotate(&[]).did_nothing();
                chown(&path, Some(0), None).unwrap();
            }
        }
        // An empty file costs its owner nothing.
        let missing = Rotated::missing(issuer);
        chown(missing.folder.write("token", ""), Some(NOBODY), None).unwrap();
        open_to(0o1777, missing.folder.root());
        is_refused(&missing.rotate(&[]), "token", "it belongs to another user");
        assert_eq!(issuer.creations(&missing.sandbox), 0);
    }
}

/// The owner of FILE could name any service token in FILE.state, and the admin token of root deleted it.
#[test]
fn a_state_file_cannot_name_a_token_that_rotate_did_not_create() {
    let rotated = Rotated::fresh(STACKSTATE);
    let create = ["create", "-n=production", "--roles=stackstate-power-user"];
    run(&mut STACKSTATE.command(&rotated.sandbox, &create)).succeeded();
    let path = rotated.folder.path("token.state");
    let state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let expires = now() + 3600;
    let token = json!({
        "id": "production", "fingerprint": "", "created": now(), "expires": expires, "installed": false, "keep": false,
    });
    let attempt = json!({"began": now(), "expires": expires, "name": "production"});
    for (list, entry) in [("tokens", token), ("attempts", attempt)] {
        let mut state = state.clone();
        state[list].as_array_mut().unwrap().push(entry);
        fs::write(&path, state.to_string()).unwrap();
        rotated.rotate(&[]).failed_with(125, &["token.state is damaged"]);
        assert_eq!(rotated.tokens().len(), 2);
    }
}

#[test]
fn a_directory_that_another_user_may_have_put_there_is_not_trusted() {
    if !has_other_users() {
        return;
    }
    for issuer in ISSUERS {
        for (mode, is_trusted) in [(0o1777, false), (0o775, false), (0o755, true), (0o700, true)] {
            let rotated = Rotated::missing(issuer);
            let directory = rotated.folder.path("app/inner");
            fs::create_dir_all(&directory).unwrap();
            open_to(mode, rotated.folder.root());
            let file = directory.join("token");
            fs::write(&file, "").unwrap();
            for path in [directory.parent().unwrap(), &directory, &file] {
                chown(path, Some(NOBODY), None).unwrap();
            }
            let mut command = issuer.command(&rotated.sandbox, &[&["rotate"], issuer.new].concat());
            let ended = crate::support::run(command.arg("--token-file").arg(&file));
            if is_trusted {
                ended.rotated();
                // Otherwise that user could not rotate it any more.
                for name in ["token", "token.lock", "token.state"] {
                    let metadata = directory.join(name).metadata().unwrap();
                    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (NOBODY, 0o600), "{name}");
                }
            } else {
                is_refused(&ended, "token", "it belongs to another user");
                assert_eq!(issuer.creations(&rotated.sandbox), 0);
            }
        }
    }
}

#[test]
fn a_link_to_the_state_of_another_token_is_not_obeyed() {
    for issuer in ISSUERS {
        let rotated = Rotated::fresh(issuer);
        for name in ["token.state", "token.lock"] {
            let (path, other) = (rotated.folder.path(name), rotated.folder.path("other"));
            fs::hard_link(&path, &other).unwrap();
            open_to(0o1777, rotated.folder.root());
            is_refused(&rotated.rotate(&[DUE]), name, "it is a hard link");
            open_to(0o700, rotated.folder.root());
            rotated.rotate(&[]).did_nothing();
            fs::remove_file(&other).unwrap();
        }
        let (state, other) = (rotated.folder.path("token.state"), rotated.folder.path("other"));
        fs::rename(&state, &other).unwrap();
        symlink(&other, &state).unwrap();
        is_refused(&rotated.rotate(&[DUE]), "token.state", "it is a symbolic link");
        fs::rename(&other, &state).unwrap();
        rotated.rotate(&[DUE]).rotated();
        rotated.is_settled();
    }
}
