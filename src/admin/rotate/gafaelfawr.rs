//! Gafaelfawr's part of `rotate`. Gafaelfawr says whose the token in FILE is and when it expires.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::issuer::{Found, Others, Rotates, SETTLED_AFTER_SECONDS, Seen};
use super::state::{Known, PlannedCreation};
use crate::failure::{Failure, Reason};
use crate::issuer::CreateError;
use crate::issuer::api::Api;
use crate::issuer::gafaelfawr::orphan::{
    self, CREATED_SLACK_SECONDS, EXPIRY_SPREAD_SECONDS, Verdict, draw_free,
};
use crate::issuer::gafaelfawr::{
    Gafaelfawr, MAX_EXPIRES, NewToken, SHORTEST_LIFETIME, TokenInfo, delete_command, list_command,
    token_key_of,
};
use crate::secret::SecretString;

/// The expiry is shortened by a random amount, which identifies the token if the response to its creation is lost: up
/// to an hour for each day of its lifetime, and at most the amount that `exec` uses.
const SPREAD_DIVISOR: u64 = 24;
/// With a smaller spread, another token could have the same expiry by chance.
const MIN_PROVING_SPREAD_SECONDS: u64 = 1000;

pub(super) struct Environment {
    pub admin: Gafaelfawr,
    pub new: NewToken,
    pub lifetime: Duration,
}

impl Rotates for Environment {
    fn api(&self) -> &Api {
        self.admin.api()
    }

    async fn look_at(
        &self,
        token: &SecretString,
        _: Option<&Known>,
        deadline: Instant,
    ) -> Result<Seen, Failure> {
        let Some(key) = token_key_of(token) else {
            return Err(Failure::local(
                Reason::TokenFileRefused,
                "does not hold a Gafaelfawr token; rotate left it unchanged; use another --token-file",
            ));
        };
        let Some(info) = self.admin.info_of(token, deadline).await? else { return Ok(Seen::Invalid) };
        if info.username != self.new.username || info.token_type != "service" {
            return Err(Failure::local(
                Reason::TokenFileRefused,
                format!(
                    "holds a {} token of {}, not a service token of {}; rotate left it unchanged; use another --token-file",
                    crate::failure::printable(&info.token_type),
                    crate::failure::printable(&info.username),
                    self.new.username
                ),
            ));
        }
        let other_scopes = (info.scopes != self.new.scopes).then(|| info.scopes.join(","));
        Ok(Seen::Valid { id: key.to_owned(), created: info.created, expires: info.expires, other_scopes })
    }

    async fn plan(
        &self,
        open: &[PlannedCreation],
        _: Option<u64>,
        deadline: Instant,
    ) -> Result<PlannedCreation, Failure> {
        let listed = self.admin.list(&self.new.username, deadline).await?;
        let began = self.now();
        let least = SHORTEST_LIFETIME.as_secs();
        let lifetime = self.lifetime.as_secs().max(least);
        let spread = (lifetime / SPREAD_DIVISOR).min(EXPIRY_SPREAD_SECONDS).min(lifetime - least);
        let draw = || began.saturating_add(lifetime - fastrand::u64(..=spread)).min(MAX_EXPIRES);
        // An open creation must not find this token by its expiry.
        let listed_expiries = listed.iter().filter_map(|token| token.expires);
        let taken = listed_expiries.chain(open.iter().map(|attempt| attempt.expires)).collect();
        let expires = draw_free(&taken, draw);
        // Tokens created much earlier are ruled out by that.
        let is_near = |token: &&TokenInfo| created_since(token, began);
        let listed_before = listed.iter().filter(is_near).map(|token| token.token.clone()).collect();
        let scopes = self.new.scopes.clone();
        Ok(PlannedCreation { began, expires, name: None, scopes, listed_before, spread, answered: false })
    }

    async fn create(
        &self,
        attempt: &PlannedCreation,
        deadline: Instant,
    ) -> Result<(SecretString, String), CreateError> {
        let token = self.admin.create(&self.new, Some(attempt.expires), deadline).await?;
        let key = token_key_of(&token).unwrap_or_default().to_owned();
        Ok((token, key))
    }

    async fn find(
        &self,
        attempt: &PlannedCreation,
        others: &Others,
        deadline: Instant,
    ) -> Result<Found, Failure> {
        let listed = self.admin.list(&self.new.username, deadline).await?;
        let new = NewToken { scopes: attempt.scopes.clone(), ..self.new.clone() };
        let ends = self.now().min(attempt.began.saturating_add(SETTLED_AFTER_SECONDS));
        let judged = orphan::Creation {
            new: &new,
            expires: attempt.expires,
            listed_before: attempt.listed_before.iter().map(String::as_str).collect::<HashSet<_>>(),
            window: Some(attempt.began.saturating_sub(CREATED_SLACK_SECONDS)..=ends + CREATED_SLACK_SECONDS),
            // The expiry was drawn before the request, and no other token had it: a new token with that expiry shows
            // that the request arrived.
            answered: attempt.answered || attempt.spread >= MIN_PROVING_SPREAD_SECONDS,
        };
        let is_other = |token: &TokenInfo| {
            token.expires != Some(attempt.expires) && others.explain(&token.token, token.expires)
        };
        let since = listed
            .iter()
            .filter(|token| created_since(token, attempt.began))
            .filter(|token| !is_other(token));
        Ok(match judged.judge(since) {
            Verdict::Proven(token) => Found::Created(token.token.clone()),
            Verdict::Unproven(tokens) => {
                Found::Unproven(tokens.iter().map(|token| token.token.clone()).collect())
            }
            Verdict::NotListed => Found::NotListed,
        })
    }

    async fn delete(&self, id: &str, deadline: Instant) -> Result<(), Failure> {
        self.admin.delete(&self.new.username, id, deadline).await.map(drop)
    }

    fn delete_hint(&self, id: &str) -> String {
        delete_command(&self.new.username, id)
    }

    fn list_hint(&self) -> String {
        list_command(&self.new.username)
    }

    fn without_state(&self, file: &Path) -> String {
        format!(
            "remove it, and rotate replaces {} as usual, but leaves older tokens that it could not delete to expire; see: {}",
            file.display(),
            self.list_hint()
        )
    }
}

fn created_since(token: &TokenInfo, began: u64) -> bool {
    token.created.is_none_or(|created| created >= began.saturating_sub(CREATED_SLACK_SECONDS))
}
