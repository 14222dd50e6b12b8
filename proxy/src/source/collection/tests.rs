use bundle::object::{INDEX_KEY, PART_BYTES, PAYLOAD_KEY, Packed};

use super::*;

/// A stage whose bundle is as large as it has to be.
fn packed(name: &str, variable: &str) -> (String, Packed) {
    let mut stage = crate::fixture::stage(name, &[]);
    stage.variables.insert("v".into(), variable.into());
    let encoded = bundle::encode(&stage, bundle::FORMAT).unwrap();
    let subject = Subject::Stage(stage.key.clone());
    let index = Index { deployment: Some(1), ..Index::new(subject.clone(), encoded.format, encoded.digest) };
    (subject.object_name("default"), index.pack(encoded.payload))
}

fn give(collection: &mut Collection, (name, packed): &(String, Packed)) -> Came {
    collection.index(name, |key| packed.index.get(key).map(Vec::as_slice))
}

fn collection() -> Collection {
    Collection::of("default".into())
}

/// Text that does not become small.
fn noise(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect()
}

#[test]
fn the_same_digest_is_not_read_twice() {
    let mut collection = collection();
    let one = packed("prod", "one");
    assert!(matches!(give(&mut collection, &one), Came::Read(_)));
    collection.changed = false;
    assert!(matches!(give(&mut collection, &one), Came::Nothing));
    assert!(!collection.has_changed());
    assert!(matches!(give(&mut collection, &packed("prod", "two")), Came::Read(_)));
    assert!(collection.has_changed());
}

#[test]
fn an_index_waits_for_its_parts_in_any_order() {
    let mut collection = collection();
    let big = packed("prod", &noise(2 * PART_BYTES));
    assert!(big.1.parts.len() > 1);
    assert!(matches!(give(&mut collection, &big), Came::Nothing));
    assert_eq!(collection.stages().count(), 0);
    let mut whole = 0;
    for (name, payload) in big.1.parts.iter().rev() {
        whole += collection.part(name, payload).iter().filter(|(_, came)| matches!(came, Came::Read(_))).count();
    }
    assert_eq!((whole, collection.stages().count()), (1, 1));
}

#[test]
fn what_cannot_be_read_keeps_what_was_there_and_is_told_by_name() {
    let mut collection = collection();
    let mut object = packed("prod", "one");
    give(&mut collection, &object);
    let before = collection.objects[&object.0].served.clone();
    object = packed("prod", "two");
    object.1.index.insert(PAYLOAD_KEY.into(), b"rubbish".to_vec());
    assert!(matches!(give(&mut collection, &object), Came::Rejected));
    object.1.index.insert(INDEX_KEY.into(), b"{}".to_vec());
    assert!(matches!(give(&mut collection, &object), Came::Rejected));
    assert_eq!(collection.objects[&object.0].served, before);
    let Some(Trouble::Rejected(rejected)) = &collection.objects[&object.0].trouble else { panic!("rejected") };
    assert_eq!(rejected.subject, before.map(|(subject, _)| subject));
    give(&mut collection, &packed("prod", "one"));
    assert!(collection.objects[&object.0].trouble.is_none());
}

/// A bundle under a subject.
fn object(subject: Subject, content: &impl serde::Serialize) -> (String, Packed) {
    let encoded = bundle::encode(content, bundle::FORMAT).unwrap();
    let name = subject.object_name("default");
    (name, Index::new(subject, encoded.format, encoded.digest).pack(encoded.payload))
}

#[test]
fn plans_and_keys_come_and_go() {
    let (plan, keys) = crate::fixture::callers("prod", "a-key-of-acme-0123456789", "acme");
    let mut collection = collection();
    let of_plan = object(Subject::Plan(plan.key.clone()), &*plan);
    let of_keys = object(Subject::Keys(keys.shard.clone()), &*keys);
    assert!(matches!(give(&mut collection, &of_plan), Came::Read(_)));
    assert!(matches!(give(&mut collection, &of_keys), Came::Read(_)));
    assert_eq!((collection.plans.len(), collection.keys.len()), (1, 1));
    // One that is about something else than it says.
    let (name, _) = &of_keys;
    let other = object(Subject::Keys(keys.shard.clone()), &*plan);
    assert!(matches!(give(&mut collection, &other), Came::Rejected));
    assert_eq!(collection.keys.len(), 1, "what was there stays");
    collection.changed = false;
    collection.remove(name);
    assert!(collection.keys.is_empty() && collection.has_changed());
    collection.retain(&HashSet::new());
    assert!(collection.plans.is_empty());
}

#[test]
fn an_object_with_anothers_name_is_refused() {
    let mut collection = collection();
    let (_, packed) = packed("prod", "one");
    assert!(matches!(give(&mut collection, &("sg-stage-0".into(), packed)), Came::Rejected));
}

#[test]
fn a_copy_gives_way_to_what_came() {
    let mut collection = collection();
    let new = packed("prod", "two");
    let Came::Read(copy) = give(&mut Collection::of("default".into()), &packed("prod", "one")) else { panic!() };
    let again = Read { index: copy.index.clone(), payload: copy.payload.clone() };
    assert!(collection.restore(&new.0, again));
    assert!(matches!(give(&mut collection, &new), Came::Read(_)));
    assert!(!collection.restore(&new.0, *copy), "what is there is newer");
    collection.retain(&HashSet::new());
    assert_eq!(collection.stages().count(), 0);
}
