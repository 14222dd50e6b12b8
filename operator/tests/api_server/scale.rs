//! 3,000 routes in 300 APIs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::support::{Rig, api, stage};

fn api_of_ten(name: &str, version: u32) -> String {
    let mut paths = String::new();
    for number in 0..10 {
        write!(paths, "/v{version}/r{number}: {{get: {{responses: {{'200': {{description: ok}}}}}}}}, ").unwrap();
    }
    let one = "/a: {get: {responses: {'200': {description: ok}}}}";
    let whole = api(name, "/a");
    assert!(whole.contains(one));
    whole.replace(one, paths.trim_end_matches(", "))
}

#[test]
fn three_thousand_routes_take_little_memory_and_one_change_writes_one_bundle() {
    let Some(mut rig) = Rig::new("scale", 19200) else { return };
    let mut all = String::new();
    for number in 0..300 {
        all += &api_of_ten(&format!("api-{number}"), 1);
        all += &stage(&format!("prod-{number}"), &format!("api-{number}"), "");
    }
    let operator = rig.operator("a");
    rig.apply(&all);
    let began = Instant::now();
    while rig.versions().len() < 600 {
        assert!(began.elapsed() < Duration::from_secs(480), "{} of 600 bundles", rig.versions().len());
        std::thread::sleep(Duration::from_millis(500));
    }
    rig.wait_live("prod-299", 1);
    rig.wait("its routes", |rig| rig.get("apidefinition", "api-299")["status"]["routes"] == 10);
    std::thread::sleep(Duration::from_secs(5));
    let before = rig.versions();
    rig.apply(&api_of_ten("api-150", 2));
    rig.wait_live("prod-150", 2);
    let changed = rig.versions().into_iter().filter(|it| !before.contains(it)).count();
    assert_eq!(changed, 1);
    let memory = rig.memory(operator);
    eprintln!("the operator has {} MiB resident with 3,000 routes in 300 APIs", memory >> 20);
    assert!(memory < 256 << 20);
    // A new leader that reads everything at once has as little, and writes nothing.
    rig.stop(operator);
    let before = rig.versions();
    let other = rig.operator("b");
    rig.apply(&api_of_ten("api-151", 2));
    rig.wait_live("prod-151", 2);
    assert_eq!(rig.versions().into_iter().filter(|it| !before.contains(it)).count(), 1);
    let memory = rig.memory(other);
    eprintln!("after a start on all of it {} MiB", memory >> 20);
    assert!(memory < 256 << 20);
}
