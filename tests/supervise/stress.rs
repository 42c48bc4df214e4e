//! Many runs at once. Not part of an ordinary test run; `tests/stress.sh` has it.

use std::process::{Child, Stdio};

use crate::support::{Sandbox, finish};

const RUNS: usize = 1_000;

#[test]
#[ignore = "takes a while; tests/stress.sh runs it"]
fn a_thousand_runs_at_once_all_succeed() {
    let sandbox = Sandbox::start(&[]);
    let said = tempfile::NamedTempFile::new().unwrap();
    let children: Vec<Child> = (0..RUNS)
        .map(|_| {
            let mut command = sandbox.token();
            command.args(["-service=ndt/ndt7", "-timeout=5m", "--", "sh", "-c", "[ -n \"$SERVICE_URL\" ]"]);
            // A pipe for each would be too many descriptors.
            let stderr = said.as_file().try_clone().unwrap();
            command.stdout(Stdio::null()).stderr(stderr).spawn().expect("there is room for one more")
        })
        .collect();
    let failed = children.into_iter().map(finish).filter(|ended| ended.status != 0).count();
    let said = std::fs::read_to_string(said.path()).unwrap();
    assert_eq!((failed, said.as_str()), (0, ""));
}
