//! Looking host names up, by the system's resolver.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use super::{Progress, Step};

/// The system's resolver, with its steps reported.
pub struct Resolver {
    progress: Arc<Progress>,
}

impl Resolver {
    /// A resolver that reports to `progress`.
    pub fn new(progress: Arc<Progress>) -> Resolver {
        Resolver { progress }
    }
}

/// The system's resolver does not know the host.
#[derive(Debug)]
pub struct LookupFailed {
    /// The name that was asked for.
    pub host: String,
    source: io::Error,
}

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The library's prefix says nothing; what the resolver says comes after it.
        let text = self.source.to_string();
        f.write_str(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
    }
}

impl StdError for LookupFailed {}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let progress = Arc::clone(&self.progress);
        Box::pin(async move {
            progress.reach(Step::Lookup);
            let host = name.as_str().to_owned();
            match look_up(host.clone()).await {
                Ok(addresses) => {
                    progress.reach(Step::Connect);
                    Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
                }
                Err(source) => {
                    Err(Box::new(LookupFailed { host, source }) as Box<dyn StdError + Send + Sync>)
                }
            }
        })
    }
}

/// Asks the system's resolver on a thread of its own: it blocks, and one that hangs is left behind.
/// (tokio's threads are no place for it: tokio panics if the system has no room for one.) The addresses have
/// no port.
pub async fn look_up(host: String) -> io::Result<Vec<SocketAddr>> {
    let (found, wait) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let addresses = (host.as_str(), 0).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more once the run is over.
        let _ = found.send(addresses);
    })?;
    wait.await.unwrap_or_else(|_| Err(io::Error::other("the look-up gave no answer")))
}
