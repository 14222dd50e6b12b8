//! Who leads: a Lease, renewed every 2 s and good for 10; given up after 7 s without renewal, released at the end.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a lease is good without being renewed.
const DURATION: Duration = Duration::from_secs(10);
/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(2);
/// Without renewal the leader stops acting well before others may begin.
const SURRENDER: Duration = Duration::from_secs(7);
/// Between two looks of those who wait.
const LOOK: Duration = Duration::from_millis(500);

/// A candidate.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// What was seen of another's lease, and since when by our own clock: clocks of machines differ.
    seen: Option<(Option<MicroTime>, Option<String>, Instant)>,
    renewed: Option<Instant>,
}

impl Candidate {
    /// Stands for a lease.
    pub fn new(client: &Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: None,
            renewed: None,
        }
    }

    /// Leads and follows until `stop` says so, then releases the lease. `leading` tells which.
    pub async fn run(mut self, leading: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        loop {
            let started = Instant::now();
            let outcome = timeout(Duration::from_secs(3), self.attempt()).await;
            match outcome {
                Ok(Ok(true)) => self.renewed = Some(started),
                Ok(Ok(false)) => self.renewed = None,
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be read or renewed"),
                Err(_) => tracing::warn!("the lease could not be renewed in 3 s"),
            }
            let lead = self.renewed.is_some_and(|renewed| renewed.elapsed() < SURRENDER);
            if leading.send_if_modified(|was| std::mem::replace(was, lead) != lead) {
                tracing::info!(identity = self.identity, lead, "leadership changed");
            }
            let mut pause = if lead { RENEWAL } else { LOOK };
            if let Some(renewed) = self.renewed {
                pause = pause.min(SURRENDER.saturating_sub(renewed.elapsed()).max(Duration::from_millis(50)));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // First nobody acts, then somebody else may.
        leading.send_replace(false);
        if self.renewed.is_some()
            && let Err(error) = self.release().await
        {
            tracing::warn!(%error, "the lease cannot be released; it ends by itself");
        }
    }

    /// Takes or renews the lease; whether it is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let spec = self.spec(&now, &now, 0);
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let transitions = spec.lease_transitions.unwrap_or(0);
        lease.spec = Some(match holder.as_deref() {
            Some(holder) if holder == self.identity => {
                self.spec(spec.acquire_time.as_ref().unwrap_or(&now), &now, transitions)
            }
            Some(_) if !self.expired(&spec) => return Ok(false),
            Some(_) | None => self.spec(&now, &now, transitions + 1),
        });
        // It carries the version that was read: of two who try, one fails.
        won(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Another's lease was not renewed while we looked, for as long as it is good.
    fn expired(&mut self, spec: &LeaseSpec) -> bool {
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        let good = Duration::from_secs(seconds).clamp(Duration::from_secs(1), DURATION);
        match &self.seen {
            Some((renewed, holder, since)) if *renewed == spec.renew_time && *holder == spec.holder_identity => {
                since.elapsed() > good
            }
            _ => {
                self.seen = Some((spec.renew_time.clone(), spec.holder_identity.clone(), Instant::now()));
                false
            }
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut lease = self.leases.get(&self.name).await?;
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity)) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    fn spec(&self, acquired: &MicroTime, renewed: &MicroTime, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(10),
            acquire_time: Some(acquired.clone()),
            renew_time: Some(renewed.clone()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// A conflict means that somebody else was faster.
fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
