//! Runs asynchronous work from synchronous code.

use std::pin::{Pin, pin};

use crate::failure::{Failure, Reason, Stage, system_error};

/// Runs `work` to its end on its own runtime. Tasks that it leaves unfinished (a name lookup that hangs) are abandoned.
pub(crate) fn block_on<T>(stage: Stage, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut result = None;
    drive(stage, pin!(async { result = Some(work.await) }))?;
    Ok(result.expect("work that has ended has a result"))
}

/// A single type of work, so that the runtime's large code is compiled only once.
fn drive(stage: Stage, work: Pin<&mut dyn Future<Output = ()>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        // A server that sends without pause must not keep timers and signals from being checked.
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
