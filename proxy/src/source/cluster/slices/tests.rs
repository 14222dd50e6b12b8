use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use super::*;

fn slice(name: &str, ports: &[(&str, i32)], endpoints: &[(&str, bool, bool, bool)]) -> EndpointSlice {
    let mut slice = EndpointSlice { address_type: "IPv4".into(), ..EndpointSlice::default() };
    slice.metadata.name = Some(name.into());
    slice.metadata.namespace = Some("shop".into());
    slice.metadata.labels = Some([(SERVICE_LABEL.to_owned(), "orders".to_owned())].into());
    let port = |&(name, port): &(&str, i32)| EndpointPort {
        name: Some(name.into()),
        port: Some(port),
        protocol: Some("TCP".into()),
        ..EndpointPort::default()
    };
    slice.ports = Some(ports.iter().map(port).collect());
    let endpoint = |&(address, ready, serving, terminating): &(&str, bool, bool, bool)| Endpoint {
        addresses: vec![address.into()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        ..Endpoint::default()
    };
    slice.endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>();
    slice
}

fn found(slices: &[EndpointSlice]) -> Option<Vec<String>> {
    let slices: Vec<Slice> = slices.iter().map(Slice::of).collect();
    Some(addresses(slices.iter())?.iter().map(SocketAddr::to_string).collect())
}

#[test]
fn ready_ones_are_used_and_leaving_ones_only_when_none_is_ready() {
    let ready = ("10.0.0.1", true, true, false);
    let leaving = ("10.0.0.2", false, true, true);
    let dead = ("10.0.0.3", false, false, false);
    let ended = ("10.0.0.4", false, false, true);
    let port = [("http", 8080)];
    assert_eq!(found(&[slice("a", &port, &[ready, leaving, dead, ended])]).unwrap(), ["10.0.0.1:8080"]);
    assert_eq!(found(&[slice("a", &port, &[leaving, dead, ended])]).unwrap(), ["10.0.0.2:8080"]);
    assert_eq!(found(&[slice("a", &port, &[dead, ended])]), None);
    assert_eq!(found(&[]), None);
}

#[test]
fn one_port_is_used_whatever_its_number_and_several_are_left_to_dns() {
    let one = |address| (address, true, true, false);
    let first = slice("a", &[("http", 8080)], &[one("10.0.0.1")]);
    let other_number = slice("b", &[("http", 9090)], &[one("10.0.0.2")]);
    assert_eq!(found(&[first.clone(), other_number]).unwrap(), ["10.0.0.1:8080", "10.0.0.2:9090"]);
    assert_eq!(found(&[slice("a", &[("http", 8080), ("grpc", 9090)], &[one("10.0.0.1")])]), None);
    assert_eq!(found(&[first.clone(), slice("b", &[("grpc", 9090)], &[one("10.0.0.2")])]), None);
    assert_eq!(found(&[first, slice("b", &[("grpc", 9090)], &[])]).unwrap(), ["10.0.0.1:8080"]);
}

#[test]
fn of_two_families_ipv4_is_used() {
    let one = |address| (address, true, true, false);
    let v4 = slice("a", &[("", 80)], &[one("10.0.0.1")]);
    let v6 = slice("b", &[("", 80)], &[one("fd00::1")]);
    assert_eq!(found(&[v4, v6.clone()]).unwrap(), ["10.0.0.1:80"]);
    assert_eq!(found(&[v6]).unwrap(), ["[fd00::1]:80"]);
}

#[test]
fn a_list_drops_what_it_does_not_name() {
    let endpoints = Arc::<Endpoints>::default();
    let mut slices = Slices::new(Arc::clone(&endpoints));
    let key = (Box::from("shop"), Box::from("orders"));
    slices.take(Some(News::Applied(Box::new(slice("a", &[("", 80)], &[("10.0.0.1", true, true, false)])))));
    assert_eq!(endpoints.find(&key).unwrap().len(), 1);
    let generation = endpoints.generation();
    slices.take(Some(News::Applied(Box::new(slice("a", &[("", 80)], &[("10.0.0.1", true, true, false)])))));
    assert_eq!(endpoints.generation(), generation, "nothing has changed");
    slices.take(Some(News::Only { namespace: "other".into(), names: HashSet::new() }));
    assert!(endpoints.find(&key).is_some());
    slices.take(Some(News::Only { namespace: "shop".into(), names: HashSet::new() }));
    assert!(endpoints.find(&key).is_none());
}
