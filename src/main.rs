//! The binary: hardening, one error line, one exit status. No logic.

use std::process::ExitCode;

use monitoring_token::dispatch;
use zeroizing_alloc::ZeroAlloc;

/// Every freed allocation is zeroed, so that no copy of a key outlives its use.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    dispatch::main(std::env::args_os().skip(1).collect()).into()
}
