//! Why the gateway answers by itself. `reply` has the table from here to status, body and headers.

/// Why the gateway answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The path has bad escapes, control characters, a backslash or dot segments. 400.
    BadPath(&'static str),
    /// The query of a REST API's request holds a `|` that is not escaped. 400.
    BadQuery,
    /// No `Host`, or one that is none. 400.
    BadHost,
    /// A header section over 10,240 bytes. 431.
    HeadersTooLarge,
    /// A URL over 10,240 characters. 414.
    UriTooLong,
    /// No such host, base path or stage. 403 `Forbidden`.
    NoSuchStage,
    /// No such resource or verb on a REST API. 403 `Missing Authentication Token`.
    NoSuchMethod,
    /// No API key, or one that does not open the Stage, and which of that for the log. 403 `Forbidden`.
    InvalidApiKey(&'static str),
    /// No such route on an HTTP API. 404 `Not Found`.
    NoSuchRoute,
    /// The request asks for other TLS settings than its connection got. 421.
    MisdirectedRequest,
    /// A request body over its limit. 413.
    RequestTooLarge,
    /// The client's body broke off. 400, which nobody may be there to read.
    RequestAborted,
    /// The client's body stopped coming. 408.
    RequestTimeout,
    /// Required parameters are missing; the message that names them. 400.
    MissingParameters(String),
    /// The body does not fit its model; what is wrong with it. 400 `Invalid request body`.
    InvalidBody(String),
    /// A mapping wants JSON and the body is none. 400 `Invalid JSON in request body`.
    InvalidJsonBody,
    /// A template wants JSON and the body is none. 400.
    InvalidPayload(String),
    /// No template for this media type. 415.
    UnsupportedMediaType,
    /// The route is refused: broken, or guarded by something not enforced. 500.
    RouteRefused { reason: String, message: String },
    /// A mapping, a template or an integration response does not work for this request. 500.
    Configuration(String),
    /// The backend could not be reached, or broke off before its response headers. 500, customised 504.
    IntegrationFailure(String),
    /// The backend did not answer in time. 504.
    IntegrationTimeout,
    /// A function's answer is none, or the function failed. 502.
    MalformedFunctionAnswer(String),
    /// The backend is at its bounds (connections, queue). 503.
    Overloaded,
    /// A panic while serving this request. 500.
    Panicked,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Client,
    Gateway,
    Upstream,
}
