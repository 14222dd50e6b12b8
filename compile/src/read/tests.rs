use serde_json::json;

use super::*;

#[test]
fn references_lead_anywhere_in_the_document_and_never_out() {
    let root = json!({
        "paths": {"/a": {"get": {"$ref": "#/components/x-ops/one"}}},
        "components": {"x-ops": {"one": {"$ref": "#/components/x-ops/two%20b"}, "two b": {"operationId": "two"}},
            "circle": {"$ref": "#/components/circle"}, "schemas": {"Pet": {"type": "object"}}},
    });
    let at = |reference: &str| follow(&root, &json!({ "$ref": reference }).clone(), "").map(|(_, place)| place);
    assert_eq!(at("#/paths/~1a/get"), Ok("/components/x-ops/two b".to_owned()));
    assert_eq!(
        at("https://apigateway.amazonaws.com/restapis/abc/models/Pet"),
        Ok("/components/schemas/Pet".to_owned())
    );
    assert_eq!(at("#/components/circle"), Err(Unresolved::Circle));
    assert_eq!(at("#/nowhere"), Err(Unresolved::Nothing));
    for remote in ["other.yaml#/a", "https://example.com/a.json", "file:///etc/passwd"] {
        assert_eq!(at(remote), Err(Unresolved::Remote));
    }
}

#[test]
fn an_operation_inherits_parameters_and_overrides_them() {
    let root = json!({"paths": {"/a/{id}": {
        "$ref": "#/x-item",
        "parameters": [{"in": "path", "name": "id", "description": "item"}, {"in": "query", "name": "q"}],
        "get": {"parameters": [{"in": "query", "name": "q", "description": "own"}]},
    }}, "x-item": {"put": {}, "get": {"operationId": "hidden"}, "parameters": [{"in": "header", "name": "h"}]}});
    let item = Node::root(&root).get("paths").and_then(|paths| paths.get("/a/{id}")).unwrap();
    let found = operations(&item);
    assert_eq!(found.len(), 2, "{found:?}");
    let parameters = found[0].parameters();
    let names: Vec<_> = parameters.iter().map(|p| (p.place, p.name, p.node.pointer.as_str())).collect();
    assert_eq!(
        names,
        [
            ("header", "h", "/x-item/parameters/0"),
            ("path", "id", "/paths/~1a~1{id}/parameters/0"),
            ("query", "q", "/paths/~1a~1{id}/get/parameters/0"),
        ]
    );
}
