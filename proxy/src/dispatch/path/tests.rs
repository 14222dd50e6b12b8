use proptest::prelude::*;

use super::*;

#[test]
fn what_is_fine_is_borrowed() {
    for path in
        ["/", "/stage/proxy-value", "/a//b/", "/a%2Fb/%c3%a9", "/test%2Balias@gmail.com/plus/test+alias@gmail.com"]
    {
        assert!(matches!(canonical(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
    }
    let uri = Uri::from_static("https://example.com/a%2fb?x=%41");
    let parsed = CanonicalPath::parse(&uri).unwrap();
    assert!(parsed.rewritten.is_none());
    assert_eq!(parsed.as_str(), "/a%2fb");
}

#[test]
fn unreserved_escapes_are_decoded_once() {
    for (path, expected) in [
        ("//stage/x", "/stage/x"),
        ("////", "/"),
        ("/%61%2D%7e", "/a-~"),
        ("/%2561", "/%2561"),
        ("/%25%36%31", "/%2561"),
        ("/a%2f%2Fb", "/a%2f%2Fb"),
        ("//%61", "/a"),
        ("/a%2Eb", "/a.b"),
        ("/...", "/..."),
        ("/.a", "/.a"),
    ] {
        assert_eq!(canonical(path).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn what_readers_could_disagree_about_is_refused() {
    for (path, reason) in [
        ("", "the path does not begin with a slash"),
        ("*", "the path does not begin with a slash"),
        ("/%", "the path holds a bad escape"),
        ("/%4", "the path holds a bad escape"),
        ("/%4%31", "the path holds a bad escape"),
        ("/%+1", "the path holds a bad escape"),
        ("/%00", "the path holds a control character"),
        ("/a%0d%0a", "the path holds a control character"),
        ("/a%7F", "the path holds a control character"),
        ("/a\\b", "the path holds a backslash"),
        ("/a%5cb", "the path holds a backslash"),
        ("/.", "the path holds a dot segment"),
        ("/..", "the path holds a dot segment"),
        ("/a/../b", "the path holds a dot segment"),
        ("/a/%2e%2E/b", "the path holds a dot segment"),
        ("/a/.%2e", "the path holds a dot segment"),
        ("/a/..%2fb", "the path holds a dot segment"),
        ("/a%2F%2e", "the path holds a dot segment"),
    ] {
        assert_eq!(canonical(path), Err(reason), "{path}");
    }
}

/// The same rules in three passes over strings, each as plain as it gets.
fn reference(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?.trim_start_matches('/');
    let mut output = String::from("/");
    let mut flat = String::from("/");
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        let mut shown = String::from(letter);
        let mut meant = letter;
        if letter == '%' {
            shown.extend(letters.by_ref().take(2));
            let digits = shown.get(1..).filter(|digits| digits.len() == 2 && !digits.contains('+'))?;
            meant = char::from(u8::from_str_radix(digits, 16).ok()?);
            if meant.is_ascii_alphanumeric() || "-._~".contains(meant) {
                shown = String::from(meant);
            }
        }
        if meant.is_ascii_control() || meant == '\\' {
            return None;
        }
        output.push_str(&shown);
        flat.push(meant);
    }
    let refused = flat.split('/').any(|segment| segment == "." || segment == "..");
    (!refused).then_some(output)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_canonical_path_is_its_own_and_no_longer(path in "/(/|\\.|%2[eE]|%2[fF]|%5[cC]|%25|%61|%|a|é|[ -~]){0,12}") {
        prop_assert_eq!(canonical(&path).ok().map(Cow::into_owned), reference(&path));
        if let Ok(once) = canonical(&path) {
            prop_assert!(once.len() <= path.len());
            prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(!once.starts_with("//"));
            let twice = canonical(&once);
            prop_assert_eq!(twice.as_deref(), Ok(&*once));
        }
    }
}
