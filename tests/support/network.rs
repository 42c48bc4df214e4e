//! A network for one test, with a DNS server in it.

use crate::support::job::Folder;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// A DNS server's response for a name.
#[derive(Clone)]
pub enum Zone {
    /// Its addresses.
    Has(Vec<IpAddr>),
    /// The same, and it does not exist for the other family.
    HasAlone(Vec<IpAddr>),
    /// Its addresses, but only over TCP.
    HasOverTcp(Vec<IpAddr>),
    /// It does not exist.
    NoSuchHost,
    /// Neither an address nor an error, from a server that is not responsible for the name and does not look it up.
    Refers,
    /// The server has failed.
    Fails,
    /// No response.
    Silent,
    /// These datagrams for a query; over TCP, its addresses, or nothing if it has none.
    Sends(fn(&[u8]) -> Vec<Vec<u8>>, Vec<IpAddr>),
}

/// The files that the programs of an [`isolate`]d thread see, removed when dropped.
pub struct Isolated(#[allow(dead_code, reason = "removed when dropped")] Folder);

/// Gives the calling thread, and the programs that it starts, a network with only loopback (192.0.2.0/24 leads there,
/// too), and these files below /etc.
pub fn isolate(files: &[(&str, &str)]) -> Isolated {
    let folder = Folder::new();
    let check = |result: i32| assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let none = std::ptr::null();
    // SAFETY: system calls with C strings.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET));
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()));
    }
    for (name, content) in files {
        let (source, target) = (folder.path(name), format!("/etc/{name}"));
        std::fs::write(&source, content).unwrap();
        run(&["mount", "--bind", source.to_str().unwrap(), &target]);
    }
    run(&["ip", "link", "set", "lo", "up"]);
    run(&["ip", "route", "add", "local", "192.0.2.0/24", "dev", "lo"]);
    Isolated(folder)
}

fn run(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status();
    assert!(status.is_ok_and(|status| status.success()), "{words:?}");
}

/// A DNS server at port 53 of `address`, which records the queries.
pub fn dns(address: &str, zone: impl Fn(&str) -> Zone + Send + Sync + 'static) -> Arc<Mutex<Vec<String>>> {
    let zone = Arc::new(zone);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let socket = UdpSocket::bind((address, 53)).expect("port 53 is free");
    let tcp = TcpListener::bind((address, 53)).expect("port 53 is free");
    let (noted, udp_zone) = (Arc::clone(&asked), Arc::clone(&zone));
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            let (name, kind) = name_and_type(question);
            noted.lock().unwrap().push(name.clone());
            let zone = udp_zone(&name);
            let answers = match zone {
                Zone::Sends(answers, _) => answers(question),
                _ => answer(question, kind, &zone, false).into_iter().collect(),
            };
            for answer in answers {
                let _ = socket.send_to(&answer, client);
            }
        }
    });
    thread::spawn(move || {
        use std::io::Read as _;
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            let _ = stream.read_exact(&mut length);
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            let _ = stream.read_exact(&mut question);
            let (name, kind) = name_and_type(&question);
            if let Some(answer) = answer(&question, kind, &zone(&name), true) {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                let _ = stream.write_all(&[&length[..], &answer].concat());
            }
        }
    });
    asked
}

fn name_and_type(question: &[u8]) -> (String, u16) {
    let (mut name, mut at) = (String::new(), 12);
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name.push_str(&String::from_utf8_lossy(&question[at + 1..=at + length]));
        name.push('.');
        at += length + 1;
    }
    (name, u16::from_be_bytes([question[at + 1], question[at + 2]]))
}

/// A response with the question and without records, whatever it says of their number.
pub fn response_to(query: &[u8], answers: u8) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut out = query[..end].to_vec();
    out[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
    out
}

fn answer(question: &[u8], kind: u16, zone: &Zone, over_tcp: bool) -> Option<Vec<u8>> {
    const TRUNCATED: u16 = 0x0200;
    const SERVFAIL: u16 = 2;
    const NXDOMAIN: u16 = 3;
    const RECURSION_AVAILABLE: u16 = 0x80;
    const A: u16 = 1;
    let none = Vec::new();
    let (flags, addresses) = match zone {
        Zone::Silent => return None,
        Zone::Sends(_, addresses) if addresses.is_empty() => return None,
        Zone::Refers => (0, &none),
        Zone::Fails => (SERVFAIL, &none),
        Zone::NoSuchHost => (NXDOMAIN, &none),
        Zone::HasOverTcp(_) if !over_tcp => (TRUNCATED, &none),
        Zone::HasAlone(addresses) if addresses.iter().all(|one| one.is_ipv4() != (kind == A)) => {
            (NXDOMAIN, &none)
        }
        Zone::Has(addresses)
        | Zone::HasAlone(addresses)
        | Zone::HasOverTcp(addresses)
        | Zone::Sends(_, addresses) => (0, addresses),
    };
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(v4) if kind == A => Some(v4.octets().to_vec()),
            IpAddr::V6(v6) if kind == 28 => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut out = response_to(question, 0);
    let recursion = if matches!(zone, Zone::Refers) { 0 } else { RECURSION_AVAILABLE };
    out[2..4].copy_from_slice(&(0x8100 | recursion | flags).to_be_bytes());
    out[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    for record in records {
        // The name of the query, type, class IN, a minute, length.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        out.extend(record);
    }
    Some(out)
}
