//! The main command: sign, exchange, run.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Instant;

use super::cached::through_cache;
use super::{Observer, Run, RunConfig, command};
use crate::cache::{Cache, CacheKey, CacheKeyBuilder};
use crate::child::OutputPolicy;
use crate::failure::{ExitStatus, Failure, Stage};
use crate::http::explain::TransportError;
use crate::http::{Client, HttpConfig, Redirects};
use crate::issuer::Lease;
use crate::issuer::locate::{Exchange, FATAL_CLOCK_LAG, Granted, Locate, LocateConfig, Signed};
use crate::key::PrivateKey;
use crate::log::Log;
use crate::secret::scrub_stack;
use crate::sys::signal::Signals;

pub(crate) struct LocateRun {
    pub locate: LocateConfig,
    pub http: HttpConfig,
    pub run: RunConfig,
    pub cache: Option<Cache>,
}

impl LocateRun {
    pub(crate) fn execute(self, signals: &Signals, log: Log) -> ExitStatus {
        let key = self.cache.as_ref().map(|_| self.cache_key());
        let LocateRun { locate, http, run: config, cache } = self;
        let make = |run: &mut Run<'_>| {
            let lease = lease(run, locate, http)?;
            let ended = command::run(run, &lease)?;
            command::conclude(run, ended)
        };
        Run::to_completion(&config, signals, log, |run| match cache.as_ref().zip(key.as_ref()) {
            None => make(run),
            Some((cache, key)) => through_cache(run, cache, key, make),
        })
    }

    /// The key of this run in the cache: everything that decides what is tested and what the command and the caller
    /// see. How Locate is reached (key, retries, roots, timeout) is not part of it.
    fn cache_key(&self) -> CacheKey {
        let LocateRun { locate, run, .. } = self;
        let key = CacheKeyBuilder::default()
            .part(&locate.machine)
            .part(locate.endpoint.url.as_str())
            .optional(locate.endpoint.zone().as_deref())
            .part(&locate.env_name)
            .part(match locate.exchange {
                Exchange::No => "monitoring URL",
                Exchange::Both => "both URLs",
                Exchange::ServiceUrl => "service URL",
            })
            .optional(locate.url_key.as_deref())
            .part(match run.output {
                OutputPolicy::Discard => "discard",
                OutputPolicy::Inherit => "inherit",
                OutputPolicy::OnFailure => "on-failure",
                OutputPolicy::Masked => "masked",
            });
        // `./probe` is another program in another directory.
        let relative = run
            .command
            .first()
            .is_some_and(|word| word.as_bytes().contains(&b'/') && !word.as_bytes().starts_with(b"/"));
        let key = if relative { key.part(std::env::current_dir().unwrap_or_default()) } else { key };
        run.command.iter().fold(key, CacheKeyBuilder::part).build()
    }
}

/// Signs and exchanges. When this returns, key, client and runtime are gone; only the lease stays while the command
/// runs. It is not inlined, so that the command is started on the part of the stack that it used.
#[inline(never)]
#[expect(clippy::needless_pass_by_value, reason = "the key that it may hold goes with it")]
fn lease(run: &mut Run<'_>, locate: LocateConfig, http: HttpConfig) -> Result<Lease, Failure> {
    let (signed, granted) = credentials(run, &locate, http, &mut ())?;
    Ok(locate.lease(signed, granted))
}

/// The signed JWT, and the service URL if there was an exchange.
pub(crate) fn credentials(
    run: &mut Run<'_>,
    locate: &LocateConfig,
    http: HttpConfig,
    observer: &mut impl Observer,
) -> Result<(Signed, Option<Granted>), Failure> {
    let began = Instant::now();
    let key = observer.step("key", locate.key.load(&run.until()))?;
    tracing::debug!(key = locate.key.describe(), key_id = key.key_id, algorithm = key.alg(), "read the key");
    observer.loaded(locate, &key);
    let signed = locate.sign(&key);
    scrub_stack();
    let signed = observer.step("signing", signed)?;
    observer.signed(locate, &key);
    run.report.took(Stage::Sign, began.elapsed());
    match locate.exchange {
        Exchange::No => Ok((signed, None)),
        _ => exchange(run, locate, http, &key, signed, observer),
    }
}

/// Not inlined, because it needs 20 KiB of stack, which a run without exchange does not.
#[inline(never)]
fn exchange(
    run: &mut Run<'_>,
    locate: &LocateConfig,
    http: HttpConfig,
    key: &PrivateKey,
    signed: Signed,
    observer: &mut impl Observer,
) -> Result<(Signed, Option<Granted>), Failure> {
    let url = &locate.endpoint.url;
    let began = Instant::now();
    let http = observer.step("roots", http.load(&run.until()))?;
    observer.set_up(&http, url)?;
    let client = Client::new(&http, url, Redirects::SameOrigin).map_err(TransportError::into_failure);
    let client = observer.step("exchange", client)?;
    let asked = Locate { config: locate, client: &client, key };
    let ask = asked.ask(signed, http.retries, run.timeline.term_at);
    let result = run.attempt(Stage::Exchange, ask, || format!("while {}", client.stuck(url)));
    run.report.took(Stage::Exchange, began.elapsed());
    run.report.figures.clock_offset_seconds = client.clock_offset_seconds();
    run.report.insecure = client.plain_http_host(url);
    let (signed, offer) = observer.answered("exchange", &client, url, Some(FATAL_CLOCK_LAG), result)?;
    observer.exchanged(locate, &client);
    let granted = observer.step("url_keys", locate.choose(offer))?;
    tracing::debug!(url_key = granted.key, host = granted.hostname, "got the service URL");
    observer.chosen(&granted);
    Ok((signed, Some(granted)))
}
