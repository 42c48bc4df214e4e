//! A token for one run, and how it is found again if the answer to its creation was lost.
//!
//! Nothing of ours shows in the list but user, scopes, and expiry. So the expiry gets a random share, the
//! list is read before the creation, and only a single new token that fits in all is taken for ours.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use reqwest::Url;

use super::{
    ADMIN_SCOPE, ADMIN_TOKEN, Gafaelfawr, MAX_EXPIRES, MIN_LIFETIME, NewToken, TokenInfo, URL, key_of,
};
use crate::date::unix_now;
use crate::error::{Failure, Stage};
use crate::http::LoadedHttp;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::source::api::Api;
use crate::source::quote::shown;
use crate::source::{BoxFuture, CreateError, Issuer, Lease, Leftover};

/// What a token lives beyond the least that is needed: for clocks, and for a slow creation.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// The expiry is later by a random share of this, which tells our token from others.
const EXPIRY_SPREAD_SECONDS: u64 = 180;
/// How far `created` may be from what we know of the server's clock.
const CREATED_SLACK_SECONDS: u64 = 5;
/// The same, if the server tells no time.
const UNKNOWN_CLOCK_SLACK_SECONDS: u64 = 300;
/// How often the list is read for a token whose creation may be under way.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The issuer of one run's token.
pub struct RunToken {
    gafaelfawr: Gafaelfawr,
    new: NewToken,
    env_name: OsString,
    lifetime: Duration,
    before: OnceCell<Before>,
}

/// What was known before the creation.
struct Before {
    keys: HashSet<String>,
    /// The server's clock, as far as it is known, and how far that is.
    server_now: u64,
    slack: u64,
    expires: u64,
}

impl Before {
    /// Now, with the `keys` that are listed, for a token that lives as long as `lifetime`.
    fn new(keys: HashSet<String>, clock_ahead_seconds: Option<i64>, lifetime: Duration) -> Before {
        let server_now = unix_now().saturating_add_signed(-clock_ahead_seconds.unwrap_or_default());
        let spread = fastrand::u64(..EXPIRY_SPREAD_SECONDS);
        Before {
            keys,
            server_now,
            slack: clock_ahead_seconds.map_or(UNKNOWN_CLOCK_SLACK_SECONDS, |_| CREATED_SLACK_SECONDS),
            expires: server_now.saturating_add(lifetime.as_secs().saturating_add(spread)).min(MAX_EXPIRES),
        }
    }
}

/// One run's token, before its issuer is connected.
pub struct RunTokenConfig {
    /// What it is.
    pub new: NewToken,
    /// The variable that receives it.
    pub env_name: OsString,
}

impl RunTokenConfig {
    /// Its issuer, in the environment at this base URL; it is needed for `needed`.
    pub fn connect(
        self,
        http: &LoadedHttp,
        url: Url,
        credential: &SecretString,
        needed: Duration,
    ) -> Result<RunToken, Failure> {
        let gafaelfawr = Gafaelfawr::new(http, url, credential)?;
        let lifetime = needed.max(MIN_LIFETIME).saturating_add(EXPIRY_MARGIN);
        let RunTokenConfig { new, env_name } = self;
        Ok(RunToken { gafaelfawr, new, env_name, lifetime, before: OnceCell::new() })
    }
}

impl RunToken {
    fn before(&self) -> &Before {
        self.before.get_or_init(|| Before::new(HashSet::new(), None, self.lifetime))
    }

    /// Whether a token of the list can be ours.
    fn fits(&self, token: &TokenInfo) -> bool {
        let mut scopes = token.scopes.clone();
        scopes.sort_unstable();
        let before = self.before();
        let created = token.created.unwrap_or_default();
        !before.keys.contains(&token.token)
            && token.username == self.new.username
            && token.token_type == "service"
            && scopes == self.new.scopes
            && token.expires == Some(before.expires)
            && created + before.slack >= before.server_now
    }

    /// Looks for the token whose creation was not answered, and deletes it.
    async fn revoke_orphan(&self, leftover: &Leftover, deadline: Instant) -> Result<(), String> {
        loop {
            let listed = self.gafaelfawr.list(&self.new.username, deadline).await;
            let listed = listed.map_err(|failure| format!("{failure}; {}", self.by_hand(leftover)))?;
            let ours: Vec<&TokenInfo> = listed.iter().filter(|token| self.fits(token)).collect();
            match (ours.as_slice(), leftover) {
                ([one], _) => {
                    tracing::debug!(key = one.token, "found the token whose creation was not answered");
                    return self.delete(&one.token, deadline).await;
                }
                // The server itself said no, and has nothing.
                ([], Leftover::Unreadable) => return Ok(()),
                ([], _) if Instant::now() + 2 * LOOK_AGAIN_AFTER < deadline => {
                    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                }
                ([], _) => return Err(format!("no new token is listed; {}", self.by_hand(leftover))),
                (many, _) => {
                    let keys = many.iter().map(|token| token.token.as_str()).collect::<Vec<_>>();
                    return Err(format!(
                        "cannot tell which of {} is ours; {}",
                        shown(&keys.join(", ")),
                        self.by_hand(leftover)
                    ));
                }
            }
        }
    }

    async fn delete(&self, key: &str, deadline: Instant) -> Result<(), String> {
        let username = &self.new.username;
        match self.gafaelfawr.delete(username, key, deadline).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::debug!(key, "the token was gone already");
                Ok(())
            }
            Err(failure) => Err(format!("{failure}; {}", self.delete_by_hand(key))),
        }
    }

    fn delete_by_hand(&self, key: &str) -> String {
        // A key may look like a flag.
        let end = if key.starts_with('-') { "-- " } else { "" };
        let username = &self.new.username;
        format!(
            "it expires at {}, or delete it: monitoring-token gafaelfawr delete --username {username} {end}{key}",
            crate::date::time(self.before().expires)
        )
    }
}

impl Issuer for RunToken {
    fn api(&self) -> &Api {
        self.gafaelfawr.api()
    }

    fn prepare(&self, deadline: Instant) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let (admin, clock_ahead) = self.gafaelfawr.token_info(deadline).await?;
            if !admin.scopes.iter().any(|scope| scope == ADMIN_SCOPE) {
                return Err(Failure::ours(
                    Stage::Exchange,
                    format!(
                        "the admin token of {} at {} lacks the scope {ADMIN_SCOPE}, so it can make no token",
                        shown(&admin.username),
                        self.api().origin()
                    ),
                ));
            }
            let listed = self.gafaelfawr.list(&self.new.username, deadline).await?;
            let keys = listed.into_iter().map(|token| token.token).collect();
            self.before.get_or_init(|| Before::new(keys, clock_ahead, self.lifetime));
            Ok(())
        })
    }

    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>> {
        Box::pin(async move {
            let Ok((admin, _)) = self.gafaelfawr.token_info(deadline).await else { return Vec::new() };
            let expires = admin.expires.map_or("never".to_owned(), crate::date::time);
            let (username, scopes) = (shown(&admin.username), shown(&admin.scopes.join(",")));
            vec![
                ("token", format!("of {username}, with the scopes {scopes}; expires: {expires}")),
                ("server", format!("gafaelfawr at {}; it tells no version", self.api().origin())),
            ]
        })
    }

    fn create(&self, deadline: Instant) -> BoxFuture<'_, Result<SecretString, CreateError>> {
        Box::pin(self.gafaelfawr.create(&self.new, Some(self.before().expires), deadline))
    }

    fn revoke<'a>(&'a self, leftover: &'a Leftover, deadline: Instant) -> BoxFuture<'a, Result<(), String>> {
        match leftover {
            Leftover::Token(token) => Box::pin(self.delete(key_of(token).unwrap_or_default(), deadline)),
            Leftover::Unreadable | Leftover::Unanswered => Box::pin(self.revoke_orphan(leftover, deadline)),
        }
    }

    fn by_hand(&self, leftover: &Leftover) -> String {
        match leftover {
            Leftover::Token(token) => self.delete_by_hand(key_of(token).unwrap_or_default()),
            Leftover::Unreadable | Leftover::Unanswered => format!(
                "a token of {} that expires at {} may be left; see: monitoring-token gafaelfawr list --username {}",
                self.new.username,
                crate::date::time(self.before().expires),
                self.new.username
            ),
        }
    }

    fn lease(&self, token: &SecretString) -> Lease {
        let authorization = SecretString::from(format!("bearer {}", token.expose_secret()));
        Lease {
            set: vec![
                ("SERVICE_AUTHORIZATION".into(), authorization),
                (URL.into(), SecretString::from(self.api().base())),
                // Last, because it wins where --env-name is one of the others.
                (self.env_name.clone(), token.clone()),
            ],
            remove: vec![ADMIN_TOKEN.into()],
        }
    }
}
