//! Places where the tokens of `exec` must not appear.

use super::exec::exec;
use crate::support::api::shell;
use crate::support::job::Folder;
use crate::support::{Sandbox, file_line, finish, kill, run, start};

#[test]
fn the_last_of_the_output_does_not_show_the_token() {
    let sandbox = Sandbox::start(&[]);
    let ended = run(shell(exec(&sandbox).arg("-output=on-failure"), "echo \"got $SERVICE_TOKEN\"; exit 1"));
    assert_eq!((ended.status, ended.stderr.as_str()), (1, "got REDACTED\n"));
}

#[test]
fn no_log_holds_a_token() {
    for format in ["text", "json"] {
        let sandbox = Sandbox::start(&[]);
        let args = ["-logx.debug=true", &format!("-log-format={format}"), "-output=discard"];
        let mut command = exec(&sandbox);
        let ended = run(shell(command.args(args).env("RUST_LOG", "trace"), "exit 0"));
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(ended.stderr.contains("asking") && ended.stderr.contains("deleted"), "{ended:?}");
        assert!(!ended.stderr.contains("gt-"), "{ended:?}");
    }
}

#[test]
fn the_admin_token_is_removed_from_the_process_environment() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let ready = folder.path("ready");
    let child = start(shell(&mut exec(&sandbox), &format!("echo > {}; exec sleep 60", ready.display())));
    file_line(&ready);
    let environ = std::fs::read(format!("/proc/{}/environ", child.id()));
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    kill(child.id(), libc::SIGTERM);
    assert_eq!(finish(child).status, 143);
    let admin = sandbox.var("GAFAELFAWR_ADMIN_TOKEN").as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(admin.len()).any(|window| window == admin);
    assert!(!holds(&cmdline));
    // Other users than root cannot open it at all.
    match environ {
        Ok(environ) => assert!(!holds(&environ)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
}
