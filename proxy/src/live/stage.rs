//! One stage and its routes.

use std::collections::BTreeMap;

use bundle::integration::Integration;
use bundle::route::{DEFAULT_RESOURCE, Refusal, Verb};
use bundle::{ApiKind, Digest, StageBundle, StageKey};

use crate::dispatch::pattern::Pattern;
use crate::dispatch::trie::{Builder, Router, Verbs};
use crate::live::canary::Canary;
use crate::live::cors::Cors;
use crate::live::gateway_response::GatewayResponses;
use crate::live::payload::BinaryTypes;
use crate::live::selection::Patterns;
use crate::live::template::Templates;
use crate::live::validation::{Models, Validation};
use crate::live::{Broken, aws, backend, http, lambda, mock};

/// One stage.
pub struct Stage {
    pub key: StageKey,
    pub digest: Digest,
    pub api_name: Box<str>,
    pub api_id: Box<str>,
    pub kind: ApiKind,
    /// `$context.stage`, first segment of the default URL.
    pub name: Box<str>,
    pub deployment: u64,
    pub account_id: Box<str>,
    pub region: Box<str>,
    pub variables: BTreeMap<String, String>,
    /// Path and verb to an index of `routes`.
    pub router: Router,
    pub routes: Vec<Route>,
    pub gateway_responses: GatewayResponses,
    /// Calls to AWS services.
    pub aws: aws::Aws,
    /// Media types whose payloads are bytes.
    pub binary_types: BinaryTypes,
    /// Answers of at least so many bytes are compressed, and compressed requests unpacked; `None`: neither.
    pub minimum_compression_size: Option<u64>,
    pub cors: Option<Cors>,
    /// Another deployment that serves a share of the requests.
    pub canary: Option<Canary>,
    /// Whether this is the canary (`true`) or the base of one; `None` where there is no canary.
    pub canary_request: Option<bool>,
    /// What of it cannot be served.
    pub broken: Vec<Broken>,
}

/// One method of one resource.
pub struct Route {
    /// `/pets/{id}`.
    pub resource: Box<str>,
    pub resource_id: Box<str>,
    /// `GET`, or `ANY`.
    pub verb: Box<str>,
    /// Names of the path parameters, in the order of the path; a greedy one without its `+`.
    pub parameters: Vec<Box<str>>,
    /// It asks for an API key.
    pub api_key: bool,
    /// What is checked before it is served.
    pub validation: Option<Validation>,
    pub action: Action,
}

/// What answers.
pub enum Action {
    Refuse(Refusal),
    Mock(mock::Mock),
    Http(http::Http),
    HttpProxy(http::HttpProxy),
    AwsService(Box<aws::service::Service>),
    AwsAction(Box<aws::action::Action>),
    Backend(backend::Backend),
    LambdaProxy(lambda::LambdaProxy),
    Lambda(lambda::Lambda),
}

impl Action {
    /// Namespace and name of the Service that is asked, if it is one.
    pub fn service(&self) -> Option<(&str, &str)> {
        fn of_function(function: &lambda::Function) -> Option<(&str, &str)> {
            match &function.callee {
                lambda::Callee::Stage(target) => target.service(),
                lambda::Callee::Amazon { .. } => None,
            }
        }
        match self {
            Self::Backend(backend) => backend.target.service(),
            Self::LambdaProxy(lambda) => of_function(&lambda.function),
            Self::Lambda(lambda) => of_function(&lambda.function),
            Self::Refuse(_)
            | Self::Mock(_)
            | Self::Http(_)
            | Self::HttpProxy(_)
            | Self::AwsService(_)
            | Self::AwsAction(_) => None,
        }
    }

    /// Why the route answers 500, if it does.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refuse(refusal) => Some(refusal),
            Self::Mock(_)
            | Self::Http(_)
            | Self::HttpProxy(_)
            | Self::AwsService(_)
            | Self::AwsAction(_)
            | Self::Backend(_)
            | Self::LambdaProxy(_)
            | Self::Lambda(_) => None,
        }
    }
}

/// What an integration must know to be parsed.
pub struct Scope<'a> {
    /// The stage it belongs to.
    pub bundle: &'a StageBundle,
    /// Selection patterns met so far.
    pub patterns: &'a Patterns,
    /// Templates met so far.
    pub templates: &'a Templates,
    /// Models met so far.
    pub models: &'a Models<'a>,
}

/// The guards of routes that this proxy knows.
const GUARDS: [&str; 2] = [bundle::api_key::GUARD, bundle::validation::GUARD];

impl Stage {
    /// Parses a stage: always, and everything in it. A route that does not work is refused, its neighbours serve.
    pub(super) fn parse(bundle: &StageBundle, digest: Digest) -> Self {
        let patterns = Patterns::default();
        let templates = Templates::default();
        let models = Models::new(&bundle.models);
        let scope = Scope { bundle, patterns: &patterns, templates: &templates, models: &models };
        let mut broken = Vec::new();
        let mut report = |route: &bundle::route::Route, message: String| {
            let route = format!("{} {}", verb_name(&route.verb), route.resource);
            broken.push(Broken { stage: bundle.key.clone(), route, message });
        };
        let mut routes = Vec::with_capacity(bundle.routes.len());
        let mut builder = Builder::new(bundle.api.kind == ApiKind::Http);
        // Routes whose path does not work claim what is left after the others: better refused than let through to
        // another route.
        let mut late = Vec::new();
        for (index, source) in bundle.routes.iter().enumerate() {
            let is_default = bundle.api.kind == ApiKind::Http && source.resource == DEFAULT_RESOURCE;
            let (pattern, reason) = if is_default { Default::default() } else { Pattern::parse(&source.resource) };
            let route = Route::parse(source, &pattern, reason.clone(), &scope, |message| report(source, message));
            if reason.is_some() {
                late.push((index, pattern));
            } else {
                let verbs = route.verbs(source);
                let inserted =
                    if is_default { builder.insert_fallback(index) } else { builder.insert(&pattern, verbs, index) };
                if let Err(taken) = inserted {
                    let other = bundle.routes.get(taken.by).map_or("", |route| &route.resource);
                    report(source, format!("`{other}` takes the same requests"));
                }
            }
            routes.push(route);
        }
        for (index, pattern) in late {
            // Whoever has the place already serves it; the route itself is reported above.
            builder.insert(&pattern, routes[index].verbs(&bundle.routes[index]), index).unwrap_or(());
        }
        let mut messages = Vec::new();
        let gateway_responses = GatewayResponses::parse(&bundle.gateway_responses, &bundle.variables, &mut messages);
        let of_stage = |message| Broken { stage: bundle.key.clone(), route: String::new(), message };
        let cors = bundle.cors.as_ref().and_then(|cors| match Cors::parse(cors) {
            Ok(cors) => Some(cors),
            // Without it nobody from elsewhere is let in.
            Err(message) => {
                messages.push(message);
                None
            }
        });
        broken.extend(messages.into_iter().map(of_stage));
        let canary = bundle.canary.as_deref().map(|canary| Canary::parse(canary, &digest));
        for found in canary.iter().flat_map(|canary| &canary.stage.broken) {
            broken.push(Broken { message: format!("canary: {}", found.message), ..found.clone() });
        }
        Self {
            key: bundle.key.clone(),
            digest,
            api_name: bundle.api.name.as_str().into(),
            api_id: bundle.api.id.as_str().into(),
            kind: bundle.api.kind,
            name: bundle.stage_name.as_str().into(),
            deployment: bundle.deployment,
            account_id: bundle.account_id.as_str().into(),
            region: bundle.region.as_str().into(),
            variables: bundle.variables.clone(),
            router: builder.build(),
            routes,
            gateway_responses,
            binary_types: BinaryTypes::parse(&bundle.binary_media_types),
            aws: aws::Aws::parse(bundle),
            minimum_compression_size: bundle.minimum_compression_size,
            cors,
            canary_request: canary.is_some().then_some(false),
            canary,
            broken,
        }
    }
}

impl Route {
    /// Parses a route. `path` says what is wrong with its path.
    fn parse(
        route: &bundle::route::Route,
        pattern: &Pattern,
        path: Option<String>,
        scope: &Scope<'_>,
        mut report: impl FnMut(String),
    ) -> Self {
        let action = match path {
            Some(message) => Err(("InvalidPath", message)),
            None => Action::parse(route, scope),
        };
        let validation = route.validation.as_ref().map(|validation| Validation::parse(validation, scope.models));
        let (action, validation) = match validation.transpose() {
            Ok(validation) => (action, validation),
            Err(message) => (action.and(Err(("InvalidModel", message))), None),
        };
        let action = action.unwrap_or_else(|(reason, message)| {
            report(message.clone());
            Action::Refuse(Refusal { reason: reason.to_owned(), message })
        });
        Self {
            resource: route.resource.as_str().into(),
            resource_id: route.resource_id.as_str().into(),
            verb: verb_name(&route.verb).into(),
            parameters: pattern.parameters().map(Into::into).collect(),
            api_key: route.requires.contains(bundle::api_key::GUARD),
            validation,
            action,
        }
    }

    /// The verbs it takes. A refused `ANY` takes every one, since what it refuses may have been a `backend`.
    fn verbs<'a>(&self, source: &'a bundle::route::Route) -> Verbs<'a> {
        match (&source.verb, &self.action) {
            (Verb::One(verb), _) => Verbs::One(verb),
            (Verb::Any, Action::Refuse(_) | Action::Backend(_)) => Verbs::Every,
            (
                Verb::Any,
                Action::Mock(_)
                | Action::Http(_)
                | Action::HttpProxy(_)
                | Action::AwsService(_)
                | Action::AwsAction(_)
                | Action::LambdaProxy(_)
                | Action::Lambda(_),
            ) => Verbs::Seven,
        }
    }
}

impl Action {
    /// Parses what answers; else a reason and a message.
    fn parse(route: &bundle::route::Route, scope: &Scope<'_>) -> Result<Self, (&'static str, String)> {
        if let Some(guard) = route.requires.iter().find(|guard| !GUARDS.contains(&guard.as_str())) {
            return Err(("UnknownGuard", format!("this proxy does not know the guard `{guard}`")));
        }
        let integration = match &route.action {
            bundle::route::Action::Refuse(refusal) => return Ok(Self::Refuse(refusal.clone())),
            bundle::route::Action::Serve(integration) => &**integration,
        };
        let action = match integration {
            Integration::Mock(mock) => mock::Mock::parse(mock, scope).map(Self::Mock),
            Integration::Http(http) => http::Http::parse(http, scope).map(Self::Http),
            Integration::HttpProxy(proxy) => http::HttpProxy::parse(proxy, scope.bundle).map(Self::HttpProxy),
            Integration::AwsService(service) => {
                aws::service::Service::parse(service, scope).map(|service| Self::AwsService(Box::new(service)))
            }
            Integration::AwsAction(action) => {
                aws::action::Action::parse(action, scope).map(|action| Self::AwsAction(Box::new(action)))
            }
            Integration::Backend(backend) => backend::Backend::parse(backend, scope.bundle).map(Self::Backend),
            Integration::LambdaProxy(lambda) => lambda::LambdaProxy::parse(lambda, scope).map(Self::LambdaProxy),
            Integration::Lambda(lambda) => lambda::Lambda::parse(lambda, scope).map(Self::Lambda),
            Integration::Unknown(_) => {
                return Err(("UnknownIntegration", "this proxy does not know the kind of integration".to_owned()));
            }
        };
        action.map_err(|message| ("InvalidIntegration", message))
    }
}

fn verb_name(verb: &Verb) -> &str {
    match verb {
        Verb::Any => "ANY",
        Verb::One(verb) => verb,
    }
}

#[cfg(test)]
impl Scope<'_> {
    /// A scope for tests.
    pub(crate) fn with_test_scope<T>(test: impl FnOnce(&Scope<'_>) -> T) -> T {
        Self::with_bundle(&crate::fixture::stage("prod", &[]), test)
    }

    /// A scope of a stage for tests.
    pub(crate) fn with_bundle<T>(bundle: &StageBundle, test: impl FnOnce(&Scope<'_>) -> T) -> T {
        let models = &Models::new(&bundle.models);
        test(&Scope { bundle, patterns: &Patterns::default(), templates: &Templates::default(), models })
    }
}
