//! StackState's part of `rotate`. The API does not tell which token a secret belongs to, so `FILE.state` records it.
//! Each token gets a unique name, by which it is found in the list.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Url;

use super::issuer::{Found, Others, Rotates, Seen};
use super::state::{Known, PlannedCreation};
use crate::date::time;
use crate::failure::{Failure, Reason, Stage};
use crate::http::LoadedHttp;
use crate::issuer::api::{Access, Api};
use crate::issuer::stackstate::{CredentialKind, NewToken, SERVICE_TOKEN_PREFIX, StackState, unique_name};
use crate::issuer::{BoxFuture, CreateError};
use crate::secret::{ExposeSecret as _, SecretString};

pub(crate) struct Config {
    pub api_path: String,
    /// The kind of the credential, if its origin tells.
    pub kind: Option<CredentialKind>,
    /// Its name is the prefix of each token's name.
    pub new: NewToken,
    pub expiry: Expiry,
}

/// When a new token expires.
#[derive(Clone, Copy)]
pub(crate) enum Expiry {
    Lifetime(Duration),
    /// `--expiration`, in Unix seconds.
    At(u64),
}

impl Config {
    pub(super) fn connect(
        self,
        http: &LoadedHttp,
        url: Url,
        credential: &SecretString,
    ) -> Result<Installation, Failure> {
        let Config { api_path, kind, new, expiry } = self;
        let kind = kind.unwrap_or_else(|| CredentialKind::of(credential));
        let admin = StackState::new(Access { http, url, credential }, &api_path, kind)?;
        Ok(Installation { admin, new, expiry })
    }
}

pub(super) struct Installation {
    admin: StackState,
    new: NewToken,
    expiry: Expiry,
}

impl Installation {
    async fn look(
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
                "holds a token that its .state file does not list, so it is left alone; use another file, or move it away",
            ));
        };
        let listed = self.admin.list(deadline).await?;
        let Some(listed) = listed.iter().find(|token| token.name == known.id) else {
            return Ok(Seen::Invalid);
        };
        let expires = listed.expiration.map(|millis| u64::try_from(millis / 1000).unwrap_or_default());
        if expires.is_some_and(|expires| expires <= self.now()) {
            return Ok(Seen::Invalid);
        }
        Ok(Seen::Valid { id: known.id.clone(), created: known.created, expires, other_scopes: None })
    }

    async fn plan(&self, valid_until: Option<u64>, deadline: Instant) -> Result<PlannedCreation, Failure> {
        let name = unique_name(&self.new.name)?;
        let listed = self.admin.list(deadline).await?;
        if listed.iter().any(|token| token.name == name) {
            return Err(Failure::failed(
                Stage::Exchange,
                Reason::TokenExists,
                format!("a token named {name} already exists; run the command again"),
            ));
        }
        let began = self.now();
        let expires = match self.expiry {
            Expiry::Lifetime(lifetime) => began.saturating_add(lifetime.as_secs()),
            Expiry::At(day) if valid_until.is_some_and(|until| until >= day) => {
                return Err(Failure::failed(
                    Stage::Exchange,
                    Reason::InvalidExpiry,
                    format!(
                        "--expiration: the token in the file is valid until {}; choose a later day, or use --lifetime",
                        time(valid_until.unwrap_or_default())
                    ),
                ));
            }
            Expiry::At(day) => day,
        };
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

    async fn ids(&self, name: &str, deadline: Instant) -> Result<Vec<i64>, Failure> {
        let listed = self.admin.list(deadline).await?;
        Ok(listed.iter().filter(|token| token.name == name).filter_map(|token| token.id).collect())
    }
}

impl Rotates for Installation {
    fn api(&self) -> &Api {
        self.admin.api()
    }

    fn look_at<'a>(
        &'a self,
        token: &'a SecretString,
        known: Option<&'a Known>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Seen, Failure>> {
        Box::pin(self.look(token, known, deadline))
    }

    fn renew_before(&self, created: Option<u64>, expires: u64) -> Duration {
        match self.expiry {
            Expiry::Lifetime(lifetime) => lifetime / 3,
            Expiry::At(_) => {
                let lifetime = created.map_or(0, |created| expires.saturating_sub(created));
                Duration::from_secs(lifetime / 3)
            }
        }
    }

    fn plan<'a>(
        &'a self,
        _: &'a [PlannedCreation],
        valid_until: Option<u64>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<PlannedCreation, Failure>> {
        Box::pin(self.plan(valid_until, deadline))
    }

    fn create<'a>(
        &'a self,
        attempt: &'a PlannedCreation,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(SecretString, String), CreateError>> {
        Box::pin(async move {
            let name = attempt.name.clone().unwrap_or_default();
            let expiry_date = i64::try_from(attempt.expires.saturating_mul(1000)).unwrap_or(i64::MAX);
            let mut new = NewToken { name: name.clone(), expiry_date: Some(expiry_date), ..self.new.clone() };
            // It is deleted with its token, so the next token needs another one.
            if !new.dedicated_subject.is_empty() {
                new.dedicated_subject.push_str(name.strip_prefix(&self.new.name).unwrap_or_default());
            }
            Ok((self.admin.create(&new, deadline).await?.token, name))
        })
    }

    fn find<'a>(
        &'a self,
        attempt: &'a PlannedCreation,
        _: &'a Others,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found, Failure>> {
        Box::pin(async move {
            let name = attempt.name.as_deref().unwrap_or_default();
            let is_listed = !self.ids(name, deadline).await?.is_empty();
            Ok(if is_listed { Found::Created(name.to_owned()) } else { Found::NotListed })
        })
    }

    fn delete<'a>(&'a self, id: &'a str, deadline: Instant) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            for id in self.ids(id, deadline).await? {
                self.admin.delete(id, deadline).await?;
            }
            Ok(())
        })
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
