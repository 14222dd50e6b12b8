//! Credentials from a container's endpoint: EKS Pod Identity, and ECS.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use crate::core::Core;
use crate::integrate::aws::call::exchange_once;
use crate::integrate::aws::credentials::{Keys, NoKeys};
use crate::integrate::upstream::{Destination, Reach, Verification};

/// The endpoint.
#[derive(Debug)]
pub struct Url {
    destination: Destination,
    path: PathAndQuery,
}

impl Url {
    /// As Amazon's clients have it: in clear text only on this machine, or on the addresses of ECS and EKS.
    ///
    /// # Errors
    /// For another URL, as a sentence.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "the URL of the container's credentials is not one to be trusted".to_owned();
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return Err(wrong());
        }
        let destination = Destination::parse(&scheme, authority, Verification::default(), false)?;
        let trusted = match destination.host.parse::<IpAddr>() {
            Ok(address) => {
                let own: [IpAddr; 3] = [
                    [169, 254, 170, 2].into(),
                    [169, 254, 170, 23].into(),
                    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23].into(),
                ];
                address.is_loopback() || own.contains(&address)
            }
            Err(_) => &*destination.host == "localhost",
        };
        if scheme == "http" && !trusted {
            return Err(wrong());
        }
        let path = if path.is_empty() { "/" } else { path };
        // The environment of this process says where it is, not a definition.
        let destination = destination.reached(Reach::Exempt);
        Ok(Self { destination, path: path.parse().map_err(|_| wrong())? })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Asks the endpoint.
///
/// # Errors
/// When it gives none.
pub async fn fetch(core: &Rc<Core>, url: &Url, token: Option<&str>) -> Result<Keys, NoKeys> {
    let no = |text: &str| NoKeys(format!("the container's credentials: {text}"));
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(url.destination.authority()).map_err(|_| no("no host"))?;
    headers.insert(HOST, host);
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(token).map_err(|_| no("the token is no header's value"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let asked = exchange_once(core, &url.destination, Method::GET, url.path.clone(), headers, Default::default());
    let (status, body) = asked.await.map_err(|error| no(&error))?;
    if !status.is_success() {
        return Err(no(&format!("the endpoint answered {}", status.as_u16())));
    }
    // The parser's words could quote the answer.
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| no("the endpoint's answer is not understood"))?;
    let expires = answer.expiration.as_deref().map(super::sts::time).transpose()?;
    Ok(Keys::new(answer.access_key_id, answer.secret_access_key, answer.token, expires))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_near() {
        for good in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:1234",
            "http://localhost/x?y=z",
            "https://example.com/x",
        ] {
            assert!(Url::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["http://example.com/", "http://169.254.169.254/", "ftp://127.0.0.1/", "/x", "http://user@127.0.0.1/"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
