//! A token for one run. The response to its creation has no ID, so the token gets a unique name and is found by it.

use std::time::{Duration, Instant};

use super::{
    API_PATH, API_TOKEN, CredentialKind, DEFAULT_API_PATH, K8S_TOKEN, K8S_TOKEN_PATH, NewToken,
    SERVICE_TOKEN, StackState, URL, unique_name,
};
use crate::failure::{Failure, Reason, Stage};
use crate::issuer::api::{Access, Api};
use crate::issuer::{BoxFuture, CreateError, Issuer, Lease, Leftover};
use crate::secret::{ExposeSecret as _, SecretString};

/// Added to the required lifetime: clocks differ, and a proxy may hide the server's.
const EXPIRY_MARGIN: Duration = Duration::from_secs(300);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

pub(crate) struct RunToken {
    stackstate: StackState,
    api_path: Option<String>,
    new: NewToken,
    /// Until when the token must be valid, by the local clock.
    needed_until: Duration,
}

/// The token of a run, before its issuer is connected.
pub(crate) struct RunTokenConfig {
    /// The path of the API, if it is not the default; it is passed on to the command.
    pub api_path: Option<String>,
    /// The kind of the credential, if its origin tells.
    pub kind: Option<CredentialKind>,
    /// Its name is the prefix of the token's name, and its expiry is set later.
    pub new: NewToken,
}

impl RunTokenConfig {
    pub(crate) fn connect(self, access: Access<'_>, needed: Duration) -> Result<RunToken, Failure> {
        let RunTokenConfig { api_path, kind, mut new } = self;
        let kind = kind.unwrap_or_else(|| CredentialKind::of(access.credential));
        let path = api_path.as_deref().unwrap_or(DEFAULT_API_PATH);
        let stackstate = StackState::new(access, path, kind)?;
        new.name = unique_name(&new.name)?;
        let needed_until = crate::date::since_epoch().saturating_add(needed).saturating_add(EXPIRY_MARGIN);
        Ok(RunToken { stackstate, api_path, new, needed_until })
    }
}

impl RunToken {
    /// In Unix milliseconds, by the server's clock if a response had a date.
    fn expiry(&self) -> i64 {
        let offset = self.api().client().usable_clock_offset_seconds().unwrap_or_default();
        let local = i64::try_from(self.needed_until.as_millis()).unwrap_or(i64::MAX);
        local.saturating_sub(offset.saturating_mul(1000))
    }

    async fn ids(&self, deadline: Instant) -> Result<Vec<i64>, Failure> {
        let listed = self.stackstate.list(deadline).await?;
        Ok(listed.iter().filter(|token| token.name == self.new.name).filter_map(|token| token.id).collect())
    }

    async fn revoke_listed(&self, leftover: &Leftover, deadline: Instant) -> Result<(), String> {
        let failed = |failure: Failure| format!("{failure}; {}", self.manual_cleanup_hint(leftover));
        loop {
            let ids = self.ids(deadline).await.map_err(failed)?;
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
        Box::pin(async move {
            if self.ids(deadline).await?.is_empty() {
                return Ok(());
            }
            Err(Failure::failed(
                Stage::Exchange,
                Reason::TokenExists,
                format!("a token named {} already exists; run the command again", self.new.name),
            ))
        })
    }

    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>> {
        Box::pin(async move {
            let version = self.stackstate.version(deadline).await;
            let version = version.unwrap_or_else(|| "version not reported".to_owned());
            vec![
                ("token", "may list service tokens".to_owned()),
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
        lease.set.extend(self.api_path.as_deref().map(|path| (API_PATH.into(), SecretString::from(path))));
        lease
    }
}
