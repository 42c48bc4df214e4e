//! Replays recordings of the original and of real Locates: `testdata/original` (902 runs of m-lab's monitoring-token
//! v0.17.6) and `testdata/locate` (165 requests to Locate v0.17.6 and v0.19.2).

mod case;
mod diagnosis;
mod differences;
mod replay;
mod server;
