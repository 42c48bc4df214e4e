//! A token for one run. The response to its creation has no ID, so the token gets a unique name and is found by it.

use std::time::{Duration, Instant};

use super::{
    API_PATH, API_TOKEN, ApiConfig, DEFAULT_API_PATH, K8S_TOKEN, K8S_TOKEN_PATH, NewToken, SERVICE_TOKEN,
    StackState, URL, unique_name,
};
use crate::failure::Failure;
use crate::issuer::api::{Access, Api};
use crate::issuer::{BoxFuture, CreateError, Issuer, Lease, Leftover};
use crate::secret::{ExposeSecret as _, SecretString};

/// Added to the required lifetime: clocks differ, and a proxy may hide the server's.
const EXPIRY_MARGIN: Duration = Duration::from_secs(300);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

pub(crate) struct RunToken {
    stackstate: StackState,
    new: NewToken,
    /// Until when the token must be valid, by the local clock.
    needed_until: Duration,
}

impl RunToken {
    pub(crate) fn connect(
        new: NewToken,
        api: ApiConfig,
        access: Access<'_>,
        needed: Duration,
    ) -> Result<RunToken, Failure> {
        let stackstate = StackState::new(access, api)?;
        let new = NewToken { name: unique_name(&new.name)?, ..new };
        let needed_until = crate::date::since_epoch().saturating_add(needed).saturating_add(EXPIRY_MARGIN);
        Ok(RunToken { stackstate, new, needed_until })
    }

    /// In Unix milliseconds, by the server's clock if a response had a date.
    fn expiry(&self) -> i64 {
        let offset = self.api().client().usable_clock_offset_seconds().unwrap_or_default();
        let local = i64::try_from(self.needed_until.as_millis()).unwrap_or(i64::MAX);
        local.saturating_sub(offset.saturating_mul(1000))
    }

    async fn revoke_listed(&self, leftover: &Leftover, deadline: Instant) -> Result<(), String> {
        let failed = |failure: Failure| format!("{failure}; {}", self.manual_cleanup_hint(leftover));
        loop {
            let ids = self.stackstate.ids_of(&self.new.name, deadline).await.map_err(failed)?;
            for id in &ids {
                if !self.stackstate.delete(*id, deadline).await.map_err(failed)? {
                    tracing::debug!(id, "the token had already been deleted");
                }
            }
            match leftover {
                // It may not be listed yet, so it cannot be considered deleted.
                Leftover::Token(_) | Leftover::Unanswered if ids.is_empty() => {
                    if Instant::now() + 2 * LOOK_AGAIN_AFTER >= deadline {
                        return Err(format!("it is not listed; {}", self.manual_cleanup_hint(leftover)));
                    }
                    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                }
                _ => return Ok(()),
            }
        }
    }
}

impl Issuer for RunToken {
    fn api(&self) -> &Api {
        self.stackstate.api()
    }

    fn prepare(&self, deadline: Instant) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.stackstate.check_unused(&self.new.name, deadline))
    }

    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>> {
        Box::pin(async move {
            let version = self.stackstate.version(deadline).await;
            let version = version.unwrap_or_else(|| "version not reported".to_owned());
            vec![
                ("token", "can list service tokens".to_owned()),
                ("server", format!("StackState at {}: {version}", self.api().origin())),
            ]
        })
    }

    fn create(&self, deadline: Instant) -> BoxFuture<'_, Result<SecretString, CreateError>> {
        Box::pin(async move {
            let new = NewToken { expiry_date: Some(self.expiry()), ..self.new.clone() };
            Ok(self.stackstate.create(&new, deadline).await?.token)
        })
    }

    fn revoke<'a>(&'a self, leftover: &'a Leftover, deadline: Instant) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.revoke_listed(leftover, deadline))
    }

    fn manual_cleanup_hint(&self, _: &Leftover) -> String {
        format!(
            "it expires at {}; to delete it now: monitoring-token stackstate delete --name {}",
            crate::date::time(u64::try_from(self.expiry() / 1000).unwrap_or_default()),
            self.new.name
        )
    }

    fn lease(&self, token: &SecretString) -> Lease {
        let authorization = SecretString::from(format!("ApiKey {}", token.expose_secret()));
        let mut lease = Lease {
            set: vec![
                ("SERVICE_AUTHORIZATION".into(), authorization),
                (URL.into(), SecretString::from(self.stackstate.url())),
                (SERVICE_TOKEN.into(), token.clone()),
            ],
            // `sts` accepts only one of them.
            remove: vec![API_TOKEN.into(), K8S_TOKEN.into(), K8S_TOKEN_PATH.into()],
        };
        if self.stackstate.api_path != DEFAULT_API_PATH {
            lease.set.push((API_PATH.into(), SecretString::from(self.stackstate.api_path.as_str())));
        }
        if let Some((name, value)) = &self.stackstate.ca {
            lease.set.push(((*name).into(), SecretString::from(value.as_str())));
        }
        lease
    }
}
