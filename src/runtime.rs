//! Waiting for asynchronous work, where all else is synchronous.

use std::pin::{Pin, pin};

use crate::failure::{Failure, Reason, Stage, system_error};

/// Runs `work` to its end, on a runtime of its own. What it leaves under way (a name lookup that hangs)
/// is left behind.
pub(crate) fn block_on<T>(stage: Stage, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut result = None;
    drive(stage, pin!(async { result = Some(work.await) }))?;
    Ok(result.expect("work that has ended has a result"))
}

/// One type of work for all: the runtime's code is large, and would be made anew for each.
fn drive(stage: Stage, work: Pin<&mut dyn Future<Output = ()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        // A server that floods us must not keep the timers and signals from being looked at.
        .event_interval(1)
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| {
            Failure::failed(stage, Reason::System, format!("cannot start: {}", system_error(&error)))
        })?;
    runtime.block_on(work);
    runtime.shutdown_background();
    Ok(())
}
