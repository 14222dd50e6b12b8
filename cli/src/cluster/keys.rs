//! `stagegate keys`: API keys in a cluster. A key is shown once, by the command that makes it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use compile::callers::selects;
use compile::world::ApiKeys;
use crds::UsagePlan;
use crds::annotation::ENABLED;
use crds::usage_plan::API_KEY_TYPE;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{Output, Target, say, table};
use crate::print;

/// API keys: who may call Stages whose documents ask for one.
///
/// A key is an entry of a Secret of type stagegate.dev/api-key. A UsagePlan finds such Secrets by their labels, and opens
/// its Stages to their keys.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Makes a random key, in a Secret, and prints it. It is not printed again.
#[derive(Debug, Args)]
struct Create {
    /// The Secret.
    #[arg(value_name = "SECRET")]
    secret: String,
    /// A UsagePlan of the namespace, by whose labels the Secret is made.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// A label of the Secret. May be given several times.
    #[arg(short, long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The key's entry: a further key of a Secret that may be there already. Its id is SECRET.NAME.
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Lists keys: their ids, whether they are enabled, their plans and labels. Never the keys themselves.
#[derive(Debug, Args)]
struct List {
    /// Only Secrets with these labels, as kubectl takes them.
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// A table for people, or JSON.
    #[arg(short, long, value_name = "table|json", default_value = "table", hide_possible_values = true)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

/// Switches a key off, or deletes it. Proxies refuse it within a second or two.
#[derive(Debug, Args)]
struct Revoke {
    /// The key's id, as `stagegate keys list` prints it.
    #[arg(value_name = "ID")]
    id: String,
    /// Deletes the key for good, and its Secret if it was the last one there.
    #[arg(long)]
    delete: bool,
    /// Switches off every key of the Secret.
    #[arg(long, conflicts_with = "delete")]
    all: bool,
    #[command(flatten)]
    target: Target,
}

/// Letters of a new key: 62 of them, 40 times, as Amazon's.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 40;

const MAIN_ENTRY: &str = "key";

pub(super) async fn run(keys: &Keys) -> anyhow::Result<ExitCode> {
    match &keys.order {
        Order::Create(order) => create(order).await,
        Order::List(order) => list(order).await,
        Order::Revoke(order) => revoke(order).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn create(order: &Create) -> anyhow::Result<()> {
    let (client, namespace) = order.target.connect().await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let name = &order.secret;
    let entry = order.entry.as_deref().unwrap_or(MAIN_ENTRY);
    let mut labels: BTreeMap<String, String> = match &order.plan {
        Some(plan) => labels_of(client, &namespace, plan).await?,
        None => BTreeMap::new(),
    };
    labels.extend(order.labels.iter().cloned());
    let key = random()?;
    let data = BTreeMap::from([(entry.to_owned(), ByteString(key.clone().into_bytes()))]);
    match secrets.get_opt(name).await.with_context(|| format!("cannot read the Secret {namespace}/{name}"))? {
        None => {
            let metadata = ObjectMeta {
                name: Some(name.clone()),
                labels: (!labels.is_empty()).then_some(labels.clone()),
                ..ObjectMeta::default()
            };
            let secret =
                Secret { metadata, type_: Some(API_KEY_TYPE.to_owned()), data: Some(data), ..Secret::default() };
            let made = secrets.create(&PostParams::default(), &secret).await;
            made.with_context(|| format!("cannot create the Secret {namespace}/{name}"))?;
        }
        Some(_) if order.entry.is_none() => {
            bail!("there is a Secret `{name}` already: choose another name, or give --entry for a further key of it")
        }
        Some(known) if known.type_.as_deref() != Some(API_KEY_TYPE) => {
            bail!("the Secret `{name}` has no API keys: its type is not {API_KEY_TYPE}")
        }
        Some(known) if known.data.as_ref().is_some_and(|data| data.contains_key(entry)) => {
            bail!("the Secret `{name}` has an entry `{entry}` already")
        }
        Some(known) => {
            let patch = json!({
                "metadata": {"resourceVersion": known.metadata.resource_version, "labels": labels},
                "data": data,
            });
            patched(&secrets, name, &patch).await?;
        }
    }
    let id = compile::world::api_key::id(name, entry);
    print::to_stderr(&format!("secret/{name}: the key `{id}`, which is shown only here:\n"));
    if labels.is_empty() && order.entry.is_none() {
        print::to_stderr("it has no labels: a UsagePlan has to select it before it opens anything\n");
    }
    say(&key);
    Ok(())
}

/// Labels that make a Secret one of a plan.
async fn labels_of(client: Client, namespace: &str, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let plans: Api<UsagePlan> = Api::namespaced(client, namespace);
    let plan = plans.get_opt(name).await.with_context(|| format!("cannot read the UsagePlan {namespace}/{name}"))?;
    let Some(plan) = plan else { bail!("there is no UsagePlan `{name}` in namespace `{namespace}`") };
    let selector = plan.spec.api_keys.as_ref().map(|keys| keys.selector.clone()).unwrap_or_default();
    let labels = selector.match_labels.unwrap_or_default();
    if !selects(&plan.spec, &labels) {
        bail!("the selector of the UsagePlan `{name}` does not say which labels it wants: give them with --label");
    }
    Ok(labels)
}

async fn list(order: &List) -> anyhow::Result<()> {
    let (client, namespace) = order.target.connect().await?;
    let plans: Api<UsagePlan> = Api::namespaced(client.clone(), &namespace);
    let plans = plans.list(&ListParams::default()).await;
    let plans = plans.with_context(|| format!("cannot list the UsagePlans of {namespace}"))?.items;
    let secrets = all(&client, &namespace, order.selector.as_deref()).await?;
    let keys: Vec<Listed> = secrets.iter().flat_map(|(name, keys)| listed(name, keys, &plans)).collect();
    match order.output {
        Output::Table if keys.is_empty() => say("there are no API keys"),
        Output::Table => say(rows(&keys).trim_end()),
        Output::Json => say(&format!("{:#}", Value::from_iter(keys.iter().map(Listed::json)))),
    }
    Ok(())
}

async fn revoke(order: &Revoke) -> anyhow::Result<()> {
    let (client, namespace) = order.target.connect().await?;
    let id = &order.id;
    let secrets = all(&client, &namespace, None).await?;
    let found = secrets.iter().find_map(|(name, keys)| {
        let entry = keys.keys(name).find(|(known, ..)| known == id)?.1;
        Some((name, keys.entries.len(), entry.to_owned()))
    });
    let Some((name, count, entry)) = found else { bail!("there is no API key `{id}` in namespace `{namespace}`") };
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    match (order.delete, count) {
        (true, 1) => {
            let seen = api.get(name).await?.metadata.resource_version;
            let preconditions = Some(Preconditions { resource_version: seen, uid: None });
            let deleted = api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
            deleted.with_context(|| format!("cannot delete the Secret {namespace}/{name}"))?;
            say(&format!("secret/{name} deleted with its key `{id}`"));
        }
        (true, _) => {
            patched(&api, name, &json!({"data": {entry: null}})).await?;
            say(&format!("secret/{name}: the key `{id}` is deleted"));
        }
        (false, 2..) if !order.all => bail!(
            "the Secret `{name}` holds {count} keys, which are switched off together: give --all for that, or --delete for this one"
        ),
        (false, _) => {
            patched(&api, name, &json!({"metadata": {"annotations": {ENABLED: "false"}}})).await?;
            let what = if count == 1 { format!("the key `{id}` is off") } else { format!("its {count} keys are off") };
            say(&format!("secret/{name}: {what}; on again with `kubectl annotate secret {name} {ENABLED}-`"));
        }
    }
    Ok(())
}

async fn patched(secrets: &Api<Secret>, name: &str, patch: &Value) -> anyhow::Result<()> {
    let patched = secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.map(drop).with_context(|| format!("cannot change the Secret `{name}`"))
}

/// Secrets of API keys, in the order of their names.
async fn all(client: &Client, namespace: &str, labels: Option<&str>) -> anyhow::Result<Vec<(String, ApiKeys)>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut wanted = ListParams::default().fields(&format!("type={API_KEY_TYPE}"));
    wanted.label_selector = labels.map(str::to_owned);
    let listed = secrets.list(&wanted).await.with_context(|| format!("cannot list the Secrets of {namespace}"))?;
    Ok(listed.items.iter().filter_map(|secret| Some((secret.metadata.name.clone()?, ApiKeys::read(secret)?))).collect())
}

/// What is told of a key.
struct Listed {
    id: String,
    enabled: bool,
    plans: Vec<String>,
    labels: BTreeMap<String, String>,
    created: Option<String>,
    /// Why it is none.
    problem: Option<String>,
}

fn listed(name: &str, keys: &ApiKeys, plans: &[UsagePlan]) -> Vec<Listed> {
    let of: Vec<String> = plans
        .iter()
        .filter(|plan| selects(&plan.spec, &keys.labels))
        .filter_map(|plan| plan.metadata.name.clone())
        .collect();
    let one = |(id, _, digest): (String, &str, &Result<bundle::KeyDigest, String>)| Listed {
        id,
        enabled: keys.is_enabled(),
        plans: of.clone(),
        labels: keys.labels.clone(),
        created: keys.created.clone(),
        problem: digest.as_ref().err().cloned(),
    };
    keys.keys(name).map(one).collect()
}

impl Listed {
    fn json(&self) -> Value {
        let Self { id, enabled, plans, labels, created, problem } = self;
        json!({"id": id, "enabled": enabled, "plans": plans, "labels": labels, "created": created, "problem": problem})
    }
}

fn rows(keys: &[Listed]) -> String {
    let mut rows = vec![["ID", "ENABLED", "PLANS", "LABELS", "CREATED"].map(str::to_owned)];
    for Listed { id, enabled, plans, labels, created, problem } in keys {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let enabled = match problem {
            Some(problem) => format!("no: {problem}"),
            None => enabled.to_string(),
        };
        rows.push([id.clone(), enabled, plans.join(","), labels.join(","), created.clone().unwrap_or_default()]);
    }
    table(&rows)
}

/// A new key.
fn random() -> anyhow::Result<String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut key = String::with_capacity(LENGTH);
    while key.len() < LENGTH {
        let mut bytes = [0; 64];
        provider.secure_random.fill(&mut bytes).map_err(|_| anyhow!("the system has no randomness"))?;
        // Only what is below a multiple of the letters' number, so that all are as likely.
        let letters = bytes.iter().filter(|byte| usize::from(**byte) < 4 * LETTERS.len());
        let letters = letters.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        key.extend(letters.take(LENGTH - key.len()));
    }
    Ok(key)
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("want NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_a_key_and_no_two_are_alike() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(one, other);
        assert!(one.len() == LENGTH && one.bytes().all(|byte| LETTERS.contains(&byte)), "{one}");
    }

    #[test]
    fn a_list_tells_everything_but_the_keys() {
        let secret = json!({
            "type": API_KEY_TYPE,
            "metadata": {"name": "acme", "labels": {"plan": "gold"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "stringData": {"key": "key-of-acme-0123456789", "short": "tiny"},
        });
        let keys = ApiKeys::read(&serde_json::from_value(secret).unwrap()).unwrap();
        let plan = |name: &str| {
            let spec = json!({"stages": [{"name": "prod"}], "apiKeys": {"selector": {"matchLabels": {"plan": name}}}});
            let version = format!("{}/{}", crds::GROUP, crds::VERSION);
            serde_json::from_value(
                json!({"apiVersion": version, "kind": "UsagePlan", "metadata": {"name": name}, "spec": spec}),
            )
            .unwrap()
        };
        let plans: Vec<UsagePlan> = vec![plan("gold"), plan("silver")];
        let listed = listed("acme", &keys, &plans);
        let expected = "\
ID          ENABLED                                            PLANS  LABELS     CREATED
acme        true                                               gold   plan=gold  2026-01-01T00:00:00Z
acme.short  no: has 4 characters: a key has 20 to 128          gold   plan=gold  2026-01-01T00:00:00Z
";
        let text = rows(&listed);
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&text), squeeze(expected));
        assert!(!text.contains("key-of-acme") && !format!("{:?}", listed[0].json()).contains("key-of-acme"));
    }
}
