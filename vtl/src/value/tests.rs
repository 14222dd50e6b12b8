use std::rc::Rc;

use super::*;

#[test]
fn doubles_print_as_in_java() {
    let cases = [
        (1.0, "1.0"),
        (2.49, "2.49"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (-0.0, "-0.0"),
        (9999999.0, "9999999.0"),
        (f64::INFINITY, "Infinity"),
    ];
    for (number, text) in cases {
        assert_eq!(Value::Double(number).to_text(), text);
    }
}

#[test]
fn maps_keep_order_and_last_value_with_and_without_index() {
    for size in [3, 40] {
        let map = Map::new(Access::Open);
        for n in 0..size {
            map.put(Value::from(format!("k{n}")), Value::Int(n));
        }
        assert_eq!(map.put("k1".into(), "new".into()).unwrap().to_text(), "1");
        assert_eq!(map.get("k1").unwrap().to_text(), "new");
        assert_eq!(map.remove(&"k0".into()).unwrap().to_text(), "0");
        assert_eq!(map.entry(0).unwrap().0.to_text(), "k1");
        assert_eq!(map.get("k2").unwrap().to_text(), "2");
        assert_eq!(map.len(), size as usize - 1);
    }
}

#[test]
fn a_deep_value_is_dropped_without_recursion() {
    let mut value = Value::list(vec![]);
    for _ in 0..1_000_000 {
        value = Value::list(vec![value]);
    }
    drop(value);
    let mut value = Value::Null;
    for _ in 0..1_000_000 {
        let map = Map::new(Access::Open);
        map.put("k".into(), Value::Entry(Rc::new(Entry { key: Value::Null, value })));
        value = Value::Map(Rc::new(map));
    }
    drop(value);
    let mut value = Value::Null;
    for _ in 0..1_000_000 {
        value = Value::Entry(Rc::new(Entry { key: Value::Null, value }));
    }
    drop(value);
}

#[test]
fn a_deep_value_is_cut_when_printed() {
    let mut value = Value::list(vec![]);
    for _ in 0..10_000 {
        value = Value::list(vec![value]);
    }
    assert!(print_java(&value, &mut String::new(), usize::MAX).is_err());
    assert!(write_json(&value, &mut String::new(), Style::Plain, usize::MAX).is_err());
    assert!(!java_equals(&value, &Value::Null));
}

#[test]
fn lists_out_of_json_print_as_json_and_others_as_java() {
    let inner = || vec![Value::from("a/b"), Value::Null, Value::Int(1)];
    assert_eq!(Value::list(inner()).to_text(), "[a/b, null, 1]");
    assert_eq!(Value::json_list(inner()).to_text(), r#"["a\/b",null,1]"#);
    assert_eq!(Value::list(inner()).to_json(), r#"["a/b",null,1]"#);
}

#[test]
fn values_are_small() {
    assert_eq!((size_of::<Text>(), size_of::<Value>()), (24, 24));
}

#[test]
fn headers_are_found_in_any_case() {
    let pair = |name: &'static str, value: &'static str| (Text::from_static(name), Value::from_static(value));
    let headers = Value::headers([pair("x-kit", "1"), pair("X-Kit", "2"), pair("Accept", "3")]);
    for (name, expected) in [("x-kit", "1"), ("X-Kit", "2"), ("X-KIT", "1"), ("accept", "3"), ("none", "")] {
        assert_eq!(headers.get(name).to_text(), expected, "{name}");
    }
    let open = Value::map([pair("x-kit", "1")]);
    assert!(open.get("X-Kit").is_null());
}
