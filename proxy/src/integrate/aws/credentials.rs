//! Who signs: keys, where they come from, and how long they are kept.
//!
//! A core keeps what it was given. Keys are fetched again five minutes before they end, behind the requests' back;
//! only when they are all but over do requests wait. However many wait, one fetch runs, in a task of its own, so that
//! a client that leaves takes nothing with it.

pub mod container;
pub mod environment;
pub mod sts;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use tokio::sync::Notify;

use crate::core::Core;
use crate::integrate::aws::credentials::environment::Environment;
use crate::live::aws::{Aws, Caller, Endpoint};
use crate::rejection::Rejection;

/// Before the end of keys: new ones are fetched, and the old ones used meanwhile.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Before the end of keys: they are not used any more.
const LAST: Duration = Duration::from_secs(30);
/// After a fetch that failed nobody tries again for this long.
const BACK_OFF: Duration = Duration::from_secs(2);
/// Longest fetch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most keys one core keeps. Roles are written in definitions, or made of stage variables: never of a request.
const MAX_KEYS: usize = 4_096;

/// An access key that signs.
pub struct Keys {
    credentials: Credentials,
    expires: Option<SystemTime>,
}

impl Keys {
    pub fn new(id: String, secret: String, session_token: Option<String>, expires: Option<SystemTime>) -> Self {
        Self { credentials: Credentials::new(id, secret, session_token, expires, "stagegate"), expires }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn last_for(&self, now: SystemTime) -> Duration {
        self.expires.map_or(Duration::MAX, |end| end.duration_since(now).unwrap_or_default())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.credentials.access_key_id();
        f.debug_struct("Keys").field("id", &id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Why there are no keys: a sentence without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no AWS credentials: {0}")]
pub struct NoKeys(pub String);

/// What a core keeps of keys, and where it looks for more.
pub struct Credentialed {
    environment: Environment,
    slots: RefCell<HashMap<Wanted, Rc<Slot>>>,
}

/// Whose keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    caller: Caller,
    role: Option<Role>,
}

/// A role to assume, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Role {
    arn: Box<str>,
    sts: Endpoint,
    region: Box<str>,
}

#[derive(Default)]
struct Slot {
    state: RefCell<State>,
    done: Notify,
}

#[derive(Default)]
struct State {
    keys: Option<Rc<Keys>>,
    failed: Option<(Instant, NoKeys)>,
    fetching: bool,
}

impl Credentialed {
    pub fn new(environment: Environment) -> Self {
        Self { environment, slots: RefCell::default() }
    }

    fn slot(&self, wanted: &Wanted) -> Result<Rc<Slot>, NoKeys> {
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.get(wanted) {
            return Ok(Rc::clone(slot));
        }
        if slots.len() >= MAX_KEYS {
            // What was asked for by stages that are gone.
            let now = SystemTime::now();
            slots.retain(|_, slot| {
                let state = slot.state.borrow();
                state.fetching || state.keys.as_ref().is_some_and(|keys| keys.last_for(now) > LAST)
            });
            if slots.len() >= MAX_KEYS {
                return Err(NoKeys(format!("more than {MAX_KEYS} roles are in use")));
            }
        }
        let slot = Rc::<Slot>::default();
        slots.insert(wanted.clone(), Rc::clone(&slot));
        Ok(slot)
    }
}

/// The keys for a stage's calls, of a role if one is to be assumed.
///
/// # Errors
/// 500 when there are none.
pub async fn keys(core: &Rc<Core>, aws: &Aws, role: Option<&str>) -> Result<Rc<Keys>, Rejection> {
    if aws.caller == Caller::Environment && !core.options.lends_aws_credentials.allows(&aws.namespace) {
        return Err(Rejection::Configuration(format!(
            "no AWS credentials: the gateway does not lend its own to namespace `{}`, and the Stage's `aws.credentials` \
             names no Secret",
            aws.namespace
        )));
    }
    let role = match role {
        None => None,
        Some(arn) => Some(Role {
            arn: arn.into(),
            sts: aws.endpoint("sts", &aws.region).map_err(Rejection::Configuration)?,
            region: aws.region.clone(),
        }),
    };
    let wanted = Wanted { caller: aws.caller.clone(), role };
    obtain(core, wanted).await.map_err(|error| Rejection::Configuration(error.to_string()))
}

async fn obtain(core: &Rc<Core>, wanted: Wanted) -> Result<Rc<Keys>, NoKeys> {
    if wanted.role.is_none() {
        match &wanted.caller {
            Caller::Key(keys) => {
                let (id, secret, token) = keys.parts();
                return Ok(Rc::new(Keys::new(id, secret, token, None)));
            }
            Caller::Missing(secret) => return Err(NoKeys(format!("the Secret `{secret}` holds no access key"))),
            Caller::Environment => {}
        }
    }
    let slot = core.aws.slot(&wanted)?;
    loop {
        let left = {
            let mut state = slot.state.borrow_mut();
            let now = SystemTime::now();
            let ready = state.keys.clone().map(|keys| (keys.last_for(now), keys));
            let left = ready.as_ref().map_or(Duration::ZERO, |(left, _)| *left);
            let failed_lately = state.failed.as_ref().filter(|(at, _)| at.elapsed() < BACK_OFF);
            if left <= LAST
                && let Some((_, error)) = failed_lately
            {
                return Err(error.clone());
            }
            if left <= AHEAD && failed_lately.is_none() && !state.fetching {
                state.fetching = true;
                let (core, slot, wanted) = (Rc::clone(core), Rc::clone(&slot), wanted.clone());
                tokio::task::spawn_local(refresh(core, slot, wanted));
            }
            ready.filter(|_| left > LAST)
        };
        if let Some((_, keys)) = left {
            return Ok(keys);
        }
        // Nothing ran since the state was looked at, so the end of the fetch is still to come.
        slot.done.notified().await;
    }
}

/// Fetches keys into their slot.
async fn refresh(core: Rc<Core>, slot: Rc<Slot>, wanted: Wanted) {
    let fetching = Fetching(&slot);
    let fetched = tokio::time::timeout(TIMEOUT, Box::pin(fetch(&core, &wanted))).await;
    let fetched = fetched.unwrap_or_else(|_| Err(NoKeys("nobody answered in time".into())));
    let mut state = slot.state.borrow_mut();
    match fetched {
        Ok(keys) => {
            state.keys = Some(Rc::new(keys));
            state.failed = None;
        }
        Err(error) => {
            tracing::warn!(%error, "AWS credentials could not be fetched");
            state.failed = Some((Instant::now(), error));
        }
    }
    drop(state);
    drop(fetching);
}

/// A fetch that runs; whoever waits goes on when it is over, also by a panic.
struct Fetching<'a>(&'a Slot);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.try_borrow_mut() {
            state.fetching = false;
        }
        self.0.done.notify_waiters();
    }
}

async fn fetch(core: &Rc<Core>, wanted: &Wanted) -> Result<Keys, NoKeys> {
    let Some(role) = &wanted.role else {
        return environment::fetch(core, &core.aws.environment).await;
    };
    let base = Wanted { caller: wanted.caller.clone(), role: None };
    let base = Box::pin(obtain(core, base)).await?;
    sts::assume_role(core, &role.sts, &role.region, &role.arn, &base).await
}

#[cfg(test)]
mod tests;
