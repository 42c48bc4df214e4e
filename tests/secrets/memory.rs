//! Secrets in the memory of monitoring-token while the command runs.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};
use std::sync::mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Key, granted};
use crate::support::job::Folder;
use crate::support::{PATIENCE, file_line, finish, kill, read_head, run, serve, start, token};

const PIECE_BYTES: usize = 12;

/// Parts of the private key in each of its forms: text, bytes, and little-endian bytes.
fn pieces(key: &Key) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for member in key.private() {
        let bytes = URL_SAFE_NO_PAD.decode(member).unwrap();
        forms.push(member.as_bytes().to_vec());
        forms.push(bytes.iter().rev().copied().collect());
        if bytes.len() == 32 {
            // The expanded form of an Ed25519 key (RFC 8032, 5.1.5); the ends of the first half are changed.
            let expanded = ring::digest::digest(&ring::digest::SHA512, &bytes);
            forms.push(expanded.as_ref()[1..31].to_vec());
            forms.push(expanded.as_ref()[32..].to_vec());
        }
        forms.push(bytes);
    }
    forms
        .iter()
        .flat_map(|form| {
            let last = form.len() - PIECE_BYTES;
            [0, last / 2, last].map(|from| form[from..from + PIECE_BYTES].to_vec())
        })
        .collect()
}

/// The `pieces` that are in `memory`.
fn found<'a>(memory: &[u8], pieces: &'a [Vec<u8>]) -> Vec<&'a Vec<u8>> {
    let mut begins = vec![false; 1 << 16];
    let index = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    for piece in pieces {
        begins[index(piece)] = true;
    }
    let here = |at: usize| pieces.iter().filter(move |piece| memory[at..].starts_with(piece));
    let candidates =
        (0..memory.len().saturating_sub(PIECE_BYTES - 1)).filter(|&at| begins[index(&memory[at..])]);
    candidates.flat_map(here).collect()
}

/// All memory that the process can write to (proc_pid_maps(5)).
fn writable_memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps can be read");
    let mut mem = File::open(format!("/proc/{pid}/mem")).expect("its memory can be read");
    let mut memory = Vec::new();
    for line in maps.lines() {
        let mut words = line.split(' ');
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        if !mode.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        mem.seek(SeekFrom::Start(from)).unwrap();
        mem.by_ref().take(to - from).read_to_end(&mut memory).expect("a writable range can be read");
    }
    memory
}

/// Makes the memory of the started `command` readable: only the superuser and the creator of its user namespace may
/// read it (ptrace(2)).
fn open_to_us(command: &mut Command) {
    // SAFETY: system calls without pointers.
    unsafe {
        if libc::geteuid() != 0 {
            command.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }
}

struct Run {
    folder: Folder,
    child: Child,
}

impl Run {
    fn start(command: &mut Command) -> Run {
        open_to_us(command);
        Run::start_closed(command)
    }

    /// Its memory stays unreadable.
    fn start_closed(command: &mut Command) -> Run {
        let folder = Folder::new();
        command.args(["--", "/bin/sh", "-c", "echo $$ >$D/ready; while [ ! -e $D/go ]; do sleep 0.02; done"]);
        Run { child: start(command.env("D", folder.root())), folder }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the command runs; returns its process ID.
    fn wait(&self) -> u32 {
        file_line(&self.folder.path("ready")).trim().parse().unwrap()
    }

    fn end(self) {
        std::fs::write(self.folder.path("go"), "").unwrap();
        finish(self.child).succeeded();
    }
}

/// The key is in memory during the request to Locate, and nowhere once the command runs.
fn is_gone_when_the_command_runs(algorithm: &str, inline: bool) {
    let key = Key::make(algorithm);
    let (tell, asked) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let locate = serve(move |mut stream| {
        read_head(&mut stream);
        let _ = tell.send(());
        let _ = wait.recv();
        let _ = std::io::Write::write_all(&mut stream, granted().as_bytes());
    });
    let mut command = token();
    // A name, so that there is a lookup.
    command.env("LOCATE_URL", format!("http://localhost:{}/", locate.port()));
    if inline {
        command.env("MONITORING_SIGNER_KEY", &key.jwk);
    } else {
        command.env("MONITORING_SIGNER_KEY", &key.path);
    }
    let run = Run::start(&mut command);
    asked.recv_timeout(PATIENCE).expect("locate is asked");
    let pieces = pieces(&key);
    assert!(!found(&writable_memory(run.pid()), &pieces).is_empty(), "the search finds what is there");
    go_on.send(()).unwrap();
    run.wait();
    let memory = writable_memory(run.pid());
    assert_eq!(found(&memory, &pieces), Vec::<&Vec<u8>>::new(), "{algorithm}, inline: {inline}");
    run.end();
}

#[test]
fn an_ed25519_key_from_a_file_is_gone_when_the_command_runs() {
    is_gone_when_the_command_runs("EdDSA", false);
}

#[test]
fn an_ed25519_key_from_the_variable_is_gone_when_the_command_runs() {
    is_gone_when_the_command_runs("EdDSA", true);
}

#[test]
fn a_p256_key_from_a_file_is_gone_when_the_command_runs() {
    is_gone_when_the_command_runs("ES256", false);
}

#[test]
fn a_p256_key_from_the_variable_is_gone_when_the_command_runs() {
    is_gone_when_the_command_runs("ES256", true);
}

#[test]
fn an_rsa_key_from_a_file_is_gone_when_the_command_runs() {
    is_gone_when_the_command_runs("RS256", false);
}

#[test]
fn an_rsa_key_from_the_variable_is_gone_when_the_command_runs() {
    is_gone_when_the_command_runs("RS256", true);
}

#[test]
fn a_key_that_only_signs_is_gone_too() {
    let key = Key::make("EdDSA");
    let mut command = token();
    let run = Run::start(command.env("MONITORING_SIGNER_KEY", &key.path).arg("-exchange=false"));
    run.wait();
    let memory = writable_memory(run.pid());
    // The token is still there, because the command's output may have to be masked.
    assert!(!found(&memory, &[b"access_token".to_vec()]).is_empty());
    assert_eq!(found(&memory, &pieces(&key)), Vec::<&Vec<u8>>::new());
    run.end();
}

#[test]
fn an_inline_key_is_in_no_environment_that_can_be_read() {
    let key = Key::make("EdDSA");
    let other = Key::make("EdDSA");
    for flag_wins in [false, true] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &key.jwk).arg("-exchange=false");
        if flag_wins {
            command.arg("-monitoring-signer-key").arg(&other.path);
        }
        let run = Run::start(&mut command);
        let theirs = run.wait();
        let environ = |pid: u32| std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let (ours, theirs) = (environ(run.pid()), environ(theirs));
        let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
        assert!(has(&ours, "HOME=") && has(&theirs, "HOME="));
        assert!(!has(&ours, key.private()[0]) && !has(&theirs, key.private()[0]));
        assert!(!has(&theirs, "MONITORING_SIGNER_KEY"));
        assert_eq!(found(&writable_memory(run.pid()), &pieces(&key)), Vec::<&Vec<u8>>::new());
        run.end();
    }
}

/// A variable that should hold a path may hold something else that has a credential in it.
#[test]
fn a_url_in_the_place_of_the_keys_path_is_in_no_memory_that_can_be_read() {
    const SECRET: &str = "s3cret-of-the-vault";
    let key = Key::make("EdDSA");
    for text in [
        "https://vault.example/v1/key?token=@",
        "https://operator:@@vault.example/v1/key",
        "file:///keys/k.json?token=@",
        "@https://vault.example/?token=@",
        "vault:secret/data/key?token=@",
        "ref+vault://secret/data?role=x&token=@#key",
        "operator:@@vault.example/v1/key",
        "vault.example/v1/key?token=@",
    ] {
        // The first `@` of a line may be its own.
        let at = text.rfind("=@").map_or_else(|| text.find(":@").unwrap() + 1, |at| at + 1);
        let text = format!("{}{SECRET}{}", &text[..at], &text[at + 1..]);
        for flags in
            [&["-exchange=false"][..], &["-exchange=false", "-logx.debug=true"], &["-log-format=json"]]
        {
            let mut command = token();
            command.env("MONITORING_SIGNER_KEY", &text).args(flags);
            let ended = crate::support::run(command.args(["--", "true"]));
            assert_eq!(ended.status, 125, "{ended:?}");
            assert!(!ended.stderr.contains("s3cret") && !ended.stderr.contains("operator"), "{ended:?}");
            assert!(ended.stderr.contains("MONITORING_SIGNER_KEY: expected the path"), "{ended:?}");
        }
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &text).arg("-exchange=false");
        let run = Run::start(command.arg("-monitoring-signer-key").arg(&key.path));
        let theirs = run.wait();
        for pid in [run.pid(), theirs] {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            assert!(!environ.windows(SECRET.len()).any(|at| at == SECRET.as_bytes()), "{text}");
        }
        let memory = writable_memory(run.pid());
        assert_eq!(found(&memory, &[SECRET.as_bytes().to_vec()]), Vec::<&Vec<u8>>::new(), "{text}");
        run.end();
    }
}

#[test]
fn the_command_line_that_everybody_can_read_holds_no_secret() {
    let key = Key::make("EdDSA");
    let mut command = token();
    let run = Run::start(command.env("MONITORING_SIGNER_KEY", &key.jwk).arg("-exchange=false"));
    let theirs = run.wait();
    for pid in [run.pid(), theirs] {
        let shown = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(shown.contains("/bin/sh"), "{shown}");
        assert!(!shown.contains("eyJ") && !shown.contains(key.private()[0]), "{shown}");
    }
    run.end();
}

/// Drops all capabilities of the started `command` (capabilities(7)): a superuser could read and trace any process.
fn without_capabilities(command: &mut Command) -> &mut Command {
    // SAFETY: system calls without pointers.
    unsafe {
        command.pre_exec(|| {
            let drop =
                |capability: libc::c_ulong| libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;
            // Up to the first one that this kernel does not have; other users have none to drop.
            let _ = (0..64).take_while(|&capability| drop(capability)).count();
            Ok(())
        })
    }
}

#[test]
fn the_user_can_read_the_commands_memory_but_not_the_programs() {
    let key = Key::make("EdDSA");
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", &key.path).arg("-exchange=false");
    // SAFETY: the pointer is to a limit.
    unsafe {
        command.pre_exec(|| {
            let mut limit: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
            Ok(())
        });
    }
    let folder = Folder::new();
    let mut job = Run::start_closed(without_capabilities(command.current_dir(&folder)));
    let theirs = job.wait();
    // If a process is not dumpable, its own user cannot read it, and it leaves no core dump (PR_SET_DUMPABLE in
    // prctl(2)).
    let can_be_read = |pid: u32| {
        let file = format!("/proc/{pid}/environ");
        run(without_capabilities(Command::new("cat").arg(file))).status == 0
    };
    assert!(can_be_read(theirs), "the command is as it would be without us");
    assert!(!can_be_read(job.pid()));
    kill(job.pid(), libc::SIGABRT);
    let status = job.child.wait().unwrap();
    assert_eq!((status.code(), status.core_dumped()), (Some(128 + libc::SIGABRT), false));
    assert_eq!(std::fs::read_dir(folder.root()).unwrap().count(), 0);
}
