//! Roles, from the Security Token Service.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::utf8_percent_encode;
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::core::Core;
use crate::integrate::aws::call::exchange_once;
use crate::integrate::aws::credentials::{Keys, NoKeys};
use crate::integrate::aws::sign::{Scope, Unsigned, sign};
use crate::live::aws::Endpoint;
use crate::live::mapping::uri::COMPONENT;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
/// How CloudTrail shows what was done with the role.
const SESSION: &str = "stagegate";

/// Assumes a role.
///
/// # Errors
/// When STS does not give it.
pub async fn assume_role(
    core: &Rc<Core>,
    sts: &Endpoint,
    region: &str,
    role: &str,
    base: &Keys,
) -> Result<Keys, NoKeys> {
    let form = [("Action", "AssumeRole"), ("RoleArn", role), ("RoleSessionName", SESSION)];
    ask(core, sts, role, &form, Some((region, base))).await
}

/// Assumes a role as whoever the token says.
///
/// # Errors
/// When STS does not give it.
pub async fn assume_role_with_web_identity(
    core: &Rc<Core>,
    sts: &Endpoint,
    role: &str,
    session: &str,
    token: &str,
) -> Result<Keys, NoKeys> {
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", role),
        ("RoleSessionName", session),
        ("WebIdentityToken", token),
    ];
    ask(core, sts, role, &form, None).await
}

async fn ask(
    core: &Rc<Core>,
    sts: &Endpoint,
    role: &str,
    form: &[(&str, &str)],
    base: Option<(&str, &Keys)>,
) -> Result<Keys, NoKeys> {
    let no = |text: &str| NoKeys(format!("the role `{role}`: {text}"));
    let mut body = "Version=2011-06-15".to_owned();
    for (name, value) in form {
        body.push('&');
        body.push_str(name);
        body.push('=');
        body.extend(utf8_percent_encode(value, COMPONENT));
    }
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(sts.destination.authority()).map_err(|_| no("STS has no host"))?;
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, FORM);
    let path = sts.root();
    if let Some((region, keys)) = base {
        let request = Unsigned { method: &Method::POST, path: &path, body: body.as_bytes() };
        let scope = Scope { service: "sts", region };
        sign(keys, scope, request, &mut headers, SystemTime::now()).map_err(|_| no("the call could not be signed"))?;
    }
    let asked = exchange_once(core, &sts.destination, Method::POST, path, headers, body.into());
    let (status, answer) = asked.await.map_err(|error| no(&error))?;
    let answer = Answer::read(&answer);
    if !status.is_success() {
        // Amazon's words name the caller and the role, never a key.
        let code = answer.code.unwrap_or_default();
        return Err(no(&format!("STS answered {} {code}", status.as_u16())));
    }
    let Answer { id: Some(id), secret: Some(secret), token: Some(token), expires: Some(expires), code: _ } = answer
    else {
        return Err(no("the answer of STS is not understood"));
    };
    Ok(Keys::new(id, secret, Some(token), Some(time(&expires)?)))
}

/// What an answer of STS holds.
#[derive(Default)]
struct Answer {
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    expires: Option<String>,
    code: Option<String>,
}

impl Answer {
    /// As much as can be read.
    fn read(xml: &[u8]) -> Self {
        let mut answer = Self::default();
        let mut reader = Reader::from_reader(xml);
        let mut element = Vec::new();
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => element = start.local_name().as_ref().to_vec(),
                Ok(Event::Text(text)) => {
                    let Ok(text) = text.decode() else { continue };
                    let field = match &*element {
                        b"AccessKeyId" => &mut answer.id,
                        b"SecretAccessKey" => &mut answer.secret,
                        b"SessionToken" => &mut answer.token,
                        b"Expiration" => &mut answer.expires,
                        b"Code" => &mut answer.code,
                        _ => continue,
                    };
                    *field = Some(text.trim().to_owned());
                }
                Ok(Event::End(_)) => element.clear(),
                Ok(Event::Eof) | Err(_) => return answer,
                Ok(_) => {}
            }
        }
    }
}

/// A time as `2026-11-24T07:00:00Z`, also with a fraction or an offset.
///
/// # Errors
/// When it is none.
pub fn time(text: &str) -> Result<SystemTime, NoKeys> {
    let unknown = || NoKeys("the end of the credentials is no time".into());
    let time: jiff::Timestamp = text.parse().map_err(|_| unknown())?;
    let seconds = u64::try_from(time.as_second()).map_err(|_| unknown())?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
