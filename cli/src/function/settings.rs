//! What was asked for on the command line and in the environment, in the units the code uses.

use std::net::SocketAddr;
use std::time::Duration;

use super::Args;

pub(super) struct Settings {
    pub(super) concurrency: usize,
    pub(super) timeout: Duration,
    pub(super) listen: SocketAddr,
    pub(super) queue: usize,
    pub(super) event_queue: usize,
    pub(super) event_retries: u32,
    pub(super) event_retry_delay: Duration,
    pub(super) init_timeout: Duration,
    pub(super) grace: Duration,
    pub(super) command: Vec<String>,
    pub(super) function: Function,
}

/// The names that a function sees of itself.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) region: String,
    pub(super) memory: String,
}

/// The version every answer names; there is only what COMMAND is.
pub(super) const VERSION: &str = "$LATEST";

/// The account of functions that were not called by a full ARN.
const ACCOUNT: &str = "000000000000";

impl Settings {
    pub(super) fn new(args: Args, environment: impl Fn(&str) -> Option<String>) -> Self {
        let Args {
            concurrency,
            timeout,
            listen,
            queue,
            event_queue,
            event_retries,
            event_retry_delay,
            init_timeout,
            grace,
            command,
        } = args;
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        let or = |names: &[&str], default: &str| {
            names.iter().find_map(|name| environment(name)).unwrap_or_else(|| default.to_owned())
        };
        Self {
            concurrency: usize::from(concurrency),
            timeout: seconds(timeout),
            listen,
            queue: usize::from(queue),
            event_queue: usize::try_from(event_queue).unwrap_or(usize::MAX),
            event_retries,
            event_retry_delay: seconds(event_retry_delay),
            init_timeout: seconds(init_timeout),
            grace: seconds(grace),
            command,
            function: Function {
                name: or(&["AWS_LAMBDA_FUNCTION_NAME"], "function"),
                region: or(&["AWS_REGION", "AWS_DEFAULT_REGION"], "us-east-1"),
                memory: or(&["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "3008"),
            },
        }
    }
}

impl Function {
    /// The ARN that the handler is told it was called by. `called` is what the caller wrote: a name, a partial or a
    /// full ARN, each with or without a qualifier.
    pub(super) fn arn(&self, called: &str, qualifier: Option<&str>) -> String {
        let named = if called.starts_with("arn:") {
            called.to_owned()
        } else if let Some((account, name)) = called.split_once(":function:") {
            format!("arn:aws:lambda:{}:{account}:function:{name}", self.region)
        } else {
            format!("arn:aws:lambda:{}:{ACCOUNT}:function:{called}", self.region)
        };
        match qualifier {
            // arn:aws:lambda:region:account:function:name is seven parts; an eighth is a qualifier already.
            Some(qualifier) if named.split(':').count() == 7 => format!("{named}:{qualifier}"),
            Some(_) | None => named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_made_of_any_name() {
        let function = Function { name: "f".into(), region: "eu-west-1".into(), memory: "128".into() };
        let cases = [
            ("get-order", None, "arn:aws:lambda:eu-west-1:000000000000:function:get-order"),
            ("get-order", Some("live"), "arn:aws:lambda:eu-west-1:000000000000:function:get-order:live"),
            ("get-order:live", None, "arn:aws:lambda:eu-west-1:000000000000:function:get-order:live"),
            ("get-order:live", Some("live"), "arn:aws:lambda:eu-west-1:000000000000:function:get-order:live"),
            ("123456789012:function:f", None, "arn:aws:lambda:eu-west-1:123456789012:function:f"),
            ("arn:aws:lambda:us-east-2:1:function:f", Some("1"), "arn:aws:lambda:us-east-2:1:function:f:1"),
            ("arn:aws:lambda:us-east-2:1:function:f:2", Some("1"), "arn:aws:lambda:us-east-2:1:function:f:2"),
        ];
        for (called, qualifier, arn) in cases {
            assert_eq!(function.arn(called, qualifier), arn);
        }
    }
}
