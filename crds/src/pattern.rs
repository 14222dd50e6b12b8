//! Patterns of values, as an API server checks them. The compiler checks the same for files, and what no pattern says.

/// Name of most objects: a DNS subdomain.
pub(crate) const OBJECT: &str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
/// Name of a Service, a namespace or a gateway: a DNS label.
pub(crate) const LABEL: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// Key of a ConfigMap.
pub(crate) const KEY: &str = "^[A-Za-z0-9._-]+$";
/// `30s`, `500ms`, `1h30m`; not nothing.
pub(crate) const DURATION: &str = "^(0+(ms|s|m|h))*0*[1-9][0-9]*(ms|s|m|h)([0-9]+(ms|s|m|h))*$";
/// `10Mi`, `5M`, `1024`; not nothing.
pub(crate) const QUANTITY: &str = "^0*[1-9][0-9]*(Ki|Mi|Gi|Ti|k|M|G|T)?$";
/// An absolute URL without a query.
pub(crate) const URL: &str = r"^https?://[^/?#{}\s][^?#{}\s]*$";
/// `api.example.com`, `*.example.com` or `*`, in any case.
pub(crate) const HOST: &str =
    r"^(\*|(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)$";
/// `/` or `/orders/v2`; a segment is neither `.` nor `..`.
pub(crate) const BASE_PATH: &str =
    r"^(/|(/([$_+!*'()A-Za-z0-9-]|\.{1,2}[$_+!*'()A-Za-z0-9-]|\.{3})[$_.+!*'()A-Za-z0-9-]*)+/?)$";
/// A method of HTTP that a document can have, or `*`.
pub(crate) const METHOD: &str = r"^(\*|ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE)$";
