//! Credentials of the proxy's environment, in the order in which Amazon's own clients look.

use std::fmt;
use std::rc::Rc;

use crate::core::Core;
use crate::integrate::aws::credentials::{Keys, NoKeys, container, sts};
use crate::integrate::upstream::Reach;
use crate::live::aws::Endpoint;

/// Longest token in a file.
const MAX_TOKEN: usize = 64 << 10;

/// What the environment says about credentials. Read once, when a core starts; files are read at every fetch, since
/// they are what changes.
#[derive(Default)]
pub struct Environment {
    source: Source,
}

#[derive(Default)]
enum Source {
    #[default]
    Nothing,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Key { id: String, secret: String, session_token: Option<String> },
    /// IRSA: `AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_SESSION_NAME`.
    WebIdentity { role: String, file: String, session: String, sts: Result<Endpoint, String> },
    /// Pod Identity and ECS: `AWS_CONTAINER_CREDENTIALS_FULL_URI` (or `…_RELATIVE_URI`) with
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` (or `…_TOKEN`).
    Container { url: Result<container::Url, String>, token: Token },
}

/// What a container's endpoint is shown.
enum Token {
    None,
    Text(String),
    File(String),
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// What an environment says; an empty variable is none.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let source = if let (Some(id), Some(secret)) =
            (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            Source::Key { id, secret, session_token: variable("AWS_SESSION_TOKEN") }
        } else if let (Some(role), Some(file)) = (variable("AWS_ROLE_ARN"), variable("AWS_WEB_IDENTITY_TOKEN_FILE")) {
            let session = variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "stagegate".to_owned());
            let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
            let sts = match variable("AWS_ENDPOINT_URL_STS").or_else(|| variable("AWS_ENDPOINT_URL")) {
                Some(url) => Endpoint::parse(&url)
                    .map(|endpoint| Endpoint { destination: endpoint.destination.reached(Reach::Exempt), ..endpoint }),
                None => Endpoint::of_amazon("sts", region.as_deref().unwrap_or("us-east-1")),
            };
            Source::WebIdentity { role, file, session, sts }
        } else {
            let full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
            let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
            let url = relative.map(|path| format!("http://169.254.170.2{path}")).or(full);
            let token = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
                Some(file) => Token::File(file),
                None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map_or(Token::None, Token::Text),
            };
            match url {
                Some(url) => Source::Container { url: container::Url::parse(&url), token },
                None => Source::Nothing,
            }
        };
        Self { source }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Nothing => "Environment(nothing)",
            Source::Key { .. } => "Environment(access key)",
            Source::WebIdentity { .. } => "Environment(web identity)",
            Source::Container { .. } => "Environment(container)",
        })
    }
}

/// The keys of the environment.
///
/// # Errors
/// When it has none, or whoever has them does not give them.
pub async fn fetch(core: &Rc<Core>, environment: &Environment) -> Result<Keys, NoKeys> {
    match &environment.source {
        Source::Nothing => Err(NoKeys(
            "the Stage's `aws.credentials` names no Secret, and the environment has no access key, no web identity and \
             no container credentials"
                .into(),
        )),
        Source::Key { id, secret, session_token } => {
            Ok(Keys::new(id.clone(), secret.clone(), session_token.clone(), None))
        }
        Source::WebIdentity { role, file, session, sts } => {
            let sts = sts.as_ref().map_err(|error| NoKeys(error.clone()))?;
            sts::assume_role_with_web_identity(core, sts, role, session, &token(file).await?).await
        }
        Source::Container { url, token: shown } => {
            let url = url.as_ref().map_err(|error| NoKeys(error.clone()))?;
            let shown = match shown {
                Token::None => None,
                Token::Text(text) => Some(text.clone()),
                Token::File(file) => Some(token(file).await?),
            };
            container::fetch(core, url, shown.as_deref()).await
        }
    }
}

async fn token(file: &str) -> Result<String, NoKeys> {
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| NoKeys(format!("the token in `{file}` cannot be read: {}", error.kind())))?;
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TOKEN || text.chars().any(char::is_control) {
        return Err(NoKeys(format!("the file `{file}` holds no token")));
    }
    Ok(text.to_owned())
}
