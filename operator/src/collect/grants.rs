//! ReferenceGrants: of a kind that need not be served, may be served later, and may go.

use std::collections::HashSet;
use std::time::Duration;

use compile::ObjectKey;
use crds::reference_grant::{GROUP, ReferenceGrant, VERSIONS};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::watch::{Change, Event, Source, tell};

/// How often is looked whether the kind is served now.
const LOOK: Duration = Duration::from_secs(5);

/// Tells of ReferenceGrants as long as somebody listens. Where their kind is not served there are none.
pub(super) async fn follow(
    client: Client,
    scope: Option<String>,
    source: Source,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut known = HashSet::new();
    let mut told = false;
    loop {
        match served(&client).await {
            Ok(Some(resource)) => {
                let api: Api<DynamicObject> = match &scope {
                    Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    None => Api::all_with(client.clone(), &resource),
                };
                tracing::info!(version = resource.version, "ReferenceGrants are watched");
                let stream = watcher(api, watcher::Config::default());
                if !tell(stream, &source, &events, change, &mut known, is_over).await {
                    return;
                }
                tracing::warn!("ReferenceGrants cannot be watched: nothing is granted any more");
            }
            Ok(None) => {}
            Err(error) => {
                // It may be served and may not: what was granted stays.
                tracing::debug!(%error, "nobody says whether ReferenceGrants are served");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        }
        let gone = known.drain().map(|key: ObjectKey| Event::Change(Change::ReferenceGrant(key, None)));
        let first = (!std::mem::replace(&mut told, true)).then(|| Event::Synced(source.clone()));
        for event in gone.chain(first) {
            if events.send(event).is_err() {
                return;
            }
        }
        tokio::time::sleep(LOOK).await;
        if events.is_closed() {
            return;
        }
    }
}

/// The kind, in the first version that is served.
async fn served(client: &Client) -> Result<Option<ApiResource>, kube::Error> {
    for version in VERSIONS {
        match client.list_api_group_resources(&format!("{GROUP}/{version}")).await {
            Ok(list) if list.resources.iter().any(|resource| resource.name == "referencegrants") => {
                let kind = GroupVersionKind::gvk(GROUP, version, "ReferenceGrant");
                return Ok(Some(ApiResource::from_gvk_with_plural(&kind, "referencegrants")));
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The kind is not served any more, or may not be read.
fn is_over(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return false,
    };
    matches!(code, 403 | 404)
}

fn change(key: ObjectKey, object: Option<DynamicObject>) -> Option<Change> {
    let grant = object.and_then(|object| {
        let read = serde_json::from_value::<ReferenceGrant>(object.data);
        // One that says nothing that can be read consents to nothing.
        read.inspect_err(|error| tracing::warn!(%key, %error, "a ReferenceGrant cannot be read")).ok()
    });
    Some(Change::ReferenceGrant(key, grant.map(Box::new)))
}
