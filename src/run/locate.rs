//! The main job: sign, exchange, run.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Instant;

use super::{Run, RunConfig};
use crate::cache::{Cache, Key, KeyBuilder};
use crate::child::OutputPolicy;
use crate::error::{Failure, Stage};
use crate::exit::ExitStatus;
use crate::http::explain::{TransportError, origin};
use crate::http::{Client, HttpConfig, Redirects, plain_http_host};
use crate::log::Log;
use crate::secret::scrub_stack;
use crate::signal::Signals;
use crate::source::Lease;
use crate::source::locate::{Exchange, Locate, LocateConfig};

/// What the main command was asked to do.
pub struct LocateRun {
    /// The monitoring request.
    pub locate: LocateConfig,
    /// How it is made.
    pub http: HttpConfig,
    /// The run of the command.
    pub run: RunConfig,
    /// Where results are kept, if they are.
    pub cache: Option<Cache>,
}

impl LocateRun {
    /// Signs, exchanges and runs.
    pub fn execute(self, signals: &Signals, log: Log) -> ExitStatus {
        let key = self.cache.as_ref().map(|_| self.key());
        let LocateRun { locate, http, run: config, cache } = self;
        let make = |run: &mut Run<'_>| run.lease(locate, http).and_then(|lease| run.command(&lease));
        Run::whole(&config, signals, log, |run| match cache.as_ref().zip(key.as_ref()) {
            None => make(run),
            Some((cache, key)) => run.through_cache(cache, key, make),
        })
    }

    /// What makes this run another than others: all that decides what is tested, and what the command
    /// and the caller see. How it is reached (key, retries, roots, timeout) does not.
    fn key(&self) -> Key {
        let LocateRun { locate, run, .. } = self;
        let key = KeyBuilder::default()
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
        run.command.iter().fold(key, KeyBuilder::part).build()
    }
}

impl Run<'_> {
    /// Signs and exchanges. When this returns, key, client and runtime are gone: nothing but the lease
    /// waits beside the command.
    #[expect(clippy::needless_pass_by_value, reason = "the key that it may hold goes with it")]
    fn lease(&mut self, locate: LocateConfig, http: HttpConfig) -> Result<Lease, Failure> {
        let began = Instant::now();
        let key = locate.key.load(&self.until())?;
        tracing::debug!(
            key = locate.key.describe(),
            key_id = key.key_id,
            algorithm = key.algorithm.name(),
            "read the key"
        );
        let signed = locate.sign(&key)?;
        self.report.took(Stage::Sign, began.elapsed());
        if locate.exchange == Exchange::No {
            drop(key);
            scrub_stack();
            return Ok(locate.lease(signed, None));
        }
        self.report.insecure = plain_http_host(&locate.endpoint.url);
        let began = Instant::now();
        let http = http.load(&self.until())?;
        let client = Client::new(&http, &locate.endpoint.url, Redirects::SameOrigin)
            .map_err(TransportError::into_failure)?;
        let asked = Locate { config: &locate, client: &client, key: &key };
        let ask = asked.ask(signed, http.retries, self.timeline.term_at);
        let doing = || while_asking(&locate, &client);
        let result = self.attempt(Stage::Exchange, ask, doing);
        self.report.took(Stage::Exchange, began.elapsed());
        self.report.clock_offset_seconds = client.clock_offset_seconds();
        self.report.insecure = client.plain_http_host(&locate.endpoint.url);
        drop(client);
        drop(key);
        scrub_stack();
        super::give_back_memory();
        let (signed, offer) = result?;
        let granted = locate.choose(offer)?;
        tracing::debug!(url_key = granted.key, host = granted.hostname, "got the service URL");
        Ok(locate.lease(signed, Some(granted)))
    }
}

/// What was being done when the time was up.
pub(crate) fn while_asking(locate: &LocateConfig, client: &Client) -> String {
    let (at, step) = (origin(&locate.endpoint.url), client.step());
    format!("while {step} ({at}{}{}): {}", client.via(), client.status_clause(), client.advice())
}
