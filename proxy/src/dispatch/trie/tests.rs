use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::dispatch::pattern::{Pattern, Segment};
use crate::fixture::worked;

/// How well a route matches, the better the greater: what the trie must agree with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Summary {
    /// Of an HTTP API: no greedy segment. Of a REST API always false.
    full: bool,
    /// Segment by segment, from the left.
    segments: Vec<Kind>,
    /// A specific verb beats `ANY`.
    specific: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Greedy,
    Parameter,
    Literal,
}

type Route<'a> = (&'a str, Verbs<'a>);

/// Scores one route against a path, segment by segment, and reads its parameters.
fn score(route: &Route<'_>, http: bool, method: &str, path: &str) -> Option<(Summary, Vec<String>)> {
    let (resource, verbs) = route;
    let specific = match verbs {
        Verbs::One(verb) if *verb == method => true,
        Verbs::One(_) => return None,
        Verbs::Seven if SEVEN.contains(&method) => false,
        Verbs::Seven => return None,
        Verbs::Every => false,
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut wanted: Vec<&str> = path.split('/').skip(1).collect();
    let (mut segments, mut values) = (Vec::new(), Vec::new());
    for segment in Pattern::parse(resource).0.segments {
        match segment {
            Segment::Greedy(_) => {
                let rest = wanted.join("/");
                if rest.is_empty() {
                    return None;
                }
                segments.push(Kind::Greedy);
                values.push(rest);
                return Some((Summary { full: false, segments, specific }, values));
            }
            Segment::Literal(text) => {
                if wanted.is_empty() || wanted.remove(0) != &*text {
                    return None;
                }
                segments.push(Kind::Literal);
            }
            Segment::Parameter(_) => {
                if wanted.is_empty() || wanted[0].is_empty() {
                    return None;
                }
                segments.push(Kind::Parameter);
                values.push(wanted.remove(0).to_owned());
            }
        }
    }
    wanted.is_empty().then_some((Summary { full: http, segments, specific }, values))
}

fn naive(routes: &[Route<'_>], http: bool, method: &str, path: &str) -> Option<(usize, Vec<String>)> {
    let scored = routes.iter().enumerate().filter_map(|(index, route)| {
        let (summary, values) = score(route, http, method, path)?;
        Some((summary, index, values))
    });
    scored.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, index, values)| (index, values))
}

fn router(routes: &[Route<'_>], http: bool) -> Router {
    let mut builder = Builder::new(http);
    for (index, (resource, verbs)) in routes.iter().enumerate() {
        builder.insert(&Pattern::parse(resource).0, *verbs, index).unwrap();
    }
    builder.build()
}

fn find(router: &Router, method: &str, path: &str) -> Option<(usize, Vec<String>)> {
    let mut parameters = Vec::new();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let route = router.find(&method, path, 0, &mut parameters)?;
    Some((route, parameters.into_iter().map(|range| path[range].to_owned()).collect()))
}

#[track_caller]
fn check(routes: &[Route<'_>], method: &str, path: &str, expected: Option<(usize, &[&str])>) {
    let expected = expected.map(|(route, values)| (route, values.iter().map(|&value| value.to_owned()).collect()));
    assert_eq!(find(&router(routes, false), method, path), expected, "{method} {path}");
    assert_eq!(naive(routes, false, method, path), expected, "{method} {path}, scored");
}

/// The recorded and documented precedence, as in the acceptance kit.
#[test]
fn precedence() {
    let routes: &[Route<'_>] = &[
        ("/test", Verbs::One("POST")),
        ("/test/any", Verbs::Seven),
        ("/{proxy+}", Verbs::One("OPTIONS")),
        ("/part1", Verbs::One("GET")),
        ("/part1/{x}/fixed", Verbs::One("GET")),
        ("/shop/{id}", Verbs::One("GET")),
        ("/shop/{id}", Verbs::One("PUT")),
        ("/shop/new", Verbs::One("GET")),
        ("/shop/{id}/lines/{line}", Verbs::One("GET")),
        ("/both", Verbs::Seven),
        ("/both", Verbs::One("GET")),
        ("/backend/{all+}", Verbs::Every),
        ("/{proxy+}", Verbs::One("GET")),
    ];
    check(routes, "OPTIONS", "/test", Some((2, &["test"])));
    check(routes, "POST", "/test", Some((0, &[])));
    check(routes, "POST", "/test/", Some((0, &[])));
    check(routes, "POST", "/Test", None);
    check(routes, "OPTIONS", "/test/any", Some((1, &[])));
    check(routes, "GET", "/part1/random", Some((12, &["part1/random"])));
    check(routes, "GET", "/part1/a/fixed", Some((4, &["a"])));
    check(routes, "GET", "/shop/new", Some((7, &[])));
    check(routes, "GET", "/shop/7", Some((5, &["7"])));
    check(routes, "PUT", "/shop/new", Some((6, &["new"])));
    check(routes, "GET", "/shop/7/lines/3", Some((8, &["7", "3"])));
    check(routes, "GET", "/both", Some((10, &[])));
    check(routes, "DELETE", "/both", Some((9, &[])));
    check(routes, "PROPFIND", "/both", None);
    check(routes, "PROPFIND", "/backend/x", Some((11, &["x"])));
    check(routes, "GET", "/", None);
    check(routes, "HEAD", "/shop/7", None);
    check(routes, "GET", "/shop/", Some((12, &["shop"])));
    check(routes, "GET", "/shop//", Some((12, &["shop/"])));
    check(routes, "GET", "/a//b/", Some((12, &["a//b"])));
}

#[test]
fn a_greedy_parameter_needs_a_character() {
    let routes: &[Route<'_>] = &[("/things/{proxy+}", Verbs::One("GET")), ("/", Verbs::One("PURGE"))];
    check(routes, "GET", "/things", None);
    check(routes, "GET", "/things/", None);
    check(routes, "GET", "/things/a", Some((0, &["a"])));
    check(routes, "PURGE", "/", Some((1, &[])));
    check(routes, "GET", "/", None);
}

#[test]
fn http_apis_take_greedy_routes_last_and_the_default_at_the_very_end() {
    let routes: &[Route<'_>] = &[("/a/{proxy+}", Verbs::One("GET")), ("/{x}/b", Verbs::Seven)];
    assert_eq!(find(&router(routes, false), "GET", "/a/b").unwrap().0, 0);
    assert_eq!(find(&router(routes, true), "GET", "/a/b").unwrap().0, 1);
    let mut builder = Builder::new(true);
    builder.insert(&Pattern::parse("/a").0, Verbs::One("GET"), 0).unwrap();
    builder.insert_fallback(1).unwrap();
    assert_eq!(builder.insert_fallback(2), Err(Taken { by: 1 }));
    let router = builder.build();
    assert_eq!(find(&router, "GET", "/a"), Some((0, vec![])));
    assert_eq!(find(&router, "PROPFIND", "/"), Some((1, vec![])));
}

#[test]
fn one_resource_has_one_method_of_a_verb() {
    let mut builder = Builder::new(false);
    builder.insert(&Pattern::parse("/{a}").0, Verbs::One("GET"), 0).unwrap();
    assert_eq!(builder.insert(&Pattern::parse("/{b}/").0, Verbs::One("GET"), 1), Err(Taken { by: 0 }));
    builder.insert(&Pattern::parse("/{b}").0, Verbs::Every, 2).unwrap();
    assert_eq!(builder.insert(&Pattern::parse("/{c}").0, Verbs::Seven, 3), Err(Taken { by: 2 }));
}

/// Every segment fits a literal and a parameter, and nothing fits in the end: the worst a path can do is to enter
/// every node once.
#[test]
fn backtracking_is_bounded_by_the_tree() {
    let depth = 12;
    let resources: Vec<String> = (0..1 << depth)
        .map(|bits| (0..depth).map(|level| if bits >> level & 1 == 0 { "/a" } else { "/{p}" }).collect())
        .collect();
    let routes: Vec<Route<'_>> = resources.iter().map(|resource| (resource.as_str(), Verbs::One("POST"))).collect();
    let router = router(&routes, false);
    assert_eq!(router.nodes.len(), (2 << depth) - 1);
    let started = worked();
    for path in ["/a".repeat(depth), "/a".repeat(depth + 1), "/a".repeat(5000), format!("/a/{}", "b".repeat(10_000))] {
        assert_eq!(find(&router, "GET", &path), None);
    }
    let took = worked() - started;
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn ten_thousand_routes_are_small() {
    let resources: Vec<String> =
        (0..10_000).map(|number| format!("/service{}/items{number}/{{id}}", number % 100)).collect();
    let routes: Vec<Route<'_>> = resources.iter().map(|resource| (resource.as_str(), Verbs::One("GET"))).collect();
    let router = router(&routes, false);
    let bytes = size_of_val(&*router.nodes)
        + size_of_val(&*router.edges)
        + size_of_val(&*router.slots)
        + size_of_val(&*router.methods)
        + router.texts.len();
    assert!(bytes < 1 << 20, "{bytes}");
    assert_eq!(find(&router, "GET", "/service42/items4242/x"), Some((4242, vec!["x".to_owned()])));
}

fn resource() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(prop_oneof![3 => "[abc]", 2 => Just("{p}".to_owned()), 1 => Just(String::new())], 0..4),
        any::<bool>(),
    )
        .prop_map(|(mut segments, greedy)| {
            if greedy {
                segments.push("{g+}".to_owned());
            }
            format!("/{}", segments.join("/"))
        })
}

fn verbs() -> impl Strategy<Value = Verbs<'static>> {
    prop_oneof![
        2 => Just(Verbs::One("GET")),
        1 => Just(Verbs::One("PUT")),
        1 => Just(Verbs::One("PURGE")),
        1 => Just(Verbs::Seven),
        1 => Just(Verbs::Every),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_trie_takes_the_route_that_scores_best(
        drawn in prop::collection::vec((resource(), verbs()), 1..24),
        http in any::<bool>(),
        requests in prop::collection::vec((prop_oneof!["GET", "PUT", "PURGE", "LINK"], "/([abcd]|/){0,7}"), 1..8),
    ) {
        let mut builder = Builder::new(http);
        let mut routes: Vec<Route<'_>> = Vec::new();
        for (resource, verbs) in &drawn {
            if builder.insert(&Pattern::parse(resource).0, *verbs, routes.len()).is_ok() {
                routes.push((resource, *verbs));
            }
        }
        let router = builder.build();
        for (method, path) in &requests {
            prop_assert_eq!(find(&router, method, path), naive(&routes, http, method, path), "{} {}", method, path);
        }
    }
}
