//! StackState's part of `rotate`. The API does not tell which token a secret belongs to, so `FILE.state` records it.
//! Each token gets a unique name, by which it is found in the list.

use std::path::Path;
use std::time::{Duration, Instant};

use super::issuer::{Found, Others, Rotates, Seen};
use super::state::{Known, PlannedCreation};
use crate::date::time;
use crate::failure::{Failure, Reason, Stage};
use crate::issuer::CreateError;
use crate::issuer::api::Api;
use crate::issuer::stackstate::{NewToken, SERVICE_TOKEN_PREFIX, StackState, unique_name};
use crate::secret::{ExposeSecret as _, SecretString};

pub(super) struct Installation {
    pub admin: StackState,
    /// Its name is the prefix of each token's name.
    pub new: NewToken,
    /// Unless `new` has an expiry.
    pub lifetime: Duration,
}

impl Rotates for Installation {
    fn api(&self) -> &Api {
        self.admin.api()
    }

    async fn look_at(
        &self,
        token: &SecretString,
        known: Option<&Known>,
        deadline: Instant,
    ) -> Result<Seen, Failure> {
        let Some(known) = known else {
            if token.expose_secret().starts_with(SERVICE_TOKEN_PREFIX)
                && !self.admin.accepts(token, deadline).await?
            {
                return Ok(Seen::Invalid);
            }
            return Err(Failure::local(
                Reason::TokenFileRefused,
                "holds a token that its .state file does not list; rotate left it unchanged; use another --token-file, or move it away",
            ));
        };
        let listed = self.admin.list(deadline).await?;
        let Some(listed) = listed.iter().find(|token| token.name == known.id) else {
            return Ok(Seen::Invalid);
        };
        let expires = listed.expiration.map(unix_seconds);
        if expires.is_some_and(|expires| expires <= self.now()) {
            return Ok(Seen::Invalid);
        }
        Ok(Seen::Valid { id: known.id.clone(), created: known.created, expires, other_scopes: None })
    }

    fn has_fixed_expiry(&self) -> bool {
        self.new.expiry_date.is_some()
    }

    async fn plan(
        &self,
        _: &[PlannedCreation],
        valid_until: Option<u64>,
        deadline: Instant,
    ) -> Result<PlannedCreation, Failure> {
        let name = unique_name(&self.new.name)?;
        self.admin.check_unused(&name, deadline).await?;
        let began = self.now();
        let day = self.new.expiry_date.map(unix_seconds);
        if let (Some(day), Some(until)) = (day, valid_until)
            && until >= day
        {
            return Err(Failure::failed(
                Stage::Exchange,
                Reason::InvalidExpiry,
                format!(
                    "--expiration: the token in the file is valid until {}; choose a later day, or use --lifetime",
                    time(until)
                ),
            ));
        }
        let expires = day.unwrap_or_else(|| began.saturating_add(self.lifetime.as_secs()));
        Ok(PlannedCreation {
            began,
            expires,
            name: Some(name),
            scopes: Vec::new(),
            listed_before: Vec::new(),
            spread: 0,
            answered: false,
        })
    }

    async fn create(
        &self,
        attempt: &PlannedCreation,
        deadline: Instant,
    ) -> Result<(SecretString, String), CreateError> {
        let name = attempt.name.clone().unwrap_or_default();
        let expiry_date = i64::try_from(attempt.expires.saturating_mul(1000)).unwrap_or(i64::MAX);
        let mut new = NewToken { name: name.clone(), expiry_date: Some(expiry_date), ..self.new.clone() };
        // It is deleted with its token, so the next token needs another one.
        if !new.dedicated_subject.is_empty() {
            new.dedicated_subject.push_str(name.strip_prefix(&self.new.name).unwrap_or_default());
        }
        Ok((self.admin.create(&new, deadline).await?.token, name))
    }

    async fn find(&self, attempt: &PlannedCreation, _: &Others, deadline: Instant) -> Result<Found, Failure> {
        let name = attempt.name.as_deref().unwrap_or_default();
        let is_listed = !self.admin.ids_of(name, deadline).await?.is_empty();
        Ok(if is_listed { Found::Created(name.to_owned()) } else { Found::NotListed })
    }

    async fn delete(&self, id: &str, deadline: Instant) -> Result<(), Failure> {
        for id in self.admin.ids_of(id, deadline).await? {
            self.admin.delete(id, deadline).await?;
        }
        Ok(())
    }

    fn delete_hint(&self, id: &str) -> String {
        format!("monitoring-token stackstate delete --name {id}")
    }

    fn list_hint(&self) -> String {
        "monitoring-token stackstate list".to_owned()
    }

    fn without_state(&self, file: &Path) -> String {
        format!(
            "move it and {} away, and run rotate at once: it creates a new token, and leaves the old ones to expire; see: {}",
            file.display(),
            self.list_hint()
        )
    }
}

fn unix_seconds(millis: i64) -> u64 {
    u64::try_from(millis / 1000).unwrap_or_default()
}
