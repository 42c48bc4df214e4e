//! Runs a command once and prints its cost according to the kernel, including its children: `STATUS CPU-µs WALL-µs
//! PEAK-KiB`. It is a small program, because a process inherits the peak of the one that forked it.

use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let began = Instant::now();
    let null = Stdio::null;
    let child = Command::new(&words[0]).args(&words[1..]).stdin(null()).stdout(null()).stderr(null()).spawn();
    let pid = i32::try_from(child.expect("the command starts").id()).expect("a process id fits");
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to values of the right type, and zeroed memory is a valid rusage.
    let usage = unsafe {
        libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr());
        usage.assume_init()
    };
    let wall = began.elapsed().as_micros();
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    let cpu = micros(usage.ru_utime) + micros(usage.ru_stime);
    println!("{status} {cpu} {wall} {}", usage.ru_maxrss);
}
