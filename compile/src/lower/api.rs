//! A document as a whole: its routes and what is set for all of them.

use std::collections::{BTreeMap, BTreeSet};

use bundle::ApiKind;
use bundle::cors::Cors;
use bundle::integration::{Backend, HttpProxy, Integration};
use bundle::mapping::{RequestTarget, Source};
use bundle::reply::{GatewayResponse, GatewayResponseType};
use bundle::route::{Action, Refusal, Route, Verb};
use bundle::validation::{self, Validation};
use serde_json::Value;

use super::draft::{Draft, note, refusal};
use super::model::Models;
use super::path::{Template, check_siblings};
use super::pattern::Patterns;
use super::security::Schemes;
use super::validator::Validators;
use super::{backend, cors, gateway_response, integration, sweep};
use crate::finding::{Findings, Reason, Severity};
use crate::ident;
use crate::read::{ANY, Node, Operation, operations};
use crate::support::Feature;
use crate::world::Contract;

/// Largest `minimumCompressionSize`.
const MAX_COMPRESSION_SIZE: u64 = 10 << 20;

/// What a document says, whatever the Stage.
#[derive(Debug, Default)]
pub(crate) struct Api {
    pub(crate) kind: ApiKind,
    pub(crate) routes: Vec<Route>,
    pub(crate) gateway_responses: BTreeMap<GatewayResponseType, GatewayResponse>,
    pub(crate) binary_media_types: BTreeSet<String>,
    pub(crate) minimum_compression_size: Option<u64>,
    pub(crate) models: validation::Models,
    pub(crate) cors: Option<Cors>,
    /// False with `disableExecuteApiEndpoint`.
    pub(crate) default_host: bool,
}

/// What lowering an operation needs besides the operation.
pub(super) struct Context<'d> {
    pub(super) kind: ApiKind,
    pub(super) schemes: Schemes<'d>,
    pub(super) validators: Validators,
    pub(super) models: Models,
    pub(super) patterns: Patterns,
    pub(super) backend: Option<Result<Backend, Refusal>>,
    /// Why nothing of the document may be served: the whole of it is guarded by something that is not enforced, or a guard
    /// is lost.
    refusal: Option<Refusal>,
}

impl Context<'_> {
    pub(super) fn http_api(&self) -> bool {
        self.kind == ApiKind::Http
    }
}

/// A path and its operations, before they are lowered.
pub(super) struct Prepared<'d> {
    pub(super) template: Template,
    pub(super) node: Node<'d>,
    pub(super) operations: Vec<Operation<'d>>,
    /// Any of its operations has an integration of Amazon's.
    pub(super) amazon: bool,
    refusal: Option<Refusal>,
}

impl Prepared<'_> {
    pub(super) fn refuse(&mut self, reason: Reason, text: &str) {
        self.refusal.get_or_insert_with(|| refusal(reason, text));
    }
}

/// Lowers a contract's document. `None` when there is nothing that could be served: no document, or one with paths
/// that cannot be told from others (leaving such a path out could hand its requests to a less guarded one).
pub(crate) fn lower(contract: &Contract, findings: &mut Findings) -> Option<Api> {
    let root = Node::root(contract.document.as_deref()?);
    if let Err(text) = check_version(&root) {
        findings.document(Severity::Error, Reason::NotOpenApi, "", text);
        return None;
    }
    let facts = sweep::sweep(&root, findings);
    let kind = if facts.http_api { ApiKind::Http } else { ApiKind::Rest };
    let mut context = Context {
        kind,
        schemes: Schemes::read(&root, findings),
        validators: Validators::read(&root, findings),
        models: Models::new(&root),
        patterns: Patterns::default(),
        backend: backend::lower(contract, findings),
        refusal: policy(&root, findings).or(facts.lost),
    };
    let routes = routes(&root, &mut context, findings)?;
    Some(Api {
        kind,
        routes,
        gateway_responses: gateway_response::lower(&root, findings),
        binary_media_types: binary_media_types(&root, findings),
        minimum_compression_size: compression(&root, findings),
        models: context.models.into_wire(),
        cors: cors::lower(&root, findings),
        default_host: settings(&root, findings),
    })
}

fn check_version(root: &Node<'_>) -> Result<(), String> {
    if !root.value.is_object() {
        return Err("the document is no OpenAPI document but a single value".to_owned());
    }
    let version = |key| root.get(key).and_then(|node| node.loose_text());
    match (version("openapi"), version("swagger")) {
        (Some(version), None) if version == "3.0" || version.starts_with("3.0.") => Ok(()),
        (Some(version), None) if version == "3.1" || version.starts_with("3.1.") => Ok(()),
        (None, Some(version)) if version == "2.0" || version == "2" => Ok(()),
        (Some(version), None) => Err(format!("`openapi: {version}` is not read here: 3.0 and 3.1 are")),
        (None, Some(version)) => Err(format!("`swagger: {version}` is not read here: 2.0 is")),
        (None, None) => Err("the document is no OpenAPI document: it has neither `openapi` nor `swagger`".to_owned()),
        (Some(_), Some(_)) => Err("the document has both `openapi` and `swagger`".to_owned()),
    }
}

fn policy(root: &Node<'_>, findings: &mut Findings) -> Option<Refusal> {
    let policy = root.get("x-amazon-apigateway-policy")?;
    let mut draft = Draft::new(findings);
    draft.wants(Feature::ResourcePolicy, &policy);
    draft.into_refusal()
}

fn routes(root: &Node<'_>, context: &mut Context<'_>, findings: &mut Findings) -> Option<Vec<Route>> {
    let paths = match root.get("paths") {
        Some(paths) if paths.value.is_object() => paths,
        None if root.value.get("openapi").is_some() && root.has("webhooks") => return Some(Vec::new()),
        _ => {
            findings.document(Severity::Error, Reason::Malformed, "/paths", "the document has no `paths`");
            return None;
        }
    };
    let mut usable = true;
    let mut prepared = Vec::new();
    for (path, node) in paths.entries() {
        if path.starts_with("x-") {
            continue;
        }
        if !node.value.is_object() || node.clone().resolve().is_none() {
            if !node.value.is_object() {
                findings.document(Severity::Error, Reason::Malformed, &node.pointer, "a path item is an object");
            }
            usable = false;
            continue;
        }
        let operations = operations(&node);
        let amazon = operations.iter().any(|operation| operation.node.has(integration::FIELD));
        if context.kind == ApiKind::Http && path == "/$default" {
            let mut item = default_route(node, operations, findings);
            check_item(&mut item, findings);
            prepared.push(item);
            continue;
        }
        match Template::parse(path, &node, findings) {
            Some(template) => {
                let mut item = Prepared { template, node, operations, amazon, refusal: None };
                check_item(&mut item, findings);
                prepared.push(item);
            }
            None => usable = false,
        }
    }
    if !context.http_api() {
        check_siblings(&mut prepared, findings);
    }
    let mut routes = Routes::default();
    for item in prepared {
        for operation in &item.operations {
            let lowered = lower_operation(operation, &item, context, findings);
            routes.add(operation, &item, lowered, findings);
        }
    }
    usable.then(|| routes.into_sorted())
}

/// OpenAPI has `security` for a document and for an operation; below a path it would keep nobody out.
fn check_item(item: &mut Prepared<'_>, findings: &mut Findings) {
    // Its own, or that of the item it refers to.
    let referred = item.node.clone().resolve();
    if let Some(security) = item.node.get("security").or_else(|| referred?.get("security")) {
        let text = "a path has no `security` of its own: say it in its operations";
        findings.document(Severity::Error, Reason::Malformed, &security.pointer, text);
        item.refuse(Reason::Malformed, text);
    }
}

/// An HTTP API's `$default` route takes what no other takes, with any method.
fn default_route<'d>(node: Node<'d>, operations: Vec<Operation<'d>>, findings: &mut Findings) -> Prepared<'d> {
    let (operations, others): (Vec<_>, Vec<_>) =
        operations.into_iter().partition(|operation| operation.verb == Verb::Any);
    for other in others {
        let text = format!("`/$default` has no method of its own: write `{ANY}`");
        findings.document(Severity::Error, Reason::Malformed, &other.node.pointer, text);
    }
    Prepared { template: Template::default_route(), node, operations, amazon: true, refusal: None }
}

/// What becomes of an operation.
struct Lowered {
    action: Action,
    /// Guards that the proxy enforces.
    requires: BTreeSet<String>,
    validation: Option<Validation>,
}

fn lower_operation(
    operation: &Operation<'_>,
    item: &Prepared<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings,
) -> Lowered {
    let mut draft = Draft::new(findings);
    // What refuses the whole path or API; the route's own faults are worth knowing all the same.
    if let Some(refusal) = item.refusal.as_ref().or(context.refusal.as_ref()) {
        draft.refuse_for(refusal);
    }
    if !operation.node.value.is_object() {
        draft.error(Reason::Malformed, &operation.node, "an operation is an object");
    } else if operation.node.value.get("$ref").is_some_and(Value::is_string) {
        draft.refuse(Reason::UnresolvedReference, "the operation is a reference to nothing");
    }
    let mut requires = context.schemes.guard(operation, &mut draft);
    let validation = context.validators.lower(operation, &mut context.models, &mut draft);
    requires.extend(validation.iter().map(|_| validation::GUARD.to_owned()));
    check_parameters(operation, &item.template, &mut draft);
    let mut integration = integration::lower(operation, context, &mut draft);
    if let (ApiKind::Http, Some(Integration::HttpProxy(proxy))) = (context.kind, &mut integration) {
        fill_in(proxy, &item.template);
    }
    let action = match (draft.into_refusal(), integration) {
        (None, Some(integration)) => Action::Serve(Box::new(integration)),
        (Some(refusal), _) => Action::Refuse(refusal),
        // Whoever returns no integration has said why.
        (None, None) => Action::Refuse(refusal(Reason::NoIntegration, "nothing answers here")),
    };
    Lowered { action, requires, validation }
}

/// In an HTTP API a `{name}` of the endpoint's URI is the path parameter of that name, without a mapping that says so.
fn fill_in(proxy: &mut HttpProxy, template: &Template) {
    for name in template.variables().filter(|name| proxy.endpoint.uri.contains(&format!("{{{name}}}"))) {
        let mapped = proxy.parameters.entry(RequestTarget::Path(name.to_owned()));
        mapped.or_insert_with(|| Source::Path(name.to_owned()));
    }
}

fn check_parameters(operation: &Operation<'_>, template: &Template, draft: &mut Draft<'_>) {
    for parameter in operation.parameters() {
        if parameter.place == "path" && !template.has(parameter.name) {
            let text = format!("the path has no parameter `{}`", parameter.name);
            draft.warning(Reason::UnknownField, &parameter.node, text);
        }
    }
}

/// Routes by shape and verb: what takes the same requests must be one.
#[derive(Default)]
struct Routes(BTreeMap<(String, Verb), Route>);

impl Routes {
    fn add(&mut self, operation: &Operation<'_>, item: &Prepared<'_>, lowered: Lowered, findings: &mut Findings) {
        let Lowered { action, requires, validation } = lowered;
        let resource = item.template.resource.clone();
        let key = (item.template.shape(), operation.verb.clone());
        if let Some(known) = self.0.get_mut(&key) {
            let text = format!("`{}` takes the same requests as `{}`", item.template.written, known.resource);
            findings.document(Severity::Error, Reason::DuplicateRoute, &operation.node.pointer, text.clone());
            // Either could be the less guarded one, so neither is served.
            known.action = Action::Refuse(refusal(Reason::DuplicateRoute, &text));
            return;
        }
        let operation_id = operation.node.get("operationId").and_then(|node| node.text()).map(str::to_owned);
        let route = Route {
            resource_id: ident::resource_id(&resource),
            resource,
            verb: operation.verb.clone(),
            operation: operation_id,
            requires,
            validation,
            action,
        };
        self.0.insert(key, route);
    }

    fn into_sorted(self) -> Vec<Route> {
        let mut routes: Vec<_> = self.0.into_values().collect();
        routes.sort_by(|a, b| (&a.resource, &a.verb).cmp(&(&b.resource, &b.verb)));
        routes
    }
}

fn binary_media_types(root: &Node<'_>, findings: &mut Findings) -> BTreeSet<String> {
    let Some(list) = root.get("x-amazon-apigateway-binary-media-types") else { return BTreeSet::new() };
    let mut types = BTreeSet::new();
    for node in list.items() {
        // CloudFormation writes `image~1png`.
        match node.text().map(|text| text.replace("~1", "/").to_ascii_lowercase()) {
            Some(text) if text.split('/').filter(|part| !part.is_empty()).count() == 2 => {
                types.insert(text);
            }
            _ => {
                let text = "a binary media type is `type/subtype`, `type/*` or `*/*`";
                findings.document(Severity::Error, Reason::InvalidSetting, &node.pointer, text);
            }
        }
    }
    if !list.value.is_array() {
        let text = "`x-amazon-apigateway-binary-media-types` is a list";
        findings.document(Severity::Error, Reason::Malformed, &list.pointer, text);
    }
    types
}

fn compression(root: &Node<'_>, findings: &mut Findings) -> Option<u64> {
    let node = root.get("x-amazon-apigateway-minimum-compression-size")?;
    match node.loose_integer() {
        Some(size) if size <= MAX_COMPRESSION_SIZE => Some(size),
        _ => {
            let text = "Invalid minimum compression size, must be between 0 and 10485760";
            findings.document(Severity::Error, Reason::InvalidSetting, &node.pointer, text);
            None
        }
    }
}

/// Settings of the API without a place in routes. Returns whether the default host is served.
fn settings(root: &Node<'_>, findings: &mut Findings) -> bool {
    let servers = root.get("servers").map(|list| list.items()).unwrap_or_default();
    let mut default_host = true;
    for place in std::iter::once(root.clone()).chain(servers) {
        let Some(endpoint) = place.get("x-amazon-apigateway-endpoint-configuration") else { continue };
        if endpoint.value.get("disableExecuteApiEndpoint").is_some_and(is_true) {
            default_host = false;
        }
        let types = endpoint.get("types").map(|list| list.items()).unwrap_or_default();
        let private = types.iter().any(|node| node.text().is_some_and(|text| text.eq_ignore_ascii_case("PRIVATE")));
        let points =
            endpoint.get("vpcEndpointIds").is_some_and(|list| list.value.as_array().is_some_and(|ids| !ids.is_empty()));
        if private || points {
            note(findings, Feature::PrivateEndpoint, true, &endpoint.pointer);
        }
    }
    default_host
}

/// `true`, also as text.
pub(super) fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}
