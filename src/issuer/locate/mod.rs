//! M-Lab Locate: a signed request in exchange for a service URL with an access token
//! (`/v2/platform/monitoring/`; m-lab/locate v0.17.6 and v0.19.2, `handler/monitoring.go`).

mod answer;
mod ask;
mod config;
mod explain;
mod offer;

pub use ask::Locate;
pub use config::{Endpoint, Exchange, LocateConfig, SERVICE_URL, SIGNER_KEY, Signed};
pub use explain::FATAL_CLOCK_LAG;
pub use offer::{Granted, ORIGINAL_DEFAULT_KEY, Offer, choose_key};
