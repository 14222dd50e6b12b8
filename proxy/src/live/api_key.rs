//! Who is known: API keys by their digests, and the Stages that their plans open.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bundle::{Digest, KeyDigest, KeysBundle, PlanBundle, StageKey, Stamped};

/// Plans and keys as they came.
#[derive(Clone, Copy, Default)]
pub struct Offer<'a> {
    pub plans: &'a [Stamped<PlanBundle>],
    pub keys: &'a [Stamped<KeysBundle>],
}

/// Everybody who is known. Read-only; a change makes another one, which shares what did not change.
#[derive(Default)]
pub struct Callers {
    shards: Vec<Arc<Shard>>,
    namespaces: HashMap<Box<str>, Namespace, foldhash::fast::RandomState>,
    /// Digests of the plans.
    plans: Vec<Digest>,
}

/// Plans and keys open Stages of their own namespace only.
#[derive(Default)]
struct Namespace {
    /// Stages by the names of plans, in order.
    plans: BTreeMap<Box<str>, Box<[Box<str>]>>,
    /// Indexes in [`Callers::shards`] by the first hexadecimal digits of the keys' digests. Shards of several lengths
    /// stand beside each other only while they are replaced.
    shards: BTreeMap<Prefix, usize>,
}

type Prefix = Box<str>;

/// One bundle of keys.
struct Shard {
    digest: Digest,
    places: HashMap<KeyDigest, usize, foldhash::fast::RandomState>,
    keys: Vec<Key>,
}

/// One key.
pub struct Key {
    pub id: Box<str>,
    /// Names of its plans; of several that name a Stage the first counts.
    plans: Box<[Box<str>]>,
}

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    shard: usize,
    key: usize,
}

/// Why a key does not open a Stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Nobody has the key, or it is switched off.
    Key,
    /// No plan of the key names the Stage.
    Plan,
}

impl Callers {
    /// Takes over what did not change since `previous`.
    pub(super) fn parse(offer: Offer<'_>, previous: &Arc<Self>) -> Arc<Self> {
        let Offer { plans, keys } = offer;
        let same_plans = plans.iter().map(|plan| &plan.digest).eq(&previous.plans);
        if same_plans && keys.iter().map(|keys| &keys.digest).eq(previous.shards.iter().map(|shard| &shard.digest)) {
            return Arc::clone(previous);
        }
        let known: HashMap<&Digest, &Arc<Shard>> = previous.shards.iter().map(|shard| (&shard.digest, shard)).collect();
        let mut callers = Self { plans: plans.iter().map(|plan| plan.digest.clone()).collect(), ..Self::default() };
        for plan in plans {
            // What this proxy does not know about a plan may be what keeps callers out.
            let stages = plan.stages.iter().filter(|_| plan.requires.is_empty());
            let stages = stages.map(|stage| stage.as_str().into()).collect();
            callers.namespace(&plan.key.namespace).plans.insert(plan.key.name.as_str().into(), stages);
        }
        for keys in keys {
            let shard = known.get(&keys.digest).map(|&shard| Arc::clone(shard));
            let place = callers.shards.len();
            callers.namespace(&keys.shard.namespace).shards.insert(keys.shard.prefix.as_str().into(), place);
            callers.shards.push(shard.unwrap_or_else(|| Arc::new(Shard::parse(keys))));
        }
        Arc::new(callers)
    }

    fn namespace(&mut self, name: &str) -> &mut Namespace {
        self.namespaces.entry(name.into()).or_default()
    }

    /// Where the key with this digest is, if it opens this Stage.
    ///
    /// # Errors
    /// Why it does not.
    pub fn find(&self, stage: &StageKey, digest: &KeyDigest) -> Result<Place, Unknown> {
        let namespace = self.namespaces.get(&*stage.namespace).ok_or(Unknown::Key)?;
        let (place, key) = self.key(namespace, digest).ok_or(Unknown::Key)?;
        let opens = key.plans.iter().any(|plan| {
            let stages = namespace.plans.get(plan).map(|stages| &**stages).unwrap_or_default();
            stages.binary_search_by(|known| (**known).cmp(&stage.name)).is_ok()
        });
        if opens { Ok(place) } else { Err(Unknown::Plan) }
    }

    fn key(&self, namespace: &Namespace, digest: &KeyDigest) -> Option<(Place, &Key)> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = [DIGITS[usize::from(digest.0[0] >> 4)], DIGITS[usize::from(digest.0[0] & 15)]];
        let prefix = std::str::from_utf8(&digits).ok()?;
        (0..=2).find_map(|length| {
            let shard = *namespace.shards.get(prefix.get(..length)?)?;
            let keys = self.shards.get(shard)?;
            let key = *keys.places.get(digest)?;
            Some((Place { shard, key }, keys.keys.get(key)?))
        })
    }

    /// The key at a place that [`Callers::find`] told.
    pub fn at(&self, place: Place) -> Option<&Key> {
        self.shards.get(place.shard)?.keys.get(place.key)
    }
}

impl Shard {
    fn parse(bundle: &Stamped<KeysBundle>) -> Self {
        let mut shard = Self { digest: bundle.digest.clone(), places: HashMap::default(), keys: Vec::new() };
        for (digest, bundle::ApiKey { id, plans, requires: _ }) in
            bundle.keys.iter().filter(|(_, key)| key.requires.is_empty())
        {
            shard.places.insert(*digest, shard.keys.len());
            let plans = plans.iter().map(|plan| plan.as_str().into()).collect();
            shard.keys.push(Key { id: id.as_str().into(), plans });
        }
        shard
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bundle::{ApiKey, KeyShard, PlanKey};

    use super::*;
    use crate::fixture::key;

    fn plan(name: &str, stages: &[&str], requires: &[&str]) -> Stamped<PlanBundle> {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<BTreeSet<String>>();
        let key = PlanKey { namespace: "default".to_owned(), name: name.to_owned() };
        Stamped::new(PlanBundle { key, stages: texts(stages), requires: texts(requires) })
    }

    fn keys(namespace: &str, prefix: &str, keys: &[(&str, &[&str])]) -> Stamped<KeysBundle> {
        let key = |(value, plans): &(&str, &[&str])| {
            let plans = plans.iter().map(|&plan| plan.to_owned()).collect();
            let requires = value.strip_prefix("bound-").map(str::to_owned).into_iter().collect();
            (KeyDigest::of(value.as_bytes()), ApiKey { id: format!("id-{value}"), plans, requires })
        };
        let shard = KeyShard { namespace: namespace.to_owned(), prefix: prefix.to_owned() };
        Stamped::new(KeysBundle { shard, keys: keys.iter().map(key).collect() })
    }

    fn parse(plans: &[Stamped<PlanBundle>], keys: &[Stamped<KeysBundle>], previous: &Arc<Callers>) -> Arc<Callers> {
        Callers::parse(Offer { plans, keys }, previous)
    }

    fn found(callers: &Callers, stage: &str, value: &str) -> Result<String, Unknown> {
        let place = callers.find(&key(stage), &KeyDigest::of(value.as_bytes()))?;
        Ok(callers.at(place).unwrap().id.to_string())
    }

    #[test]
    fn a_key_opens_the_stages_of_its_plans() {
        let plans = [plan("gold", &["prod", "test"], &[]), plan("dear", &["dear"], &["payment"])];
        let all: [(&str, &[&str]); 4] =
            [("a", &["gold"]), ("b", &["gone", "gold"]), ("c", &["dear"]), ("bound-x", &["gold"])];
        let callers =
            parse(&plans, &[keys("default", "", &all), keys("other", "", &[("d", &["gold"])])], &Arc::default());
        assert_eq!(found(&callers, "prod", "a"), Ok("id-a".to_owned()));
        assert_eq!(found(&callers, "test", "b"), Ok("id-b".to_owned()));
        assert_eq!(found(&callers, "dev", "a"), Err(Unknown::Plan));
        // What this proxy does not know of a plan or key keeps everybody out.
        assert_eq!(found(&callers, "dear", "c"), Err(Unknown::Plan));
        assert_eq!(found(&callers, "prod", "bound-x"), Err(Unknown::Key));
        // Another namespace's key.
        assert_eq!(found(&callers, "prod", "d"), Err(Unknown::Key));
        assert_eq!(found(&Callers::default(), "prod", "a"), Err(Unknown::Key));
    }

    #[test]
    fn shards_of_any_length_are_looked_into_and_those_that_stay_are_shared() {
        let gold = [plan("gold", &["prod"], &[])];
        let prefix = |value: &str, digits| KeyDigest::of(value.as_bytes()).prefix(digits);
        let shards = [
            keys("default", &prefix("a", 2), &[("a", &["gold"])]),
            keys("default", &prefix("b", 1), &[("b", &["gold"])]),
            keys("default", "", &[("c", &["gold"])]),
        ];
        let callers = parse(&gold, &shards, &Arc::default());
        for value in ["a", "b", "c"] {
            assert_eq!(found(&callers, "prod", value), Ok(format!("id-{value}")));
        }
        assert!(Arc::ptr_eq(&parse(&gold, &shards, &callers), &callers));
        let fewer = parse(&gold, &shards[1..], &callers);
        assert_eq!(found(&fewer, "prod", "a"), Err(Unknown::Key));
        assert!(Arc::ptr_eq(&fewer.shards[0], &callers.shards[1]));
        let silver = parse(&[plan("gold", &["test"], &[])], &shards, &callers);
        assert_eq!(found(&silver, "prod", "a"), Err(Unknown::Plan));
        assert_eq!(found(&silver, "test", "a"), Ok("id-a".to_owned()));
    }
}
