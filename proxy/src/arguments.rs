//! The command line of `stagegate-proxy`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum};
use proxy::egress::Network;

/// The data plane of Stagegate: follows the bundles of a gateway and serves them.
#[derive(Debug, Parser)]
#[command(name = "stagegate-proxy", version, max_term_width = 120)]
pub(crate) struct Arguments {
    /// Gateway whose bundles are served.
    #[arg(long, env = "STAGEGATE_GATEWAY", default_value = "default", conflicts_with = "sidecar")]
    pub gateway: String,

    /// Namespace of the bundles' Secrets.
    #[arg(
        long,
        env = "STAGEGATE_BUNDLE_NAMESPACE",
        value_name = "NAMESPACE",
        required_unless_present = "sidecar",
        conflicts_with = "sidecar"
    )]
    pub bundle_namespace: Option<String>,

    /// Serves one Stage to the program beside it: plain HTTP on loopback, no rights in the cluster.
    #[arg(long, env = "STAGEGATE_SIDECAR", requires = "bundle")]
    pub sidecar: bool,

    /// Folder with the mounted Secret of the sidecar's bundle.
    #[arg(long, env = "STAGEGATE_BUNDLE", value_name = "DIR", requires = "sidecar")]
    pub bundle: Option<PathBuf>,

    /// Where HTTPS is served.
    #[arg(long, env = "STAGEGATE_HTTPS", value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub https: SocketAddr,

    /// Where plain HTTP is sent to HTTPS by 308 [default: nowhere]; of a sidecar, where HTTP is served [default:
    /// 127.0.0.1:8080].
    #[arg(long, env = "STAGEGATE_HTTP", value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,

    /// Where health, metrics and what is loaded are told [default: 0.0.0.0:8444; of a sidecar 127.0.0.1:8444].
    #[arg(long, env = "STAGEGATE_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,

    /// Folder for the last good copy of every bundle, served when the API server does not answer [default: none].
    #[arg(long, env = "STAGEGATE_CACHE", value_name = "DIR", conflicts_with = "sidecar")]
    pub cache: Option<PathBuf>,

    /// Threads that serve requests [default: one per core].
    #[arg(long, env = "STAGEGATE_WORKERS", value_name = "N")]
    pub workers: Option<std::num::NonZeroU16>,

    /// Client connections open at a time; one beyond that is closed at once.
    #[arg(long, env = "STAGEGATE_MAX_CONNECTIONS", value_name = "N", default_value = "262144")]
    pub max_connections: std::num::NonZeroUsize,

    /// Whether every request is logged on standard output.
    #[arg(long, env = "STAGEGATE_ACCESS_LOG", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub access_log: bool,

    /// Form of the program's own log on standard error. `RUST_LOG` sets its level [default: info].
    #[arg(long, env = "STAGEGATE_LOG", value_name = "FORM", default_value = "json")]
    pub log: LogForm,

    /// Namespaces whose EndpointSlices may be read, or `all` [default: those that bundles name].
    #[arg(
        long,
        env = "STAGEGATE_ENDPOINT_NAMESPACES",
        value_name = "NAMESPACES",
        value_delimiter = ',',
        conflicts_with = "sidecar"
    )]
    pub endpoint_namespaces: Vec<String>,

    /// Ranges that `url` backends must not reach: the cluster's own Services and pods. Loopback and link-local addresses
    /// are refused by themselves.
    #[arg(long, env = "STAGEGATE_EGRESS_DENY", value_name = "CIDRS", value_delimiter = ',')]
    pub egress_deny: Vec<Network>,

    /// Ranges that `url` backends may reach although they are refused otherwise.
    #[arg(long, env = "STAGEGATE_EGRESS_ALLOW", value_name = "CIDRS", value_delimiter = ',')]
    pub egress_allow: Vec<Network>,

    /// Namespaces whose stages may sign with the AWS credentials of this process [default: none; of a sidecar, its own].
    #[arg(long, env = "STAGEGATE_AWS_CREDENTIAL_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub aws_credential_namespaces: Vec<String>,

    /// How many proxies stand in front of this one: the client's address is the entry of that number from the end of
    /// `X-Forwarded-For`. Where there are fewer entries, and with 0, it is whoever connects.
    #[arg(long, env = "STAGEGATE_TRUSTED_HOPS", value_name = "N", default_value_t = 0)]
    pub trusted_hops: u8,

    /// How long after SIGTERM connections are still accepted, while readiness fails.
    #[arg(long, env = "STAGEGATE_DRAIN_DELAY", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub drain_delay: Duration,

    /// How long after that requests in flight may take.
    #[arg(long, env = "STAGEGATE_GRACE", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub grace: Duration,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    Json,
    Text,
}

/// `500ms`, `5s`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "want a number with ms, s or m: 5s".to_owned();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    // A day is longer than any pod is waited for.
    milliseconds.filter(|&time| time <= 86_400_000).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "5", "s", "5h", "-1s", "99999999m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_chart_gives_is_understood() {
        let arguments = Arguments::try_parse_from([
            "stagegate-proxy",
            "--gateway=default",
            "--bundle-namespace=stagegate-bundles",
            "--endpoint-namespaces=all",
            "--egress-deny=10.96.0.0/16,10.244.0.0/16",
            "--access-log=false",
            "--drain-delay=5s",
            "--trusted-hops=1",
        ])
        .unwrap();
        assert_eq!((arguments.egress_deny.len(), arguments.access_log, arguments.trusted_hops), (2, false, 1));
        for wrong in [
            ["--gateway=a", "--cache=b"].as_slice(),
            &["--sidecar"],
            &["--sidecar", "--bundle=/b", "--bundle-namespace=n"],
            &["--bundle-namespace=n", "--egress-deny=10.0.0.0/99"],
        ] {
            assert!(Arguments::try_parse_from(["stagegate-proxy"].iter().chain(wrong)).is_err(), "{wrong:?}");
        }
    }
}
