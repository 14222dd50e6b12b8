//! Leadership by a Lease: held for 10 s, renewed every 2 s, given up after 7 s without renewal, released at the end.
//! Followers look every second: a leader that vanishes without a word is followed 12 s later at the latest, while the API
//! server answers.
//!
//! As in client-go, what counts is how long the holder's record has not changed by our own clock, never the time written
//! in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};

use crate::collect::Event;

const HELD: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(2);
const GIVE_UP: Duration = Duration::from_secs(7);
/// How often one who does not lead looks.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Until when this operator may write, as the Lease's task last renewed it. A process that stood still finds that its
/// time is over before the task could say so.
#[derive(Clone, Default)]
pub struct Tenure(Arc<Mutex<Option<Instant>>>);

impl Tenure {
    /// Whether this operator leads at this moment.
    pub fn holds(&self) -> bool {
        self.place().is_some_and(|until| Instant::now() < until)
    }

    /// The Lease was renewed by an attempt that began then; `None`: it is somebody else's.
    fn renewed(&self, at: Option<Instant>) {
        *self.place() = at.map(|at| at + GIVE_UP);
    }

    fn place(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who campaigns, and for what.
pub struct Campaign {
    /// Where the Lease is.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// Unique among the operators: the pod's name.
    pub identity: String,
}

/// What one attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Held,
    Other,
}

/// Holds the Lease whenever it can be had, and tells the loop, until `stop` changes; then it is released.
pub async fn campaign(
    client: Client,
    campaign: Campaign,
    tenure: Tenure,
    events: mpsc::UnboundedSender<Event>,
    mut stop: watch::Receiver<bool>,
) {
    let leases: Api<Lease> = Api::namespaced(client, &campaign.namespace);
    let mut seen = Seen::default();
    let mut leads = false;
    let mut renewed = Instant::now();
    loop {
        let began = Instant::now();
        let attempt = tokio::time::timeout(ATTEMPT, attempt(&leases, &campaign, &mut seen)).await;
        match attempt {
            Ok(Ok(Outcome::Held)) => {
                renewed = began;
                tenure.renewed(Some(began));
                if !std::mem::replace(&mut leads, true) {
                    tracing::info!(identity = campaign.identity, "leads");
                    events.send(Event::Leads(true)).ok();
                }
            }
            Ok(Ok(Outcome::Other)) => {
                tenure.renewed(None);
                if std::mem::take(&mut leads) {
                    tracing::warn!("somebody else leads now");
                    events.send(Event::Leads(false)).ok();
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot renew the Lease"),
            Err(_elapsed) => tracing::warn!("the API server does not answer about the Lease"),
        }
        if leads && renewed.elapsed() >= GIVE_UP {
            leads = false;
            tracing::warn!("leadership is given up: the Lease could not be renewed");
            events.send(Event::Leads(false)).ok();
        }
        let pause = tokio::time::sleep(if leads { RENEW } else { LOOK });
        tokio::select! {
            () = pause => {}
            // Its sender being gone means the same.
            _ = stop.changed() => break,
        }
    }
    tenure.renewed(None);
    if leads && let Err(error) = release(&leases, &campaign).await {
        tracing::warn!(%error, "the Lease could not be released; it runs out by itself");
    }
}

/// The holder's record as last seen, and since when.
#[derive(Default)]
struct Seen {
    record: Option<(Option<String>, Option<i64>)>,
    since: Option<Instant>,
}

impl Seen {
    /// Whether the holder has let this record run out.
    fn has_expired(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let renewed = spec.renew_time.as_ref().map(|time| time.0.as_microsecond());
        let record = Some((spec.holder_identity.clone(), renewed));
        if self.record != record {
            self.record = record;
            self.since = Some(now);
        }
        self.since.is_some_and(|since| now.duration_since(since) >= HELD)
    }
}

async fn attempt(leases: &Api<Lease>, campaign: &Campaign, seen: &mut Seen) -> Result<Outcome, kube::Error> {
    let Some(mut lease) = leases.get_opt(&campaign.lease).await? else {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(campaign.lease.clone()), ..ObjectMeta::default() },
            spec: Some(held(campaign, None)),
        };
        return outcome(leases.create(&PostParams::default(), &lease).await);
    };
    let spec = lease.spec.take().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let free = holder.is_empty() || holder == campaign.identity || seen.has_expired(&spec, Instant::now());
    if !free {
        return Ok(Outcome::Other);
    }
    lease.spec = Some(held(campaign, Some(&spec)));
    // The resource version that was read makes this a compare-and-swap.
    outcome(leases.replace(&campaign.lease, &PostParams::default(), &lease).await)
}

fn outcome(written: Result<Lease, kube::Error>) -> Result<Outcome, kube::Error> {
    match written {
        Ok(_) => Ok(Outcome::Held),
        Err(error) if crate::history::is_conflict(&error) => Ok(Outcome::Other),
        Err(error) => Err(error),
    }
}

fn held(campaign: &Campaign, before: Option<&LeaseSpec>) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    let own = before.filter(|spec| spec.holder_identity.as_deref() == Some(&campaign.identity));
    let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(campaign.identity.clone()),
        lease_duration_seconds: Some(HELD.as_secs() as i32),
        acquire_time: own.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
        renew_time: Some(now),
        lease_transitions: Some(if own.is_some() || before.is_none() { transitions } else { transitions + 1 }),
        ..LeaseSpec::default()
    }
}

async fn release(leases: &Api<Lease>, campaign: &Campaign) -> Result<(), kube::Error> {
    let mut lease = leases.get(&campaign.lease).await?;
    let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&campaign.identity))
    else {
        return Ok(());
    };
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    leases.replace(&campaign.lease, &PostParams::default(), &lease).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_runs_out_by_our_own_clock() {
        let start = Instant::now();
        let mut seen = Seen::default();
        let spec = |second: i64| LeaseSpec {
            holder_identity: Some("other".to_owned()),
            renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())),
            ..LeaseSpec::default()
        };
        assert!(!seen.has_expired(&spec(0), start), "however old the time in it is");
        assert!(!seen.has_expired(&spec(0), start + Duration::from_secs(9)));
        assert!(seen.has_expired(&spec(0), start + Duration::from_secs(10)));
        assert!(!seen.has_expired(&spec(2), start + Duration::from_secs(11)), "it was renewed");
    }

    #[test]
    fn a_tenure_ends_by_itself() {
        let tenure = Tenure::default();
        assert!(!tenure.holds());
        tenure.renewed(Some(Instant::now()));
        assert!(tenure.holds());
        tenure.renewed(Instant::now().checked_sub(GIVE_UP));
        assert!(!tenure.holds());
        tenure.renewed(Some(Instant::now()));
        tenure.renewed(None);
        assert!(!tenure.holds());
    }

    #[test]
    fn a_renewal_keeps_the_time_of_acquisition_and_a_takeover_counts() {
        let campaign = Campaign { namespace: "x".to_owned(), lease: "x".to_owned(), identity: "me".to_owned() };
        let first = held(&campaign, None);
        let again = held(&campaign, Some(&first));
        assert_eq!((again.acquire_time, again.lease_transitions), (first.acquire_time.clone(), Some(0)));
        let other = LeaseSpec { holder_identity: Some("other".to_owned()), ..first };
        assert_eq!(held(&campaign, Some(&other)).lease_transitions, Some(1));
    }
}
