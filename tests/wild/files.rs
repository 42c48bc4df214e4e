//! Files and folders: of other users, with other umasks, and missing ones.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{NOBODY, as_nobody, before_exec, has_other_users, offline, public_copy};
use crate::support::job::Folder;
use crate::support::{Ended, Sandbox, run, testdata, token};

/// A command that adds a line to a log.
struct Log(Folder);

impl Log {
    fn new() -> Log {
        let folder = Folder::new();
        fs::set_permissions(folder.root(), Permissions::from_mode(0o755)).unwrap();
        Log(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Runs with a cache; `change` sees the command before its words.
    fn run(&self, change: impl FnOnce(&mut Command)) -> Ended {
        let mut command = offline(&["-cache-ttl=1h", "-timeout=20s"]);
        change(&mut command);
        run(command.args(["--", "sh", "-c"]).arg(format!("echo run >>{}", self.path("log").display())))
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("log")).unwrap_or_default().lines().count()
    }
}

/// sentriz/gonic#391: under systemd with `DynamicUser=` there is no HOME, and the program failed. systemd sets
/// `CACHE_DIRECTORY` to the service's cache.
#[test]
fn a_cache_without_a_home_is_systemds_or_a_warning() {
    let log = Log::new();
    let systemd = log.path("var-cache");
    for _ in 0..2 {
        log.run(|command| {
            command.env_remove("HOME").env("CACHE_DIRECTORY", &systemd);
        })
        .succeeded();
    }
    assert_eq!(log.runs(), 1, "the second is a hit");
    let several = format!("{}:{}", log.path("first").display(), log.path("second").display());
    log.run(|command| {
        command.env_remove("HOME").env("CACHE_DIRECTORY", &several);
    })
    .succeeded();
    assert!(log.path("first").is_dir() && !log.path("second").exists());
    for (variable, value) in
        [("UNUSED", ""), ("CACHE_DIRECTORY", ""), ("HOME", ""), ("XDG_CACHE_HOME", "relative")]
    {
        log.run(|command| {
            command.env_remove("HOME").env(variable, value);
        })
        .said(0, &["warning: cannot keep results: none of XDG_CACHE_HOME, CACHE_DIRECTORY and HOME is set to an absolute path; the cache is off for this run"]);
    }
    assert_eq!(log.runs(), 6, "the probe runs");
}

/// Own case: with a umask of 0177, the folder was created without the bit that lets its owner enter it, so the cache
/// never worked.
#[test]
fn the_umask_does_not_make_the_cache_unusable() {
    for umask in [0o177, 0o777, 0o000] {
        let log = Log::new();
        let dir = log.path("new/folders/cache");
        for _ in 0..2 {
            log.run(|command| {
                before_exec(command, move || {
                    // SAFETY: no memory.
                    unsafe { libc::umask(umask) };
                    Ok(())
                });
                command.arg(format!("-cache-dir={}", dir.display()));
            });
        }
        let entries = fs::read_dir(&dir).unwrap().count();
        assert!(entries >= 2, "{umask:o}: {entries} files");
        for folder in [&dir, &log.path("new/folders"), &log.path("new")] {
            assert_eq!(folder.metadata().unwrap().mode() & 0o7777, 0o700, "{umask:o}");
        }
    }
}

/// Own case: the absolute form of a path may be longer than the kernel accepts, while the relative one works.
#[test]
fn a_relative_path_in_a_very_deep_folder_stays_relative() {
    let folder = Folder::new();
    let deep = |command: &mut Command| {
        command.current_dir(&folder);
        let name = std::ffi::CString::new("d".repeat(250)).unwrap();
        before_exec(command, move || {
            for _ in 0..20 {
                // SAFETY: the name is a C string.
                unsafe {
                    libc::mkdir(name.as_ptr(), 0o755);
                    if libc::chdir(name.as_ptr()) != 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
            }
            Ok(())
        });
    };
    let show =
        ["--", "sh", "-c", "cat probe.prom 2>/dev/null | grep -c run_success; ls cache 2>/dev/null | wc -l"];
    let flags = ["-metrics-textfile=probe.prom", "-cache-dir=cache", "-cache-ttl=1h", "-output=inherit"];
    let mut first = offline(&flags);
    deep(&mut first);
    run(first.args(show)).succeeded();
    let mut second = offline(&["-metrics-textfile=./probe.prom", "-output=inherit"]);
    deep(&mut second);
    let ended = run(second.args(show));
    ended.succeeded();
    let counts: Vec<u32> = ended.stdout.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert!(matches!(counts[..], [3, files] if files >= 2), "{ended:?}");
}

/// Own case: without a free descriptor, the advice was to set the key's flag.
#[test]
fn a_key_is_not_blamed_if_descriptors_are_used_up() {
    let mut seen = 0;
    for descriptors in 3..12 {
        let mut command = offline(&["--", "true"]);
        before_exec(&mut command, move || {
            let limit = libc::rlimit { rlim_cur: descriptors, rlim_max: descriptors };
            // SAFETY: the pointer is to a limit.
            if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
        let ended = run(&mut command);
        if ended.stderr.contains("cannot read key file") {
            seen += 1;
            ended.failed_with(125, &["Too many open files; raise the limit on open files (ulimit -n)"]);
            assert!(!ended.stderr.contains("MONITORING_SIGNER_KEY"), "{ended:?}");
        }
    }
    assert!(seen > 0 || cfg!(not(target_env = "gnu")), "no limit met the key");
}

/// If another user, or every user, can write to the cache folder, they could fake a success or block runs with the
/// lock; a hard link in place of a lock file would be emptied.
#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let log = Log::new();
    let dir = log.path("cache");
    fs::create_dir(&dir).unwrap();
    let with = |dir: &Path| {
        log.run(|command| {
            command.arg(format!("-cache-dir={}", dir.display()));
        })
    };
    for mode in [0o777, 0o1777, 0o703] {
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        with(&dir).said(0, &["warning: cannot keep results in", "every user can write to it"]);
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    with(&dir).succeeded();
    assert_eq!(log.runs(), 4);
    with(&dir).succeeded();
    assert_eq!(log.runs(), 4, "a private one is used");
    // A hard link to a file of the same user.
    let precious = log.path("precious");
    fs::write(&precious, "precious").unwrap();
    for file in fs::read_dir(&dir).unwrap().flatten().map(|file| file.path()) {
        fs::remove_file(&file).unwrap();
        if file.extension().is_some_and(|kind| kind == "lock") {
            fs::hard_link(&precious, &file).unwrap();
        }
    }
    with(&dir)
        .said(0, &["warning: cannot keep results in", "a lock file in it has another owner or another name"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    if has_other_users() {
        let link = log.path("link");
        symlink(&dir, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(NOBODY), None).unwrap();
        with(&link).said(0, &["warning: cannot keep results in", "it belongs to another user (uid 65534)"]);
        chown(&dir, Some(NOBODY), None).unwrap();
        with(&dir).said(0, &["warning: cannot keep results in", "it belongs to another user (uid 65534)"]);
    }
}

/// A symbolic link of another user at the path of the metrics would let that user choose which file is replaced.
#[test]
fn metrics_do_not_follow_the_link_of_another_user() {
    let sandbox = Sandbox::start(&[]);
    let folder = Folder::new();
    let public = folder.path("public");
    fs::create_dir(&public).unwrap();
    fs::set_permissions(&public, Permissions::from_mode(0o1777)).unwrap();
    let precious = folder.path("precious");
    fs::create_dir(folder.path("private")).unwrap();
    let write = |path: &Path| {
        fs::write(&precious, "precious").unwrap();
        run(sandbox.token().arg(format!("-metrics-textfile={}", path.display())).args(["--", "true"]))
    };
    // Own links are followed, even several, and those of folders in the path.
    symlink(&precious, public.join("own.prom")).unwrap();
    symlink("own.prom", public.join("twice.prom")).unwrap();
    symlink("../private", public.join("folder")).unwrap();
    for path in ["own.prom", "twice.prom", "folder/x.prom"] {
        write(&public.join(path)).succeeded();
    }
    assert!(folder.path("private/x.prom").exists());
    assert!(fs::read_to_string(&precious).unwrap().contains("precious"), "the last one went elsewhere");
    symlink("loop.prom", public.join("loop.prom")).unwrap();
    write(&public.join("loop.prom"))
        .said(0, &["warning: cannot write the metrics to", "Too many levels of symbolic links"]);
    if has_other_users() {
        for path in ["own.prom", "folder"] {
            std::os::unix::fs::lchown(public.join(path), Some(NOBODY), None).unwrap();
        }
        for path in ["own.prom", "twice.prom", "folder/x.prom"] {
            write(&public.join(path)).said(
                0,
                &[
                    "warning: cannot write the metrics to",
                    "is a symbolic link of another user (uid 65534), which is not followed",
                ],
            );
            assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{path}");
        }
    }
}

/// `bootstrap --token-file` took the token of an installation from a file that anybody could have written.
#[test]
fn a_bootstrap_token_of_another_user_is_not_trusted() {
    let folder = Folder::new();
    let path = folder.path("token");
    let bootstrap =
        || run(token().args(["stackstate", "bootstrap", "--roles=admin", "--token-file"]).arg(&path));
    bootstrap().succeeded();
    bootstrap().succeeded();
    for mode in [0o666, 0o620, 0o602] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        bootstrap().failed_with(125, &["cannot trust this token file: other users may write to it"]);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    bootstrap().succeeded();
    if has_other_users() {
        chown(&path, Some(NOBODY), None).unwrap();
        bootstrap()
            .failed_with(125, &["cannot trust this token file: it belongs to another user (uid 65534)"]);
    }
}

/// For other users, files of root are as good as their own.
#[test]
fn another_user_may_use_what_root_has_set_up() {
    if !has_other_users() {
        return;
    }
    let log = Log::new();
    let copy = public_copy(log.0.root());
    let metrics = log.path("metrics");
    fs::create_dir(&metrics).unwrap();
    chown(&metrics, Some(NOBODY), None).unwrap();
    symlink("real.prom", metrics.join("link.prom")).unwrap();
    let mut command = Command::new(&copy);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("MONITORING_SIGNER_KEY", log.path("key.json"));
    command.arg("-exchange=false").arg(format!("-metrics-textfile={}", metrics.join("link.prom").display()));
    run(as_nobody(command.args(["--", "true"]))).succeeded();
    assert_eq!(metrics.join("real.prom").metadata().unwrap().uid(), NOBODY);
}

/// The command could read a key that was passed as a descriptor (`3<key.json`, `/dev/fd/3`).
#[test]
fn a_descriptor_that_held_the_key_or_a_token_is_not_passed_on() {
    let file = fs::File::open(testdata("keys/eddsa.json")).unwrap();
    for path in ["/dev/fd/7", "/proc/self/fd/7", "/dev/fd/8"] {
        let mut command = token();
        let fd = file.as_raw_fd();
        before_exec(&mut command, move || {
            // SAFETY: no memory.
            if unsafe { libc::dup2(fd, 7) } < 0 || unsafe { libc::dup2(fd, 8) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
        command.env("MONITORING_SIGNER_KEY", path).args([
            "-exchange=false",
            "-output=inherit",
            "--",
            "sh",
            "-c",
        ]);
        let ended = run(command.arg("for fd in 7 8; do test -e /proc/self/fd/$fd && echo $fd; done; exit 0"));
        ended.succeeded();
        let left = if path.ends_with('7') { "8\n" } else { "7\n" };
        assert_eq!(ended.stdout, left, "{path}: the other one is the command's");
    }
    let sandbox = Sandbox::start(&[]);
    let script = "printf %s \"$GAFAELFAWR_ADMIN_TOKEN\" >token; exec 9<token; unset GAFAELFAWR_ADMIN_TOKEN; exec \"$0\" gafaelfawr exec --username=bot-x --scopes=write:sasquatch --admin-token-file=/dev/fd/9 -- sh -c 'test ! -e /proc/self/fd/9'";
    let folder = Folder::new();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", script, env!("CARGO_BIN_EXE_monitoring-token")])
        .envs(sandbox.env.iter().cloned())
        .current_dir(&folder);
    run(&mut shell).succeeded();
}

/// A key in an unsupported form is neither shown nor left in the environment.
#[test]
fn a_key_in_another_form_is_not_shown() {
    let jwk = fs::read_to_string(testdata("keys/eddsa.json")).unwrap();
    let jwk = jwk.trim();
    let d = serde_json::from_str::<serde_json::Value>(jwk).unwrap()["d"].as_str().unwrap().to_owned();
    let percent = jwk.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    let some_percent = jwk.replace('{', "%7B").replace('"', "%22");
    // Base64 of the raw key with a slash in it.
    let slashed = format!("{}/{}", &d[..20], &d[20..]);
    for text in [
        percent,
        some_percent,
        format!("file://{jwk}"),
        format!("file://{d}"),
        format!("@{jwk}"),
        format!("@{d}"),
        format!("/{slashed}"),
        slashed,
        format!("kid:{d}"),
        format!("d={d}"),
    ] {
        for debug in ["-logx.debug=false", "-logx.debug=true"] {
            let mut command = token();
            let ended = run(command.env("MONITORING_SIGNER_KEY", &text).args([debug, "--", "true"]));
            assert_eq!(ended.status, 125, "{ended:?}");
            assert!(ended.stderr.contains("is not shown"), "{ended:?}");
            for piece in [&d[..12], &d[20..32], &text[text.len() - 12..]] {
                assert!(!ended.stderr.contains(piece), "{ended:?}");
            }
        }
    }
}
