//! The tokens of a user for `exec` and `rotate`. The list does not say which run created a token, so its expiry and the
//! time of its creation identify one whose creation was not confirmed.

use std::path::Path;
use std::time::Duration;

use super::error::{is_invalid_token, is_lost_token};
use super::orphan::{CREATED_SLACK_SECONDS, EXPIRY_SPREAD_SECONDS, draw_free, judge};
use super::{
    ADMIN_SCOPE, ADMIN_TOKEN, Gafaelfawr, MAX_EXPIRES, MIN_LIFETIME, NewToken, SHORTEST_LIFETIME, TokenInfo,
    URL, token_key_of,
};
use crate::date::time;
use crate::failure::{Failure, Reason, Stage, printable};
use crate::issuer::api::Api;
use crate::issuer::quote::shown;
use crate::issuer::{
    CreateError, Found, Issuer, Known, Lease, Lifetime, Others, PlannedCreation, SETTLED_AFTER_SECONDS, Seen,
    Work,
};
use crate::secret::{ExposeSecret as _, SecretString};

/// Added to the minimum lifetime of a run's token, for a slow creation.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// The expiry of a token in a file is shortened by a random amount: up to an hour for each day of its lifetime, but
/// never by more than a run's token is extended.
const SPREAD_DIVISOR: u64 = 24;

pub(crate) struct Environment {
    pub admin: Gafaelfawr,
    pub new: NewToken,
    pub lifetime: Lifetime,
}

impl Environment {
    /// Fails if the admin token may be unable to delete the token after the run.
    fn check_admin(&self, admin: &TokenInfo, needed: Duration) -> Result<(), Failure> {
        let refuse = |reason: Reason, what: String| {
            let (username, origin) = (shown(&admin.username), self.api().origin());
            let message = format!("the admin token of {username} at {origin} {what}");
            Err(Failure::failed(Stage::Exchange, reason, message))
        };
        if !admin.scopes.iter().any(|scope| scope == ADMIN_SCOPE) {
            let lacks = format!("lacks the scope {ADMIN_SCOPE}, which creating a token requires");
            return refuse(Reason::CredentialForbidden, lacks);
        }
        let ends = self.now().saturating_add(needed.as_secs());
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

    fn is_clock_known(&self) -> bool {
        self.api().client.usable_clock_offset_seconds().is_some()
    }

    /// True if the token may have been created since `began`.
    fn is_since(&self, began: u64, token: &TokenInfo) -> bool {
        let is_since = |created| created >= began.saturating_sub(CREATED_SLACK_SECONDS);
        !self.is_clock_known() || token.created.is_none_or(is_since)
    }
}

impl Issuer for Environment {
    fn api(&self) -> &Api {
        &self.admin.api
    }

    fn user(&self) -> Option<&str> {
        Some(&self.new.username)
    }

    fn plan<'a>(&'a self, open: &'a [PlannedCreation], _: Option<u64>) -> Work<'a, PlannedCreation> {
        Box::pin(async move {
            if let Lifetime::OfRun(needed) = self.lifetime {
                self.check_admin(&self.admin.token_info().await?, needed)?;
            }
            let listed = self.admin.list(&self.new.username).await?;
            let began = self.now();
            let (least, spread) = match self.lifetime {
                Lifetime::OfRun(needed) => {
                    let least = needed.max(MIN_LIFETIME).saturating_add(EXPIRY_MARGIN).as_secs();
                    (least, EXPIRY_SPREAD_SECONDS - 1)
                }
                Lifetime::InFile(lifetime) => {
                    let least = SHORTEST_LIFETIME.as_secs();
                    let lifetime = lifetime.as_secs().max(least);
                    let spread = (lifetime / SPREAD_DIVISOR).min(EXPIRY_SPREAD_SECONDS).min(lifetime - least);
                    (lifetime - spread, spread)
                }
            };
            let draw =
                || began.saturating_add(least).saturating_add(fastrand::u64(..=spread)).min(MAX_EXPIRES);
            // An open creation must not find this token by its expiry.
            let listed_expiries = listed.iter().filter_map(|token| token.expires);
            let taken = listed_expiries.chain(open.iter().map(|attempt| attempt.expires)).collect();
            let expires = draw_free(&taken, draw);
            // The others are ruled out by the time of their creation.
            let near =
                listed.iter().filter(|token| token.expires == Some(expires) || self.is_since(began, token));
            Ok(PlannedCreation {
                began,
                expires,
                scopes: self.new.scopes.clone(),
                listed_before: near.map(|token| token.token.clone()).collect(),
                spread: if matches!(self.lifetime, Lifetime::InFile(_)) { spread } else { 0 },
                ..PlannedCreation::default()
            })
        })
    }

    fn describe(&self) -> Work<'_, Vec<(&'static str, String)>> {
        Box::pin(async move {
            let Ok(admin) = self.admin.token_info().await else { return Ok(Vec::new()) };
            let expires =
                admin.expires.map_or("never expires".to_owned(), |at| format!("expires at {}", time(at)));
            let (username, scopes) = (shown(&admin.username), shown(&admin.scopes.join(",")));
            Ok(vec![
                ("token", format!("user {username}, scopes {scopes}, {expires}")),
                ("server", format!("gafaelfawr at {} (version not reported)", self.api().origin())),
            ])
        })
    }

    fn create<'a>(&'a self, planned: &'a PlannedCreation) -> Work<'a, (SecretString, String), CreateError> {
        Box::pin(async move {
            let token = self.admin.create(&self.new, Some(planned.expires)).await?;
            let key = token_key_of(&token).unwrap_or_default().to_owned();
            Ok((token, key))
        })
    }

    fn find<'a>(&'a self, planned: &'a PlannedCreation, others: &'a Others) -> Work<'a, Found> {
        Box::pin(async move {
            let listed = self.admin.list(&self.new.username).await?;
            let (began, ends) = (planned.began, planned.began.saturating_add(SETTLED_AFTER_SECONDS));
            let window =
                began.saturating_sub(CREATED_SLACK_SECONDS)..=self.now().min(ends) + CREATED_SLACK_SECONDS;
            let window = self.is_clock_known().then_some(&window);
            // The clocks of Gafaelfawr and of the server that wrote `Date` may differ, but no older token had this expiry.
            let may_tell = |token: &&TokenInfo| {
                token.expires == Some(planned.expires)
                    || self.is_since(began, token) && !others.explain(&token.token, token.expires)
            };
            Ok(judge(planned, &self.new.username, window, listed.iter().filter(may_tell)))
        })
    }

    fn delete<'a>(&'a self, id: &'a str) -> Work<'a, bool> {
        // One that does not exist had already been deleted: its key is known because it existed.
        Box::pin(async move { self.admin.delete(&self.new.username, id).await.map(|_| true) })
    }

    fn delete_hint(&self, id: &str) -> String {
        self.admin.delete_command(&self.new.username, id)
    }

    fn list_hint(&self) -> String {
        self.admin.list_command(&self.new.username)
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

    /// Gafaelfawr says whose the token is and when it expires.
    fn look_at<'a>(&'a self, token: &'a SecretString, known: Option<&'a Known>) -> Work<'a, Seen> {
        Box::pin(async move {
            let Some(key) = token_key_of(token) else {
                return Err(Failure::local(
                    Reason::TokenFileRefused,
                    "does not hold a Gafaelfawr token; rotate left it unchanged; use another --token-file",
                ));
            };
            let is_invalid = if known.is_some() { is_lost_token } else { is_invalid_token };
            let Some(info) = self.admin.info_of(token, is_invalid).await? else {
                return Ok(Seen::Invalid);
            };
            if info.username != self.new.username || info.token_type != "service" {
                return Err(Failure::local(
                    Reason::TokenFileRefused,
                    format!(
                        "holds a {} token of {}, not a service token of {}; rotate left it unchanged; use another --token-file",
                        printable(&info.token_type),
                        printable(&info.username),
                        self.new.username
                    ),
                ));
            }
            let other_scopes = (info.scopes != self.new.scopes).then(|| info.scopes.join(","));
            let TokenInfo { created, expires, .. } = info;
            Ok(Seen::Valid { id: key.to_owned(), created, expires, other_scopes })
        })
    }

    fn without_state(&self, file: &Path) -> String {
        format!(
            "remove it, and rotate replaces {} as usual, but leaves older tokens that it could not delete to expire; see: {}",
            file.display(),
            self.list_hint()
        )
    }
}
