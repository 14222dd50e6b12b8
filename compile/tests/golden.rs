//! Each folder in `golden`: `in.yaml` compiles to `bundle.json` and `findings.txt`. `BLESS=1` writes them.

mod common;

use std::path::Path;

#[test]
fn golden() {
    let bless = std::env::var_os("BLESS").is_some();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases.retain(|case| case.is_dir());
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in cases {
        let input = ["in.yaml", "in.json"].iter().map(|name| case.join(name)).find(|path| path.exists()).unwrap();
        let outcome = common::compile(&std::fs::read_to_string(input).unwrap());
        for (name, found) in [("bundle.json", outcome.bundle_json()), ("findings.txt", outcome.findings_text())] {
            let path = case.join(name);
            if bless {
                std::fs::write(&path, found).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != found {
                wrong.push(format!("{}:\n{found}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "run with BLESS=1 if this is meant:\n{}", wrong.join("\n"));
}
