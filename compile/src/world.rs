//! Everything there is, and what one Stage depends on.

pub mod api_key;
pub(crate) mod contract;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bundle::aws::AccessKey;
use bundle::host::Certificate;
use bundle::{Digest, StageKey};
use crds::{ApiDefinition, Stage, StageSpec, UsagePlan};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use crate::client_ca;
use crate::finding::{Finding, Findings, ObjectRef, Reason, Severity};
use crate::gateway::Gateway;
use crate::grant::{self, Grants};

pub use api_key::ApiKeys;
pub use contract::{Contract, Origin};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Both at once.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn object(&self, kind: &'static str) -> ObjectRef {
        ObjectRef { kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }

    fn sibling(&self, name: &str) -> Self {
        Self::new(self.namespace.clone(), name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Every object, by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// ApiDefinitions.
    pub api_definitions: BTreeMap<ObjectKey, Arc<ApiDefinition>>,
    /// Stages.
    pub stages: BTreeMap<ObjectKey, Arc<Stage>>,
    /// UsagePlans.
    pub usage_plans: BTreeMap<ObjectKey, Arc<UsagePlan>>,
    /// ReferenceGrants of the Gateway API.
    pub reference_grants: Grants,
    /// Secrets; `stringData` counts as it does for the API server.
    pub secrets: BTreeMap<ObjectKey, Arc<Secret>>,
    /// What counts of the Secrets that hold API keys.
    pub api_keys: BTreeMap<ObjectKey, Arc<ApiKeys>>,
    /// ConfigMaps.
    pub config_maps: BTreeMap<ObjectKey, Arc<ConfigMap>>,
}

/// Everything one Stage depends on.
#[derive(Clone, Debug)]
pub struct StageInputs {
    /// The Stage.
    pub key: StageKey,
    /// Its spec.
    pub spec: Arc<StageSpec>,
    /// `metadata.creationTimestamp`.
    pub created: Option<String>,
    /// Number of the deployment. `attach` says 1; whoever keeps deployments puts the live one's number here…
    pub deployment: u64,
    /// …and its contract here, which need not be the newest.
    pub contract: Arc<Contract>,
    /// What becomes of `spec.canary`. `attach` says `None`; it too is known to whoever keeps deployments.
    pub canary: CanaryInputs,
    /// Certificates by the name of their Secret, as far as they could be resolved.
    pub certificates: BTreeMap<String, Certificate>,
    /// Certificates of those who certify clients, as PEM, by the name of their Secret; likewise.
    pub client_cas: BTreeMap<String, String>,
    /// The access key of `aws.credentials`, if the Secret holds one.
    pub access_key: Option<AccessKey>,
    /// ReferenceGrants that let objects of its namespace refer to others.
    pub grants: Grants,
    /// Account id and region, where the Stage sets none.
    pub account_id: String,
    /// See `account_id`.
    pub region: String,
    /// What was found while references were resolved.
    pub findings: Vec<Finding>,
}

/// What a Stage's canary is made of. Its share and its variables are in the spec.
#[derive(Clone, Debug, Default)]
pub enum CanaryInputs {
    /// There is none.
    #[default]
    None,
    /// It serves a share of the requests.
    Share {
        /// Number of its deployment.
        deployment: u64,
        /// Contract of that deployment.
        contract: Arc<Contract>,
    },
    /// It was promoted: the Stage's own deployment is the canary's, and has the canary's variables.
    Promoted,
}

/// What `attach` found.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// The contract of every ApiDefinition as it is now.
    pub contracts: BTreeMap<ObjectKey, Arc<Contract>>,
    /// What every Stage depends on; Stages whose ApiDefinition is not there are left out.
    pub stages: Vec<StageInputs>,
    /// Findings about Stages and plans that have no inputs.
    pub findings: Vec<Finding>,
}

impl Attached {
    /// ApiDefinitions that no Stage uses: [`crate::check_api`] is for them.
    pub fn unused(&self) -> impl Iterator<Item = &Arc<Contract>> {
        self.contracts
            .iter()
            .filter(|(key, _)| !self.stages.iter().any(|stage| stage.contract.api == **key))
            .map(|(_, c)| c)
    }
}

/// Resolves references: what a Stage names becomes part of its inputs.
pub fn attach(world: &World, gateway: &Gateway) -> Attached {
    let contracts: BTreeMap<_, _> = world
        .api_definitions
        .iter()
        .map(|(key, api)| (key.clone(), Arc::new(Contract::read(key, &api.spec, &world.config_maps))))
        .collect();
    let mut attached = Attached { contracts, ..Attached::default() };
    for (key, stage) in &world.stages {
        match attached.contracts.get(&api_of(key, stage)) {
            Some(contract) => attached.stages.push(attach_stage(world, key, stage, contract, gateway)),
            None => attached.findings.push(missing_api(key, stage)),
        }
    }
    for (key, plan) in &world.usage_plans {
        attached.findings.extend(check_plan(world, key, plan));
    }
    attached
}

/// The ApiDefinition that a Stage serves.
pub fn api_of(key: &ObjectKey, stage: &Stage) -> ObjectKey {
    key.sibling(&stage.spec.api_ref.name)
}

/// The finding about a Stage whose ApiDefinition is not there.
pub fn missing_api(key: &ObjectKey, stage: &Stage) -> Finding {
    let mut findings = Findings::new(key.object("Stage"));
    let text = format!("there is no ApiDefinition `{}` in namespace `{}`", stage.spec.api_ref.name, key.namespace);
    findings.object(Severity::Error, Reason::ApiNotFound, "/spec/apiRef/name", text);
    findings.into_sorted().remove(0)
}

/// Resolves the references of one Stage that serves this contract.
pub fn attach_stage(
    world: &World,
    key: &ObjectKey,
    stage: &Stage,
    contract: &Arc<Contract>,
    gateway: &Gateway,
) -> StageInputs {
    let mut findings = Findings::new(key.object("Stage"));
    let certificates = certificates(world, key, &stage.spec, &mut findings);
    let client_cas = client_cas(world, key, &stage.spec, &mut findings);
    let access_key = access_key(world, key, &stage.spec, &mut findings);
    StageInputs {
        key: StageKey { namespace: key.namespace.clone(), name: key.name.clone() },
        spec: Arc::new(stage.spec.clone()),
        created: stage.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
        deployment: 1,
        contract: Arc::clone(contract),
        canary: CanaryInputs::None,
        certificates,
        client_cas,
        access_key,
        grants: grant::of_namespace(&world.reference_grants, &key.namespace),
        account_id: gateway.account_id.clone(),
        region: gateway.region.clone(),
        findings: findings.into_sorted(),
    }
}

/// Findings about one usage plan.
pub fn check_plan(world: &World, key: &ObjectKey, plan: &UsagePlan) -> Vec<Finding> {
    let mut findings = Findings::new(key.object("UsagePlan"));
    let stages = world.stages.keys().filter(|stage| stage.namespace == key.namespace);
    let stages = stages.map(|stage| stage.name.as_str()).collect();
    crate::lower::usage_plan::check(&plan.spec, &stages, &mut findings);
    findings.into_sorted()
}

/// Secrets that a Stage names, in its own namespace.
pub fn secrets_of(spec: &StageSpec) -> impl Iterator<Item = &str> {
    let of_hosts = spec.hosts.iter().flat_map(|host| [&host.tls, &host.client_ca]).flatten();
    let credentials = spec.aws.as_ref().and_then(|aws| aws.credentials.as_ref());
    of_hosts.chain(credentials).chain(&spec.principals).map(|secret| secret.secret_name.as_str())
}

/// ConfigMaps that hold an ApiDefinition's document, in its own namespace.
pub fn config_maps_of(spec: &crds::ApiDefinitionSpec) -> impl Iterator<Item = &str> {
    let from = spec.openapi_from.iter();
    let parts = from.flat_map(|from| from.config_map_key_ref.iter().chain(from.config_map_key_refs.iter().flatten()));
    parts.map(|part| part.name.as_str())
}

fn certificates(
    world: &World,
    stage: &ObjectKey,
    spec: &StageSpec,
    findings: &mut Findings,
) -> BTreeMap<String, Certificate> {
    let mut found = BTreeMap::new();
    for (index, host) in spec.hosts.iter().enumerate() {
        let Some(tls) = &host.tls else { continue };
        let pointer = format!("/spec/hosts/{index}/tls/secretName");
        let Some(secret) = world.secrets.get(&stage.sibling(&tls.secret_name)) else {
            let text = format!(
                "there is no Secret `{}`; the last certificate that came from there goes on being shown, else one of \
                 the gateway's own",
                tls.secret_name
            );
            findings.object(Severity::Warning, Reason::SecretNotFound, pointer, text);
            continue;
        };
        match (pem(secret, "tls.crt", "CERTIFICATE"), pem(secret, "tls.key", "PRIVATE KEY")) {
            (Some(chain), Some(key)) => {
                found.insert(tls.secret_name.clone(), Certificate::Pem { chain, key });
            }
            _ => {
                let text = format!(
                    "the Secret `{}` holds no PEM certificate in `tls.crt` or no key in `tls.key`",
                    tls.secret_name
                );
                findings.object(Severity::Error, Reason::InvalidSecret, pointer, text);
            }
        }
    }
    found
}

/// Those who certify clients. A host whose own are not known is refused, and nothing else of the Stage: warnings.
fn client_cas(world: &World, stage: &ObjectKey, spec: &StageSpec, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (index, host) in spec.hosts.iter().enumerate() {
        let Some(name) = host.client_ca.as_ref().map(|ca| &ca.secret_name) else { continue };
        let read = match world.secrets.get(&stage.sibling(name)) {
            Some(secret) => client_ca::read(name, secret).map_err(|text| (Reason::InvalidSecret, text)),
            None => Err((Reason::SecretNotFound, format!("there is no Secret `{name}`"))),
        };
        match read {
            Ok(pem) => drop(found.insert(name.clone(), pem)),
            Err((reason, text)) => {
                let pointer = format!("/spec/hosts/{index}/clientCA/secretName");
                findings.object(Severity::Warning, reason, pointer, format!("{text}; the host answers 500"));
            }
        }
    }
    found
}

/// The access key that `aws.credentials` names. Its entries may be called as the environment variables or as the
/// fields of Amazon's answers: `AWS_ACCESS_KEY_ID`, `aws_access_key_id`, `accessKeyId`.
fn access_key(world: &World, stage: &ObjectKey, spec: &StageSpec, findings: &mut Findings) -> Option<AccessKey> {
    let name = &spec.aws.as_ref()?.credentials.as_ref()?.secret_name;
    const POINTER: &str = "/spec/aws/credentials/secretName";
    let Some(secret) = world.secrets.get(&stage.sibling(name)) else {
        let text = format!("there is no Secret `{name}`; calls to AWS services answer 500");
        findings.object(Severity::Warning, Reason::SecretNotFound, POINTER, text);
        return None;
    };
    let plain = |entry: &str| {
        let entry: String = entry.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let entry = entry.to_ascii_lowercase();
        entry.strip_prefix("aws").map(str::to_owned).unwrap_or(entry)
    };
    let value = |wanted: &str| {
        let strings = secret.string_data.iter().flatten().map(|(key, value)| (key, value.clone()));
        let bytes = secret.data.iter().flatten();
        let bytes = bytes.filter_map(|(key, value)| Some((key, String::from_utf8(value.0.clone()).ok()?)));
        let found = strings.chain(bytes).find(|(key, _)| plain(key) == wanted)?.1.trim().to_owned();
        (!found.is_empty()).then_some(found)
    };
    let key = value("accesskeyid").zip(value("secretaccesskey"));
    if key.is_none() {
        let text = format!(
            "the Secret `{name}` holds no `AWS_ACCESS_KEY_ID` or no `AWS_SECRET_ACCESS_KEY`; calls to AWS services answer 500"
        );
        findings.object(Severity::Error, Reason::InvalidSecret, POINTER, text);
    }
    let (id, secret) = key?;
    Some(AccessKey { id, secret, session_token: value("sessiontoken") })
}

fn pem(secret: &Secret, entry: &str, label: &str) -> Option<String> {
    let string = secret.string_data.as_ref().and_then(|data| data.get(entry)).cloned();
    let text = string.or_else(|| String::from_utf8(secret.data.as_ref()?.get(entry)?.0.clone()).ok())?;
    (text.contains("-----BEGIN ") && text.contains(label)).then_some(text)
}

impl StageInputs {
    /// Names the inputs' content: equal inputs compile to equal units, so a unit can be kept under it.
    pub fn digest(&self) -> Digest {
        // A certificate is named by what it shows; the digest of secrets is no secret worth keeping.
        let certificates: BTreeMap<_, _> =
            self.certificates.iter().map(|(name, c)| (name, Digest::of_value(c))).collect();
        let findings: Vec<_> = self.findings.iter().map(ToString::to_string).collect();
        let access_key = self.access_key.as_ref().map(Digest::of_value);
        let canary = match &self.canary {
            CanaryInputs::None => None,
            CanaryInputs::Share { deployment, contract } => Some((*deployment, Some(&contract.digest))),
            CanaryInputs::Promoted => Some((0, None)),
        };
        let secrets = (certificates, &self.client_cas, access_key);
        let rest = (&self.key, &self.created, self.deployment, &self.contract.digest, secrets);
        // Grants by what they say: who said it is no input.
        let grants: Vec<_> = self.grants.iter().map(|(key, grant)| (&key.namespace, &**grant)).collect();
        Digest::of_value(&(&*self.spec, rest, canary, &self.account_id, &self.region, findings, grants))
    }
}
