//! A token for one run, and its deletion if the response to its creation was lost.

use std::cell::{Cell, OnceCell};
use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::orphan::{CREATED_SLACK_SECONDS, Creation, Verdict, draw_expiry};
use super::{
    ADMIN_SCOPE, ADMIN_TOKEN, Gafaelfawr, MAX_EXPIRES, MIN_LIFETIME, NewToken, TokenInfo, URL,
    delete_command, is_token_key, list_command, token_key_of,
};
use crate::date::{time, unix_now};
use crate::failure::{Failure, Reason, Stage};
use crate::issuer::api::{Access, Api};
use crate::issuer::quote::shown;
use crate::issuer::{BoxFuture, CreateError, Issuer, Lease, Leftover, server_time};
use crate::secret::{ExposeSecret as _, SecretString};

/// Added to the minimum lifetime, for a slow creation.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// The pause before the list is read again for a token that may still be created.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How often the list is read if the server has finished with the creation.
const LOOKS_AFTER_FINAL_REPLY: u32 = 2;

pub(crate) struct RunToken {
    gafaelfawr: Gafaelfawr,
    new: NewToken,
    needed: Duration,
    before: OnceCell<Before>,
    /// When the creation began, by the local clock, in Unix seconds.
    create_began: Cell<Option<u64>>,
}

struct Before {
    keys: HashSet<String>,
    expires: u64,
}

impl RunToken {
    pub(crate) fn connect(new: NewToken, access: Access<'_>, needed: Duration) -> Result<RunToken, Failure> {
        let gafaelfawr = Gafaelfawr::new(access)?;
        let (before, create_began) = (OnceCell::new(), Cell::new(None));
        Ok(RunToken { gafaelfawr, new, needed, before, create_began })
    }

    fn before(&self) -> &Before {
        self.before.get_or_init(|| self.look_around(&[]))
    }

    fn look_around(&self, listed: &[TokenInfo]) -> Before {
        let lifetime = self.needed.max(MIN_LIFETIME).saturating_add(EXPIRY_MARGIN).as_secs();
        let least = self.server_time(unix_now()).saturating_add(lifetime);
        Before {
            keys: listed.iter().map(|token| token.token.clone()).collect(),
            expires: draw_expiry(least, listed, |below| fastrand::u64(..below)).min(MAX_EXPIRES),
        }
    }

    fn server_time(&self, local: u64) -> u64 {
        server_time(self.api(), local)
    }

    /// Fails if the admin token may be unable to delete the token after the run.
    fn check_admin(&self, admin: &TokenInfo) -> Result<(), Failure> {
        let refuse = |reason: Reason, what: String| {
            let (username, origin) = (shown(&admin.username), self.api().origin());
            let message = format!("the admin token of {username} at {origin} {what}");
            Err(Failure::failed(Stage::Exchange, reason, message))
        };
        if !admin.scopes.iter().any(|scope| scope == ADMIN_SCOPE) {
            let lacks = format!("lacks the scope {ADMIN_SCOPE}, which creating a token requires");
            return refuse(Reason::CredentialForbidden, lacks);
        }
        let ends = self.server_time(unix_now()).saturating_add(self.needed.as_secs());
        match admin.expires {
            Some(expires) if expires < ends => refuse(
                Reason::CredentialExpiring,
                format!(
                    "expires at {}, but this run may last until {} and must delete its token then; \
                     use an admin token that lives longer, or a shorter -timeout",
                    time(expires),
                    time(ends)
                ),
            ),
            _ => Ok(()),
        }
    }

    /// Looks for a token whose creation was not confirmed, and deletes it if it must be this run's.
    async fn revoke_orphan(&self, leftover: &Leftover, deadline: Instant) -> Result<(), String> {
        if let Some(key) = self.key_in_location(leftover) {
            return self.delete(key, deadline).await;
        }
        let clock_is_known = self.api().client().usable_clock_offset_seconds().is_some();
        let began = self.create_began.get().filter(|_| clock_is_known);
        let (answered, is_final) = match leftover {
            Leftover::Answered(reply) => (true, reply.is_final()),
            Leftover::Token(_) | Leftover::Unanswered => (false, false),
        };
        let mut looks = 0;
        loop {
            let listed = self.gafaelfawr.list(&self.new.username, deadline).await;
            let listed =
                listed.map_err(|failure| format!("{failure}; {}", self.manual_cleanup_hint(leftover)))?;
            looks += 1;
            let window = began.map(|began| {
                self.server_time(began).saturating_sub(CREATED_SLACK_SECONDS)
                    ..=self.server_time(unix_now()) + CREATED_SLACK_SECONDS
            });
            let Before { keys, expires } = self.before();
            let listed_before = keys.iter().map(String::as_str).collect();
            let creation = Creation { new: &self.new, expires: *expires, listed_before, window, answered };
            match creation.judge(&listed) {
                Verdict::Proven(token) => {
                    tracing::debug!(key = token.token, "found the token whose creation was not confirmed");
                    return self.delete(&token.token, deadline).await;
                }
                Verdict::Unproven(tokens) => {
                    let keys: Vec<&str> = tokens.iter().map(|token| token.token.as_str()).collect();
                    return Err(format!(
                        "{} may belong to another run and was left alone; {}",
                        shown(&keys.join(", ")),
                        self.manual_cleanup_hint(leftover)
                    ));
                }
                Verdict::NotListed if is_final && looks >= LOOKS_AFTER_FINAL_REPLY => return Ok(()),
                Verdict::NotListed if answered && Instant::now() + 2 * LOOK_AGAIN_AFTER < deadline => {
                    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                }
                Verdict::NotListed => {
                    return Err(format!(
                        "its creation was not confirmed, and it is not listed; {}",
                        self.manual_cleanup_hint(leftover)
                    ));
                }
            }
        }
    }

    /// The key in the `Location` of a response without a usable token: `/auth/api/v1/users/USER/tokens/KEY`.
    fn key_in_location<'a>(&self, leftover: &'a Leftover) -> Option<&'a str> {
        let Leftover::Answered(reply) = leftover else { return None };
        let (path, key) = reply.location.as_deref()?.rsplit_once('/')?;
        let is_ours = path.ends_with(&format!("/auth/api/v1/users/{}/tokens", self.new.username));
        (is_ours && is_token_key(key)).then_some(key)
    }

    async fn delete(&self, key: &str, deadline: Instant) -> Result<(), String> {
        let username = &self.new.username;
        match self.gafaelfawr.delete(username, key, deadline).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::debug!(key, "the token had already been deleted");
                Ok(())
            }
            Err(failure) => Err(format!("{failure}; {}", self.delete_by_hand(key))),
        }
    }

    fn delete_by_hand(&self, key: &str) -> String {
        let (expires, command) = (time(self.before().expires), delete_command(&self.new.username, key));
        format!("it expires at {expires}; to delete it now: {command}")
    }
}

impl Issuer for RunToken {
    fn api(&self) -> &Api {
        self.gafaelfawr.api()
    }

    fn prepare(&self, deadline: Instant) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.check_admin(&self.gafaelfawr.token_info(deadline).await?)?;
            let listed = self.gafaelfawr.list(&self.new.username, deadline).await?;
            self.before.get_or_init(|| self.look_around(&listed));
            Ok(())
        })
    }

    fn describe(&self, deadline: Instant) -> BoxFuture<'_, Vec<(&'static str, String)>> {
        Box::pin(async move {
            let Ok(admin) = self.gafaelfawr.token_info(deadline).await else { return Vec::new() };
            let expires =
                admin.expires.map_or("never expires".to_owned(), |at| format!("expires at {}", time(at)));
            let (username, scopes) = (shown(&admin.username), shown(&admin.scopes.join(",")));
            vec![
                ("token", format!("user {username}, scopes {scopes}, {expires}")),
                ("server", format!("gafaelfawr at {} (version not reported)", self.api().origin())),
            ]
        })
    }

    fn create(&self, deadline: Instant) -> BoxFuture<'_, Result<SecretString, CreateError>> {
        Box::pin(async move {
            self.create_began.set(Some(unix_now()));
            self.gafaelfawr.create(&self.new, Some(self.before().expires), deadline).await
        })
    }

    fn revoke<'a>(&'a self, leftover: &'a Leftover, deadline: Instant) -> BoxFuture<'a, Result<(), String>> {
        match leftover {
            Leftover::Token(token) => {
                Box::pin(self.delete(token_key_of(token).unwrap_or_default(), deadline))
            }
            Leftover::Answered(_) | Leftover::Unanswered => Box::pin(self.revoke_orphan(leftover, deadline)),
        }
    }

    fn manual_cleanup_hint(&self, leftover: &Leftover) -> String {
        match leftover {
            Leftover::Token(token) => self.delete_by_hand(token_key_of(token).unwrap_or_default()),
            Leftover::Answered(_) | Leftover::Unanswered => format!(
                "a token of {} that expires at {} may be left; see: {}",
                self.new.username,
                time(self.before().expires),
                list_command(&self.new.username)
            ),
        }
    }

    fn lease(&self, token: &SecretString) -> Lease {
        let authorization = SecretString::from(format!("bearer {}", token.expose_secret()));
        Lease {
            set: vec![
                ("SERVICE_AUTHORIZATION".into(), authorization),
                (URL.into(), SecretString::from(self.api().base())),
            ],
            remove: vec![ADMIN_TOKEN.into()],
        }
    }
}
