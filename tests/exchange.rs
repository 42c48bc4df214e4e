//! The exchange with Locate, against the sandbox.

use crate::support::{Sandbox, run};

#[test]
fn the_target_accepts_the_token_that_the_command_finds() {
    let sandbox = Sandbox::start(&[]);
    let probe = env!("CARGO_BIN_EXE_monitoring-sandbox");
    run(sandbox.token().args(["-service=ndt/ndt7", "--", probe, "probe"])).succeeded();
}
