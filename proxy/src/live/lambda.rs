//! Lambda functions, parsed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bundle::StageBundle;
use bundle::integration::{BackendTarget, FunctionCall, PayloadFormat};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::integrate::mapping::headers::Flavor;
use crate::live::Scope;
use crate::live::aws::{Aws, Endpoint};
use crate::live::backend::Target;
use crate::live::custom::Custom;
use crate::live::mapping::header_value;
use crate::live::mapping::uri::with_variables;
use crate::live::selection::By;

/// A function whose answer is the client's.
#[derive(Debug)]
pub struct LambdaProxy {
    pub function: Function,
    pub payload: PayloadFormat,
    /// The answer goes on as the function writes it.
    pub stream: bool,
}

/// A function whose events and results are mapped.
#[derive(Debug)]
pub struct Lambda {
    pub function: Function,
    pub custom: Custom,
}

/// A function and how it is called.
#[derive(Debug)]
pub struct Function {
    /// What calls in flight are counted by: where it is and what it is called.
    pub key: Arc<str>,
    pub callee: Callee,
    /// Of its invocations: the whole path, with the qualifier.
    pub path: PathAndQuery,
    /// `None`: the client's, which fails unless it is POST.
    pub method: Option<Method>,
    pub timeout: Duration,
    /// `User-Agent`.
    pub agent: HeaderValue,
}

/// Who answers for a function.
#[derive(Debug)]
pub enum Callee {
    /// What the Stage names; called unsigned.
    Stage(Target),
    /// Amazon's Lambda, or what the Stage says imitates it; calls are signed.
    Amazon {
        endpoint: Endpoint,
        region: Box<str>,
        /// The role that calls, if it is not the Stage's own caller.
        role: Option<Box<str>>,
    },
}

/// The service's name in ARNs, endpoints and signatures.
pub const SERVICE: &str = "lambda";

/// Escaped in a function's name or ARN, as Amazon's clients do it.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl LambdaProxy {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(lambda: &bundle::integration::LambdaProxy, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::LambdaProxy { call, payload, stream } = lambda;
        Ok(Self { function: Function::parse(call, *stream, scope)?, payload: *payload, stream: *stream })
    }
}

impl Lambda {
    /// # Errors
    /// For what cannot be served, as a sentence.
    pub fn parse(lambda: &bundle::integration::Lambda, scope: &Scope<'_>) -> Result<Self, String> {
        let bundle::integration::Lambda { call, request, responses } = lambda;
        // An invocation's path has no `{name}`s.
        let (custom, _paths) = Custom::parse(request, responses, Flavor::Aws, By::Text, scope)?;
        Ok(Self { function: Function::parse(call, false, scope)?, custom })
    }
}

impl Function {
    /// # Errors
    /// For what cannot be called, as a sentence.
    pub fn parse(call: &FunctionCall, stream: bool, scope: &Scope<'_>) -> Result<Self, String> {
        let FunctionCall { uri, method, credentials, timeout_ms } = call;
        let stage = scope.bundle;
        let uri = with_variables(uri, &stage.variables);
        let name = Name::parse(&uri).ok_or_else(|| format!("`{uri}` names no function"))?;
        let (callee, base) = match name.target(&stage.functions) {
            Some(target) => {
                let (target, base) = Target::parse(target, &stage.variables)?;
                (Callee::Stage(target), base)
            }
            None => amazon(&uri, credentials.as_deref(), stage)?,
        };
        // Amazon finds a function of another account by its ARN only.
        let called = match &callee {
            Callee::Stage(_) => name.name,
            Callee::Amazon { .. } => name.whole,
        };
        let path = name.path(&base, called, stream);
        let method = method
            .as_deref()
            .map(|method| Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a verb")))
            .transpose()?;
        Ok(Self {
            key: format!("{}/{}:{}", stage.key, name.name, name.qualifier.unwrap_or_default()).into(),
            callee,
            path: path.parse().map_err(|_| format!("`{path}` is not the path of an invocation"))?,
            method,
            timeout: Duration::from_millis(*timeout_ms),
            agent: header_value(&format!("AmazonAPIGateway_{}", stage.api.id))?,
        })
    }
}

/// Amazon's Lambda in the region of the URI, and what is put before its paths.
fn amazon(uri: &str, credentials: Option<&str>, stage: &StageBundle) -> Result<(Callee, Box<str>), String> {
    let aws = Aws::parse(stage);
    let region = uri.split(':').nth(3).filter(|region| !region.is_empty() && !region.contains(['$', '{']));
    let region = region.unwrap_or(&stage.region);
    let endpoint = aws.endpoint(SERVICE, region)?;
    let role = credentials.map(|role| with_variables(role, &stage.variables));
    // `arn:aws:iam::*:user/*` stands for the caller, whose keys nobody has; the Stage's may do more than his.
    if let Some(other) = role.as_deref().filter(|role| !role.contains(":role/")) {
        return Err(format!("the function cannot be called as `{other}`, which is no role"));
    }
    let role = role.filter(|_| aws.assumes_roles_for(SERVICE));
    let base = endpoint.base.clone();
    Ok((Callee::Amazon { endpoint, region: region.into(), role: role.map(Into::into) }, base))
}

/// A function as a URI names it.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    name: &'a str,
    /// The name, or an ARN; without the qualifier.
    whole: &'a str,
    /// A version or an alias.
    qualifier: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// Reads `…/functions/F/invocations`, or F itself, which is an ARN, a partial one, or a name; each with a
    /// qualifier or without.
    fn parse(uri: &'a str) -> Option<Self> {
        let function = match uri.split_once("/functions/") {
            Some((_, rest)) => {
                let rest = rest.trim_end_matches('/');
                rest.strip_suffix("/invocations").or_else(|| rest.strip_suffix("/response-streaming-invocations"))?
            }
            None => uri,
        };
        let named = match function.split_once(":function:") {
            Some((_, named)) => named,
            None if function.starts_with("arn:") => return None,
            None => function,
        };
        let (name, qualifier) = match named.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier).filter(|qualifier| !qualifier.is_empty())),
            None => (named, None),
        };
        let after = named.len() - name.len();
        let whole = function.get(..function.len() - after)?;
        (!name.is_empty() && !name.contains('/')).then_some(Self { name, whole, qualifier })
    }

    /// Who answers for it here: for this very version, or for the function.
    fn target<'t>(&self, functions: &'t BTreeMap<String, BackendTarget>) -> Option<&'t BackendTarget> {
        let qualified = self.qualifier.and_then(|qualifier| functions.get(&format!("{}:{qualifier}", self.name)));
        qualified.or_else(|| functions.get(self.name))
    }

    fn path(&self, base: &str, called: &str, stream: bool) -> String {
        let name = utf8_percent_encode(called, NAME);
        let mut path = match stream {
            false => format!("{base}/2015-03-31/functions/{name}/invocations"),
            true => format!("{base}/2021-11-15/functions/{name}/response-streaming-invocations"),
        };
        if let Some(qualifier) = self.qualifier {
            path.push_str("?Qualifier=");
            path.extend(utf8_percent_encode(qualifier, NAME));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_every_form() {
        const LONG: &str = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/";
        const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:get-order";
        const UNFILLED: &str = "arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:get-order";
        for (function, whole, qualifier) in [
            (ARN.to_owned(), ARN, None),
            (format!("{ARN}:live"), ARN, Some("live")),
            ("get-order".into(), "get-order", None),
            ("get-order:7".into(), "get-order", Some("7")),
            ("123456789012:function:get-order:7".into(), "123456789012:function:get-order", Some("7")),
            (UNFILLED.into(), UNFILLED, None),
        ] {
            let wanted = Some(Name { name: "get-order", whole, qualifier });
            assert_eq!(Name::parse(&function), wanted, "{function}");
            assert_eq!(Name::parse(&format!("{LONG}{function}/invocations")), wanted, "{function}");
        }
        for bad in ["", "arn:aws:s3:::bucket", &format!("{LONG}/invocations"), &format!("{LONG}f"), ":live"] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_of_invocations() {
        let name = Name { name: "f_1", whole: "a:f_1", qualifier: Some("$LATEST") };
        assert_eq!(name.path("/base", "f_1", false), "/base/2015-03-31/functions/f_1/invocations?Qualifier=%24LATEST");
        let name = Name { qualifier: None, ..name };
        let streaming = "/2021-11-15/functions/a%3Af_1/response-streaming-invocations";
        assert_eq!(name.path("", name.whole, true), streaming);
    }

    fn parse(uri: &str, endpoint: Option<&str>, credentials: Option<&str>) -> Function {
        try_parse(uri, endpoint, credentials).unwrap()
    }

    fn try_parse(uri: &str, endpoint: Option<&str>, credentials: Option<&str>) -> Result<Function, String> {
        let mut bundle = crate::fixture::stage("prod", &[]);
        bundle.functions = BTreeMap::from([("here".to_owned(), BackendTarget::Url("http://a:1/base".to_owned()))]);
        bundle.aws.endpoints = endpoint.map(|url| ("lambda".to_owned(), url.to_owned())).into_iter().collect();
        let call = FunctionCall {
            uri: uri.to_owned(),
            method: None,
            credentials: credentials.map(str::to_owned),
            timeout_ms: 1000,
        };
        Scope::with_bundle(&bundle, |scope| Function::parse(&call, false, scope))
    }

    #[test]
    fn who_answers() {
        let here = parse("arn:aws:lambda:us-east-2:1:function:here", None, None);
        assert_eq!(here.path, "/base/2015-03-31/functions/here/invocations");
        assert!(matches!(here.callee, Callee::Stage(_)));
        let role = Some("arn:aws:iam::1:role/caller");
        let amazon = parse("arn:aws:lambda:us-east-2:1:function:there", None, role);
        let Callee::Amazon { endpoint, region, role } = &amazon.callee else { panic!("{amazon:?}") };
        assert_eq!((&*endpoint.destination.host, &**region), ("lambda.us-east-2.amazonaws.com", "us-east-2"));
        assert_eq!(role.as_deref(), Some("arn:aws:iam::1:role/caller"));
        assert_eq!(
            amazon.path,
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-2%3A1%3Afunction%3Athere/invocations"
        );
        let imitated = parse("there", Some("http://localstack:4566"), role.as_deref());
        let Callee::Amazon { endpoint, region, role: None } = &imitated.callee else { panic!("{imitated:?}") };
        assert_eq!((&*endpoint.destination.host, &**region), ("localstack", "eu-west-1"));
    }

    #[test]
    fn who_calls_is_never_somebody_else() {
        for nobody in ["arn:aws:iam::*:user/*", "${CallerRole}"] {
            let refused = try_parse("there", None, Some(nobody)).unwrap_err();
            assert!(refused.contains(nobody), "{refused}");
            // Nobody asks who calls a function of the Stage.
            assert!(try_parse("here", None, Some(nobody)).is_ok());
        }
    }

    #[test]
    fn a_version_may_have_somebody_of_its_own() {
        let to = |url: &str| BackendTarget::Url(url.to_owned());
        let functions = BTreeMap::from([("f".to_owned(), to("http://a")), ("f:live".to_owned(), to("http://b"))]);
        let target = |name, qualifier| Name { name, whole: name, qualifier }.target(&functions).cloned();
        assert_eq!(target("f", None), Some(to("http://a")));
        assert_eq!(target("f", Some("live")), Some(to("http://b")));
        assert_eq!(target("f", Some("other")), Some(to("http://a")));
        assert_eq!(target("g", None), None);
    }
}
