//! One object of a kind that is served.

use std::fmt;
use std::sync::Arc;

use compile::world::ApiKeys;
use compile::{ObjectKey, World};
use crds::reference_grant::ReferenceGrant;
use crds::{ApiDefinition, Stage, UsagePlan};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::strict::{self, Schema, Violation};

/// Kinds that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ApiDefinition,
    Stage,
    UsagePlan,
    Secret,
    ConfigMap,
    ReferenceGrant,
}

impl Kind {
    pub(crate) const OWN: [Self; 3] = [Self::ApiDefinition, Self::Stage, Self::UsagePlan];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ApiDefinition => "ApiDefinition",
            Self::Stage => "Stage",
            Self::UsagePlan => "UsagePlan",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::ReferenceGrant => "ReferenceGrant",
        }
    }

    fn schema(self) -> &'static Schema {
        match self {
            Self::ApiDefinition => &strict::API_DEFINITION,
            Self::Stage => &strict::STAGE,
            Self::UsagePlan => &strict::USAGE_PLAN,
            Self::Secret => &strict::SECRET,
            Self::ConfigMap => &strict::CONFIG_MAP,
            Self::ReferenceGrant => &strict::REFERENCE_GRANT,
        }
    }
}

/// What identifies an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    ApiDefinition(Arc<ApiDefinition>),
    Stage(Arc<Stage>),
    UsagePlan(Arc<UsagePlan>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    ReferenceGrant(Arc<ReferenceGrant>),
}

impl Object {
    /// Reads an object; everything its schema does not allow is named.
    pub(crate) fn read(kind: Kind, value: Value) -> Result<Self, Vec<Violation>> {
        let violations = kind.schema().check(&value);
        if !violations.is_empty() {
            return Err(violations);
        }
        match kind {
            Kind::ApiDefinition => typed(value).map(Self::ApiDefinition),
            Kind::Stage => typed(value).map(Self::Stage),
            Kind::UsagePlan => typed(value).map(Self::UsagePlan),
            Kind::Secret => typed(value).map(Self::Secret),
            Kind::ConfigMap => typed(value).map(Self::ConfigMap),
            Kind::ReferenceGrant => typed(value).map(Self::ReferenceGrant),
        }
    }

    /// Puts the object where the compiler looks for it.
    pub(crate) fn put(&self, key: &Key, world: &mut World) {
        let at = ObjectKey::new(key.namespace.clone(), key.name.clone());
        match self {
            Self::ApiDefinition(object) => drop(world.api_definitions.insert(at, Arc::clone(object))),
            Self::Stage(object) => drop(world.stages.insert(at, Arc::clone(object))),
            Self::UsagePlan(object) => drop(world.usage_plans.insert(at, Arc::clone(object))),
            Self::Secret(object) => {
                if let Some(keys) = ApiKeys::read(object) {
                    world.api_keys.insert(at.clone(), Arc::new(keys));
                }
                world.secrets.insert(at, Arc::clone(object));
            }
            Self::ConfigMap(object) => drop(world.config_maps.insert(at, Arc::clone(object))),
            Self::ReferenceGrant(object) => drop(world.reference_grants.insert(at, Arc::clone(object))),
        }
    }
}

/// The schema has seen everything but formats, of quantities and base64 for instance; serde has the last word.
fn typed<T: DeserializeOwned>(value: Value) -> Result<Arc<T>, Vec<Violation>> {
    let place = if value.get("spec").is_some() { "/spec" } else { "/data" };
    serde_json::from_value(value).map(Arc::new).map_err(|error| {
        let message = error.to_string();
        vec![Violation { pointer: place.to_owned(), reason: compile::Reason::Malformed.as_str(), message, help: None }]
    })
}
