use std::time::Duration;

use super::table::{LINGER, MAX_ROUTES};
use super::*;
use crate::observe::tests::stage;

fn live(stages: &[&Arc<Stage>]) -> Live {
    Live { stages: stages.iter().map(|stage| Arc::clone(stage)).collect(), ..Live::default() }
}

fn text(registry: &Registry) -> String {
    String::from_utf8(registry.text()).unwrap()
}

fn hit(meters: &StageMeters, stage: &Stage, route: Option<usize>) {
    meters.route(stage, route).unwrap().classes[1].add(1);
}

fn count(registry: &Registry, stage: &str, route: &str) -> u64 {
    let method = match route {
        "" | "other" => route,
        _ => "GET",
    };
    let row = format!(
        "stagegate_requests_total{{namespace=\"shop\",api=\"orders\",stage=\"{stage}\",route=\"{route}\",method=\"{method}\",status_class=\"2xx\"}} "
    );
    text(registry).lines().find_map(|line| line.strip_prefix(&row).map(|value| value.parse().unwrap())).unwrap_or(0)
}

#[test]
fn cores_are_added_and_reloads_count_on() {
    let registry = Registry::default();
    let first = stage("prod", "1", &["/a", "/b"]);
    registry.loaded(&live(&[&first]));
    for core in 0..2 {
        let meters = registry.stage(core, &first);
        hit(&meters, &first, Some(0));
        hit(&meters, &first, None);
    }
    // The next deployment puts the route elsewhere.
    let second = stage("prod", "2", &["/0", "/a", "/b"]);
    registry.loaded(&live(&[&second]));
    let meters = registry.stage(1, &second);
    hit(&meters, &second, Some(1));
    assert_eq!(count(&registry, "prod", "/a"), 3);
    assert_eq!(count(&registry, "prod", ""), 2);
    assert!(text(&registry).contains("stagegate_live_routes 3\n"));
    assert!(text(&registry).contains("stagegate_reloads_total 2\n"));
}

#[test]
fn what_is_gone_lingers_and_may_come_back() {
    let table = &Registry::default().numbers.table;
    let start = Instant::now();
    let old = stage("prod", "1", &["/a", "/b"]);
    let other = stage("test", "1", &["/a"]);
    for (stage, resource) in [(&old, "/a"), (&old, "/b"), (&other, "/a")] {
        table.route(0, &StageLabels::of(stage), resource, "GET");
    }
    let shown = |now| {
        let view = table.view(now);
        let mut names: Vec<String> = view
            .iter()
            .flat_map(|stage| stage.routes.iter().map(|route| format!("{}{}", stage.labels.stage, route.resource)))
            .collect();
        names.sort();
        names.join(" ")
    };
    let new = stage("prod", "2", &["/a"]);
    table.loaded(&live(&[&new]), start);
    assert_eq!(shown(start + LINGER - Duration::from_secs(1)), "prod/a prod/b test/a");
    // The stage comes back in time, the route does not.
    table.loaded(&live(&[&new, &other]), start + Duration::from_secs(1));
    assert_eq!(shown(start + LINGER), "prod/a test/a");
    table.loaded(&live(&[]), start + LINGER);
    assert_eq!(shown(start + 2 * LINGER), "");
}

#[test]
fn routes_have_a_bound() {
    let registry = Registry::default();
    let names: Vec<String> = (0..MAX_ROUTES + 10).map(|index| format!("/{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let big = stage("prod", "1", &names);
    registry.loaded(&live(&[&big]));
    let small = stage("test", "1", &["/a"]);
    for core in 0..2 {
        let meters = registry.stage(core, &big);
        for route in 0..names.len() {
            hit(&meters, &big, Some(route));
        }
        hit(&meters, &big, None);
        hit(&registry.stage(core, &small), &small, Some(0));
    }
    assert_eq!(count(&registry, "prod", "other"), 20);
    assert_eq!(count(&registry, "prod", "/999"), 2);
    assert_eq!(count(&registry, "prod", "/1000"), 0);
    assert_eq!(count(&registry, "prod", ""), 2);
    assert_eq!(count(&registry, "test", "other"), 2);
}

/// Every line of the exposition is a comment of its family or a sample of it, and histograms add up.
#[test]
fn the_text_is_prometheus_text() {
    let registry = Registry::default();
    let weird = stage("prod", "1", &["/a\"b\\c"]);
    let meters = registry.stage(0, &weird);
    hit(&meters, &weird, Some(0));
    for millis in [1, 20, 40_000] {
        let route = meters.route(&weird, Some(0)).unwrap();
        route.duration.observe(&meter::LATENCY, Duration::from_millis(millis));
    }
    registry.bundle_rejected();
    let text = text(&registry);
    assert!(text.contains(r#"route="/a\"b\\c""#), "{text}");
    assert!(text.contains("stagegate_bundle_rejected_total 1\n"), "{text}");
    assert!(text.contains(concat!("stagegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")), "{text}");

    let (mut family, mut seen, mut buckets) = ("", Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(!seen.contains(&family), "{family} comes twice");
            seen.push(family);
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(family), "{line}");
            assert_eq!(rest.ends_with(" counter"), family.ends_with("_total"), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(family), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        if name.starts_with("stagegate_request_duration_seconds_bucket") {
            buckets.push(value.parse::<u64>().unwrap());
        }
    }
    assert_eq!(buckets.len(), 16);
    assert!(buckets.is_sorted());
    assert_eq!(buckets.last(), Some(&3));
    assert!(text.contains("} 40.021\n"), "{text}");
}

#[test]
fn reasons_and_cores() {
    let registry = Registry::default();
    for _ in 0..2 {
        let core = registry.core();
        let counter = Arc::new(Counter::default());
        counter.add(2);
        lock(&core.rejections).push(("NoSuchMethod", counter));
    }
    assert!(text(&registry).contains("stagegate_rejections_total{reason=\"NoSuchMethod\"} 4\n"));
}
