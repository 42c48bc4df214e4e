//! The binary: hardening, one error line, one exit status. No logic.

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use monitoring_token::dispatch;
use monitoring_token::exit::ExitStatus;
use zeroizing_alloc::ZeroAlloc;

/// Every freed allocation is zeroed, so that no copy of a key outlives its use.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(end_on_panic));
    dispatch::main(std::env::args_os().skip(1).collect()).into()
}

/// A bug of ours is a failure of ours: an abort would read as a signal that ended the command. The
/// place is shown, the message is not: it may hold what was at hand.
fn end_on_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    let place = place.unwrap_or_default();
    let line = format!("monitoring-token: internal error{place}; please report it with the command line\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::exit(i32::from(ExitStatus::Failed.code()));
}
