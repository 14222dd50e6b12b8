//! What the command line says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An API gateway with Amazon API Gateway's model: OpenAPI documents in, HTTPS out.
#[derive(Debug, Parser)]
#[command(name = "stagegate", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(Box<Dev>),
    Lint(Lint),
    Import(Import),
    Template(Template),
    Function(crate::function::Args),
    History(crate::cluster::History),
    Diff(crate::cluster::Diff),
    Deploy(crate::cluster::Deploy),
    Rollback(crate::cluster::Rollback),
    Promote(crate::cluster::Promote),
    Keys(crate::cluster::Keys),
}

/// Runs the gateway here, without a cluster, from files that are reloaded as they change.
///
/// Takes ApiDefinition, Stage, UsagePlan, Secret and ConfigMap manifests (YAML with any number of documents, JSON,
/// `kind: List`) and bare OpenAPI documents (3.0, 3.1, Swagger 2.0), in files or in folders. A bare document becomes
/// an ApiDefinition named after its file, with a Stage called `dev`.
#[derive(Debug, Args)]
#[command(after_long_help = DEV_EXAMPLES)]
pub(crate) struct Dev {
    /// Files, and folders to search for *.yaml, *.yml and *.json.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Where HTTPS is served.
    #[arg(long, value_name = "ADDR", env = "STAGEGATE_HTTPS", default_value = "127.0.0.1:8443")]
    pub(crate) https: SocketAddr,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDR", env = "STAGEGATE_ADMIN", default_value = "127.0.0.1:8444")]
    pub(crate) admin: SocketAddr,
    /// Where plain HTTP is redirected to HTTPS. Off unless given.
    #[arg(long, value_name = "ADDR", env = "STAGEGATE_HTTP")]
    pub(crate) http: Option<SocketAddr>,
    /// Writes the local CA's certificate here (PEM), before anything is served.
    #[arg(long, value_name = "FILE", env = "STAGEGATE_CA_OUT")]
    pub(crate) ca_out: Option<PathBuf>,
    /// Keeps the local CA and the deployments. Default: $XDG_DATA_HOME/stagegate or ~/.local/share/stagegate, where
    /// deployments are kept apart by the PATHs.
    #[arg(long, value_name = "DIR", env = "STAGEGATE_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Where a Kubernetes Service is that is not here; without :PORT, all its ports. May be given several times.
    #[arg(
        long = "service",
        value_name = "NAME.NS[:PORT]=HOST:PORT",
        env = "STAGEGATE_SERVICES",
        value_delimiter = ','
    )]
    pub(crate) services: Vec<Service>,
    /// Threads that serve requests. Default: one per core.
    #[arg(long, value_name = "N", env = "STAGEGATE_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Whether every request is logged on standard output.
    #[arg(
        long,
        value_name = "on|off",
        env = "STAGEGATE_ACCESS_LOG",
        default_value = "on",
        hide_possible_values = true
    )]
    pub(crate) access_log: Switch,
    /// How long requests in flight may take to finish after SIGINT or SIGTERM.
    #[arg(long, value_name = "SECONDS", env = "STAGEGATE_GRACE", default_value_t = 30)]
    pub(crate) grace: u64,
    /// Stages have the default host {api}.{namespace}.{this}.
    #[arg(long, value_name = "DOMAIN", env = "STAGEGATE_BASE_DOMAIN", default_value = "localhost")]
    pub(crate) base_domain: String,
}

const DEV_EXAMPLES: &str = "\
Examples:
  stagegate dev openapi.yaml
      serves one document at https://127.0.0.1:8443/dev/
  stagegate dev deploy/
      serves every manifest in a folder, as in the cluster
  stagegate dev . --service orders.shop:8080=127.0.0.1:9000
      with the Service `orders` of namespace `shop` running on this machine
  stagegate dev . --ca-out ca.pem & curl --cacert ca.pem https://orders.shop.localhost:8443/prod/orders
      trusting the local CA for one call";

/// Compiles manifests and OpenAPI documents and prints every finding with file, line and reason.
///
/// Exits with 1 if any finding is an error, 2 if a path cannot be read, else 0.
#[derive(Debug, Args)]
#[command(after_long_help = LINT_EXAMPLES)]
pub(crate) struct Lint {
    /// Files, and folders to search for *.yaml, *.yml and *.json.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How findings are printed: for people, as JSON, or as workflow commands of GitHub Actions.
    #[arg(long, value_name = "text|json|github", default_value = "text", hide_possible_values = true)]
    pub(crate) format: Format,
    /// Stages have the default host {api}.{namespace}.{this}.
    #[arg(long, value_name = "DOMAIN", env = "STAGEGATE_BASE_DOMAIN", default_value = "localhost")]
    pub(crate) base_domain: String,
}

const LINT_EXAMPLES: &str = "\
Examples:
  stagegate lint deploy/
  stagegate lint openapi.yaml --format json | jq '.[].reason'
  stagegate lint . --format github      annotates a pull request";

/// Makes manifests of what describes an API at Amazon.
///
/// Takes an export of an API (OpenAPI or Swagger, JSON or YAML), or a CloudFormation or SAM template whose APIs have
/// their document in it. Everything that has no counterpart is a line on standard error, with its path in the file. If
/// something cannot be resolved nothing is written, and the exit status is 1.
#[derive(Debug, Args)]
#[command(after_long_help = IMPORT_EXAMPLES)]
pub(crate) struct Import {
    /// The export, or the template.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Writes one file per manifest into this folder, which is made. Default: all of them to standard output.
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// A parameter of a template, or what only Amazon knows: `AWS::Region`, `Function.Arn`. May be given several times.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Name of the ApiDefinition of an export. Default: after the document's title.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("want NAME=VALUE".to_owned()),
    }
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  aws apigateway get-export --rest-api-id ID --stage-name prod --export-type oas30 \\
      --parameters extensions=integrations,authorizers,apigateway api.json && stagegate import api.json -o deploy/
  stagegate import template.yaml --parameter Environment=prod --parameter AWS::Region=eu-west-1 -o deploy/";

/// Renders a mapping template as the gateway would, without one.
///
/// Prints the rendering, and on standard error the overrides that the template set. Exits with 1 if the template does
/// not parse or fails, and says where and what to do.
#[derive(Debug, Args)]
#[command(after_long_help = TEMPLATE_EXAMPLES)]
pub(crate) struct Template {
    /// The template.
    #[arg(value_name = "FILE")]
    pub(crate) template: PathBuf,
    /// What `$input` and `$stageVariables` read: a JSON object with any of `body` (a text, or any JSON), `path`,
    /// `querystring`, `header` and `stageVariables` (objects of texts). Without it the body is empty.
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// What `$context` reads: a JSON object such as {"stage": "prod", "identity": {"sourceIp": "192.0.2.7"}}.
    #[arg(long, value_name = "FILE")]
    pub(crate) context: Option<PathBuf>,
}

const TEMPLATE_EXAMPLES: &str = "\
Examples:
  stagegate template order.vtl --request request.json
      with request.json holding {\"body\": {\"id\": 7}, \"querystring\": {\"q\": \"x\"}}
  stagegate template order.vtl --request request.json --context context.json";

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Github,
}

/// Where one Service is: `orders.shop:8080=127.0.0.1:9000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    namespace: String,
    name: String,
    /// 0 stands for every port.
    port: u16,
    address: String,
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, address) = text
            .split_once('=')
            .ok_or("want NAME.NAMESPACE[:PORT]=HOST:PORT, for example orders.shop=127.0.0.1:9000")?;
        let (qualified, port) = match service.split_once(':') {
            Some((qualified, port)) => (qualified, parse_port(port)?),
            None => (service, 0),
        };
        let (name, namespace) = qualified
            .split_once('.')
            .ok_or_else(|| format!("`{qualified}` names no namespace: want NAME.NAMESPACE"))?;
        for label in [name, namespace] {
            if !is_label(label) {
                return Err(format!("`{label}` is not a name: want lower-case letters, digits and `-`"));
            }
        }
        let (host, at) = address.rsplit_once(':').ok_or_else(|| format!("`{address}` has no port: want HOST:PORT"))?;
        parse_port(at)?;
        if host.is_empty() {
            return Err(format!("`{address}` has no host: want HOST:PORT"));
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), port, address: address.to_owned() })
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("`{text}` is not a port"))
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

impl Dev {
    /// `--service` as the proxy wants it.
    pub(crate) fn service_map(&self) -> BTreeMap<(String, String, u16), String> {
        let entry = |service: &Service| {
            ((service.namespace.clone(), service.name.clone(), service.port), service.address.clone())
        };
        self.services.iter().map(entry).collect()
    }
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
    fn a_service_names_its_namespace_and_where_it_is() {
        let service: Service = "orders.shop:8080=127.0.0.1:9000".parse().unwrap();
        assert_eq!((service.name.as_str(), service.namespace.as_str(), service.port), ("orders", "shop", 8080));
        assert_eq!(service.address, "127.0.0.1:9000");
        assert_eq!("orders.shop=[::1]:9000".parse::<Service>().unwrap().port, 0);
        for bad in
            ["", "orders=127.0.0.1:1", "orders.shop", "orders.shop=host", "Orders.shop=h:1", "a.b:0=h:1", "a.b=:1"]
        {
            assert!(bad.parse::<Service>().is_err(), "{bad}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let Command::Dev(dev) = Arguments::try_parse_from(["stagegate", "dev", "x"]).unwrap().command else {
            panic!("not dev");
        };
        assert_eq!(dev.https.to_string(), "127.0.0.1:8443");
        assert_eq!(dev.admin.to_string(), "127.0.0.1:8444");
        assert_eq!((dev.http, dev.grace, dev.access_log), (None, 30, Switch::On));
    }
}
