use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bundle::Digest;
use bundle::object::Subject;

use super::*;

fn read(payload: &[u8]) -> Read {
    let subject = Subject::Host("a.example".into());
    let index = Index { parts: vec!["sg-part-1".into()], ..Index::new(subject, 1, Digest::of(payload)) };
    Read { index, payload: payload.to_vec() }
}

fn eventually(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came to be");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_kept_is_read_again_and_only_by_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("deeper");
    let disk = Disk::open(&folder).unwrap();
    disk.keep("sg-host-1".into(), read(b"one"));
    disk.keep("sg-host-2".into(), read(b"two\nlines"));
    eventually(|| disk.read().len() == 2);
    let mode = fs::metadata(folder.join("sg-host-1.bundle")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let found: BTreeMap<String, Read> = disk.read().into_iter().collect();
    assert_eq!(found["sg-host-2"].payload, b"two\nlines");
    assert!(found["sg-host-2"].index.parts.is_empty(), "the payload is whole");
    disk.retain(&HashSet::from(["sg-host-1".to_owned()]));
    eventually(|| disk.read().len() == 1);
    fs::write(folder.join("sg-host-3.bundle"), "rubbish").unwrap();
    assert_eq!(disk.read().len(), 1, "what cannot be read is left out");
}
