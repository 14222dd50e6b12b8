//! Who may call: security requirements, authorizers, API keys, IAM. API keys are enforced; a route with any other guard
//! is refused. A route is never served without its guard.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, note};
use super::pattern;
use crate::finding::{Findings, Reason, Severity};
use crate::read::{Node, Operation};
use crate::support::Feature;

/// Longest time an authorizer's answer is kept, in seconds.
const MAX_TTL: u64 = 3_600;

/// What a security scheme asks of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Guard(Feature),
    /// An API key.
    ApiKey,
    /// Nothing: a plain scheme, which is the backend's to check.
    Documentation,
    Broken,
}

/// Where API keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeySource {
    /// The header `x-api-key`.
    Header,
    /// What an authorizer answers.
    Authorizer,
    /// The document says something else.
    Broken,
}

/// The security schemes of a document.
pub(super) struct Schemes<'d> {
    key_source: KeySource,
    by_name: BTreeMap<&'d str, (Scheme, Node<'d>)>,
    reported: BTreeSet<String>,
}

impl<'d> Schemes<'d> {
    pub(super) fn read(root: &Node<'d>, findings: &mut Findings) -> Self {
        let swagger = root.get("securityDefinitions");
        let components = root.get("components").and_then(|components| components.get("securitySchemes"));
        let mut by_name = BTreeMap::new();
        for (name, node) in swagger.iter().chain(&components).flat_map(Node::entries) {
            let Some(node) = node.resolve() else { continue };
            by_name.insert(name, (scheme(&node, findings), node));
        }
        Self { key_source: key_source(root, findings), by_name, reported: BTreeSet::new() }
    }

    /// Adds the guards of an operation; those that are enforced are returned, by their names. Alternatives are all asked for, as an import makes of them: a caller who
    /// fulfils one would be let in by half of what was written.
    pub(super) fn guard(&mut self, operation: &Operation<'_>, draft: &mut Draft<'_>) -> BTreeSet<String> {
        let mut guards = BTreeSet::new();
        if let Some(auth) = operation.node.get("x-amazon-apigateway-auth") {
            match auth.get("type").and_then(|node| node.text()) {
                Some(text) if text.eq_ignore_ascii_case("NONE") => {}
                Some(text) if text.eq_ignore_ascii_case("AWS_IAM") => draft.wants(Feature::IamAuthorization, &auth),
                _ => {
                    draft.error(Reason::InvalidEnum, &auth, "the type of `x-amazon-apigateway-auth` is NONE or AWS_IAM")
                }
            }
        }
        let Some(security) = operation.or_root("security") else { return guards };
        if !security.value.is_array() || security.items().iter().any(|item| !item.value.is_object()) {
            draft.error(Reason::Malformed, &security, "`security` is a list of objects");
        }
        for (name, node) in security.items().iter().flat_map(Node::entries) {
            match self.by_name.get(name) {
                Some((Scheme::Guard(feature), _)) => draft.wants(*feature, &node),
                Some((Scheme::ApiKey, _)) => self.key_source.guard(&node, &mut guards, draft),
                Some((Scheme::Documentation, scheme)) => {
                    if self.reported.insert(name.to_owned()) {
                        let text = format!("the gateway does not check `{name}`: the scheme has no authorizer");
                        draft.warning(Reason::SchemeNotEnforced, scheme, text);
                    }
                }
                Some((Scheme::Broken, _)) => {
                    draft.refuse(Reason::InvalidAuthorizer, &format!("the security scheme `{name}` cannot be used"));
                }
                // Amazon's own samples use these without defining them.
                None if name == "api_key" => self.key_source.guard(&node, &mut guards, draft),
                None if name == "sigv4" => draft.wants(Feature::IamAuthorization, &node),
                None => {
                    let text = format!("nobody defines the security scheme `{name}`");
                    draft.error(Reason::UnknownSecurityScheme, &node, text);
                }
            }
        }
        guards
    }
}

impl KeySource {
    /// Asks for an API key, or refuses the route where that could not be checked.
    fn guard(self, at: &Node<'_>, guards: &mut BTreeSet<String>, draft: &mut Draft<'_>) {
        match self {
            Self::Header => drop(guards.insert(bundle::api_key::GUARD.to_owned())),
            Self::Authorizer => draft.wants(Feature::ApiKeySource, at),
            Self::Broken => draft.refuse(Reason::InvalidEnum, "where API keys come from cannot be read"),
        }
    }
}

fn key_source(root: &Node<'_>, findings: &mut Findings) -> KeySource {
    let Some(source) = root.get("x-amazon-apigateway-api-key-source") else { return KeySource::Header };
    match source.text() {
        Some(text) if text.eq_ignore_ascii_case("HEADER") => KeySource::Header,
        Some(text) if text.eq_ignore_ascii_case("AUTHORIZER") => {
            note(findings, Feature::ApiKeySource, true, &source.pointer);
            KeySource::Authorizer
        }
        _ => {
            let text = "the source of API keys is HEADER or AUTHORIZER";
            findings.document(Severity::Error, Reason::InvalidEnum, &source.pointer, text);
            KeySource::Broken
        }
    }
}

fn scheme(node: &Node<'_>, findings: &mut Findings) -> Scheme {
    if let Some(authorizer) = node.get("x-amazon-apigateway-authorizer") {
        return match authorizer.resolve() {
            Some(authorizer) if check_authorizer(&authorizer, findings) => Scheme::Guard(Feature::Authorizer),
            _ => Scheme::Broken,
        };
    }
    let field = |key| node.get(key).and_then(|node| node.text()).unwrap_or_default();
    match field("x-amazon-apigateway-authtype") {
        "" => {}
        kind if kind.eq_ignore_ascii_case("awsSigv4") => return Scheme::Guard(Feature::IamAuthorization),
        kind => {
            let text = format!("the scheme's type is `{kind}`, and it has no `x-amazon-apigateway-authorizer`");
            findings.document(Severity::Error, Reason::InvalidAuthorizer, &node.pointer, text);
            return Scheme::Broken;
        }
    }
    let key = field("type") == "apiKey" && field("in") == "header" && field("name").eq_ignore_ascii_case("x-api-key");
    if key { Scheme::ApiKey } else { Scheme::Documentation }
}

/// Checks an authorizer by itself, used or not.
fn check_authorizer(node: &Node<'_>, findings: &mut Findings) -> bool {
    let mut fine = true;
    let mut fail = |at: &Node<'_>, text: String| {
        findings.document(Severity::Error, Reason::InvalidAuthorizer, &at.pointer, text);
        fine = false;
    };
    let kind = node.get("type").and_then(|node| node.text()).unwrap_or_default().to_ascii_lowercase();
    match kind.as_str() {
        "token" | "request" if !node.has("authorizerUri") => {
            fail(node, "the authorizer has no `authorizerUri`".to_owned())
        }
        "cognito_user_pools" if !node.has("providerARNs") => {
            fail(node, "the authorizer has no `providerARNs`".to_owned())
        }
        "jwt" if node.get("jwtConfiguration").is_none_or(|jwt| !jwt.has("issuer")) => {
            fail(node, "the authorizer has no `jwtConfiguration.issuer`".to_owned());
        }
        "token" | "request" | "cognito_user_pools" | "jwt" => {}
        _ => fail(node, format!("`{kind}` is no type of authorizers: token, request, cognito_user_pools and jwt are")),
    }
    if let Some(ttl) = node.get("authorizerResultTtlInSeconds")
        && ttl.loose_integer().is_none_or(|seconds| seconds > MAX_TTL)
    {
        fail(&ttl, format!("`authorizerResultTtlInSeconds` is 0 to {MAX_TTL}"));
    }
    if let Some(pattern) = node.get("identityValidationExpression")
        && pattern.text().is_none_or(|text| pattern::check(text).is_err())
    {
        fail(&pattern, "`identityValidationExpression` is no regular expression that is understood here".to_owned());
    }
    fine
}
