//! The tokens of an installation for `exec` and `rotate`. The response to a creation has no ID, and the API does not tell
//! which token a secret belongs to: each token gets a unique name, by which it is found in the list.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::{
    API_TOKEN, CA_PATH, CONTEXT, K8S_TOKEN, K8S_TOKEN_PATH, NewToken, SERVICE_TOKEN, StackState, URL,
};
use crate::date::time;
use crate::failure::{Failure, Reason, Stage, shell_word};
use crate::issuer::api::Api;
use crate::issuer::creation::{KNOWN_WITHIN, may_look_again};
use crate::issuer::credential::SERVICE_TOKEN_PREFIX;
use crate::issuer::{
    CreateError, Found, Issuer, Known, Lease, Lifetime, Others, PlannedCreation, Seen, Work,
};
use crate::random;
use crate::secret::{ExposeSecret as _, SecretString};

/// Added to the lifetime that a run needs: clocks differ, and a proxy may hide the server's.
const EXPIRY_MARGIN: Duration = Duration::from_secs(300);

pub(crate) struct Installation {
    pub admin: StackState,
    /// Its name is the prefix of each token's name. An expiry counts more than `lifetime`.
    pub new: NewToken,
    pub lifetime: Lifetime,
}

impl Issuer for Installation {
    fn api(&self) -> &Api {
        &self.admin.api
    }

    fn plan<'a>(&'a self, _: &'a [PlannedCreation], valid_until: Option<u64>) -> Work<'a, PlannedCreation> {
        Box::pin(async move {
            let name = unique_name(&self.new.name)?;
            if !self.admin.ids_of(&name).await?.is_empty() {
                let message = format!("a token named {name} already exists; run the command again");
                return Err(Failure::failed(Stage::Exchange, Reason::TokenExists, message));
            }
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
            let lifetime = match self.lifetime {
                Lifetime::OfRun(needed) => needed.saturating_add(EXPIRY_MARGIN),
                Lifetime::InFile(lifetime) => lifetime,
            };
            Ok(PlannedCreation {
                began,
                expires: day.unwrap_or_else(|| began.saturating_add(lifetime.as_secs())),
                name: Some(name),
                ..PlannedCreation::default()
            })
        })
    }

    fn describe(&self) -> Work<'_, Vec<(&'static str, String)>> {
        Box::pin(async move {
            let version = self.admin.version().await;
            let version = version.unwrap_or_else(|| "version not reported".to_owned());
            Ok(vec![
                ("token", "can list service tokens".to_owned()),
                ("server", format!("StackState at {}: {version}", self.api().origin())),
            ])
        })
    }

    fn create<'a>(&'a self, planned: &'a PlannedCreation) -> Work<'a, (SecretString, String), CreateError> {
        Box::pin(async move {
            let name = planned.name.clone().unwrap_or_default();
            let expiry_date = i64::try_from(planned.expires.saturating_mul(1000)).unwrap_or(i64::MAX);
            let mut new = NewToken { name: name.clone(), expiry_date: Some(expiry_date), ..self.new.clone() };
            // It is deleted with its token, so another token needs another one.
            if !new.dedicated_subject.is_empty() {
                new.dedicated_subject.push_str(name.strip_prefix(&self.new.name).unwrap_or_default());
            }
            Ok((self.admin.create(&new).await?.token, name))
        })
    }

    fn find<'a>(&'a self, planned: &'a PlannedCreation, _: &'a Others) -> Work<'a, Found> {
        Box::pin(async move {
            let name = planned.name.as_deref().unwrap_or_default();
            let is_listed = !self.admin.ids_of(name).await?.is_empty();
            Ok(if is_listed { Found::Created(name.to_owned()) } else { Found::NotListed })
        })
    }

    fn delete<'a>(&'a self, id: &'a str) -> Work<'a, bool> {
        Box::pin(async move {
            let ids = self.admin.ids_of(id).await?;
            for id in &ids {
                if !self.admin.delete(*id).await? {
                    tracing::debug!(id, "the token had already been deleted");
                }
            }
            Ok(!ids.is_empty())
        })
    }

    fn exists<'a>(&'a self, token: &'a SecretString) -> Work<'a, bool> {
        Box::pin(self.admin.accepts(token))
    }

    fn delete_hint(&self, id: &str) -> String {
        format!("{} --name {}", self.api().command_line("delete"), shell_word(id))
    }

    fn list_hint(&self) -> String {
        self.api().command_line("list")
    }

    fn lease(&self, token: &SecretString) -> Lease {
        let authorization = SecretString::from(format!("ApiKey {}", token.expose_secret()));
        let mut lease = Lease {
            set: vec![
                ("SERVICE_AUTHORIZATION".into(), authorization),
                (URL.into(), SecretString::from(self.admin.url())),
                (SERVICE_TOKEN.into(), token.clone()),
            ],
            // `sts` accepts only one of the tokens. An inherited context may be in another file, and a CA path may be a pipe.
            remove: [API_TOKEN, K8S_TOKEN, K8S_TOKEN_PATH, CONTEXT, CA_PATH].map(OsString::from).into(),
        };
        let variables = self.admin.variables.iter();
        lease.set.extend(variables.map(|(name, value)| (name.into(), SecretString::from(value.as_str()))));
        lease
    }

    /// Only `FILE.state` says which token it is.
    fn look_at<'a>(&'a self, token: &'a SecretString, known: Option<&'a Known>) -> Work<'a, Seen> {
        Box::pin(async move {
            let Some(Known { id, created, expires, .. }) = known else {
                if token.expose_secret().starts_with(SERVICE_TOKEN_PREFIX)
                    && !self.admin.accepts(token).await?
                {
                    return Ok(Seen::Invalid);
                }
                return Err(Failure::local(
                    Reason::TokenFileRefused,
                    "holds a token that its .state file does not list; rotate left it unchanged; use another --token-file, or move it away",
                ));
            };
            let is_new = || created.is_some_and(|at| self.now().abs_diff(at) <= KNOWN_WITHIN.as_secs());
            loop {
                let listed = self.admin.list().await?.into_iter().find(|token| token.name == *id);
                let expires = listed.as_ref().map_or(*expires, |listed| listed.expiration.map(unix_seconds));
                if expires.is_some_and(|expires| expires <= self.now()) {
                    return Ok(Seen::Invalid);
                }
                // The list may be behind.
                if listed.is_some() || self.admin.accepts(token).await? {
                    return Ok(Seen::Valid {
                        id: id.clone(),
                        created: *created,
                        expires,
                        other_scopes: None,
                    });
                }
                if !is_new() || !may_look_again(self.api()).await {
                    return Ok(Seen::Invalid);
                }
            }
        })
    }

    fn has_fixed_expiry(&self) -> bool {
        self.new.expiry_date.is_some()
    }

    fn without_state(&self, file: &Path) -> String {
        format!(
            "move it and {} away, and run rotate at once: it creates a new token, and leaves the old ones to expire; see: {}",
            file.display(),
            self.list_hint()
        )
    }
}

/// A name that begins with `prefix` and that no other token has.
fn unique_name(prefix: &str) -> Result<String, Failure> {
    let mut random = [0_u8; 16];
    random::fill(&mut random).map_err(|why| Failure::local(Reason::System, why))?;
    Ok(format!("{prefix}-{:032x}", u128::from_be_bytes(random)))
}

/// True if this name can be one of [`unique_name`].
pub(crate) fn is_unique_name(name: &str) -> bool {
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.rsplit_once('-').is_some_and(|(_, random)| random.len() == 32 && random.bytes().all(is_hex))
}

fn unix_seconds(millis: i64) -> u64 {
    u64::try_from(millis / 1000).unwrap_or_default()
}
