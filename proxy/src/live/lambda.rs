//! Lambda functions, parsed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bundle::integration::{BackendTarget, FunctionCall, PayloadFormat};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::live::Scope;
use crate::live::backend::Target;
use crate::live::mapping::header_value;
use crate::live::mapping::uri::with_variables;

/// A function whose answer is the client's.
#[derive(Debug)]
pub struct LambdaProxy {
    pub function: Function,
    pub payload: PayloadFormat,
    /// The answer goes on as the function writes it.
    pub stream: bool,
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
    /// Nobody is named, and Amazon cannot be called.
    Nobody,
}

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

impl Function {
    /// # Errors
    /// For what cannot be called, as a sentence.
    pub fn parse(call: &FunctionCall, stream: bool, scope: &Scope<'_>) -> Result<Self, String> {
        let FunctionCall { uri, method, credentials: _, timeout_ms } = call;
        let stage = scope.bundle;
        let uri = with_variables(uri, &stage.variables);
        let name = Name::parse(&uri).ok_or_else(|| format!("`{uri}` names no function"))?;
        let (callee, base) = match name.target(&stage.functions) {
            Some(target) => {
                let (target, base) = Target::parse(target, &stage.variables)?;
                (Callee::Stage(target), base)
            }
            None => (Callee::Nobody, "".into()),
        };
        let path = name.path(&base, stream);
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

/// A function as a URI names it.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    name: &'a str,
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
        (!name.is_empty() && !name.contains('/')).then_some(Self { name, qualifier })
    }

    /// Who answers for it here: for this very version, or for the function.
    fn target<'t>(&self, functions: &'t BTreeMap<String, BackendTarget>) -> Option<&'t BackendTarget> {
        let qualified = self.qualifier.and_then(|qualifier| functions.get(&format!("{}:{qualifier}", self.name)));
        qualified.or_else(|| functions.get(self.name))
    }

    fn path(&self, base: &str, stream: bool) -> String {
        let name = utf8_percent_encode(self.name, NAME);
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
        for (function, qualifier) in [
            (ARN.to_owned(), None),
            (format!("{ARN}:live"), Some("live")),
            ("get-order".into(), None),
            ("get-order:7".into(), Some("7")),
            ("123456789012:function:get-order".into(), None),
            ("arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:get-order".into(), None),
        ] {
            let wanted = Some(Name { name: "get-order", qualifier });
            assert_eq!(Name::parse(&function), wanted, "{function}");
            assert_eq!(Name::parse(&format!("{LONG}{function}/invocations")), wanted, "{function}");
        }
        for bad in ["", "arn:aws:s3:::bucket", &format!("{LONG}/invocations"), &format!("{LONG}f"), ":live"] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_of_invocations() {
        let name = Name { name: "get-order", qualifier: Some("$LATEST") };
        assert_eq!(name.path("/base", false), "/base/2015-03-31/functions/get-order/invocations?Qualifier=%24LATEST");
        let name = Name { name: "f_1", qualifier: None };
        assert_eq!(name.path("", true), "/2021-11-15/functions/f_1/response-streaming-invocations");
    }

    #[test]
    fn a_version_may_have_somebody_of_its_own() {
        let to = |url: &str| BackendTarget::Url(url.to_owned());
        let functions = BTreeMap::from([("f".to_owned(), to("http://a")), ("f:live".to_owned(), to("http://b"))]);
        let target = |name, qualifier| Name { name, qualifier }.target(&functions).cloned();
        assert_eq!(target("f", None), Some(to("http://a")));
        assert_eq!(target("f", Some("live")), Some(to("http://b")));
        assert_eq!(target("f", Some("other")), Some(to("http://a")));
        assert_eq!(target("g", None), None);
    }
}
