//! The one table from what the gateway refuses to what its client gets.

use bundle::reply::GatewayResponseType;

use crate::rejection::{Fault, Rejection};

/// What a client gets for a rejection, unless it is customised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `None`: Amazon has no gateway response for it, so nothing customises it.
    pub kind: Option<GatewayResponseType>,
    pub status: u16,
    pub message: Option<&'static str>,
    /// `x-amzn-ErrorType`.
    pub error_type: Option<&'static str>,
    /// A metric label.
    pub reason: &'static str,
    pub fault: Fault,
}

/// A type of gateway response, as Amazon's table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Status of the type, which a customised response keeps if it names none.
    pub status: u16,
    /// Status as long as the type is not customised.
    pub uncustomised: u16,
    pub message: Option<&'static str>,
    pub error_type: &'static str,
    pub customisable: bool,
}

impl Rejection {
    /// What a client gets for it.
    pub fn answer(&self) -> Answer {
        use Fault::{Client, Gateway, Upstream};
        use GatewayResponseType as Type;
        match self {
            Self::BadPath(_) => plain(400, "Bad Request", Some("BadRequestException"), "BadPath", Client),
            Self::BadQuery => plain(400, "Bad Request", Some("BadRequestException"), "BadQuery", Client),
            Self::BadHost => plain(400, "Bad Request", Some("BadRequestException"), "BadHost", Client),
            Self::HeadersTooLarge => {
                plain(431, "Request Header Fields Too Large", Some("BadRequestException"), "HeadersTooLarge", Client)
            }
            Self::UriTooLong => plain(414, "Request-URI Too Long", Some("BadRequestException"), "UriTooLong", Client),
            Self::NoSuchStage => plain(403, "Forbidden", Some("ForbiddenException"), "NoSuchStage", Client),
            Self::NoSuchMethod => typed(Type::MissingAuthenticationToken, "NoSuchMethod", Client),
            Self::InvalidApiKey(_) => typed(Type::InvalidApiKey, "InvalidApiKey", Client),
            Self::NoSuchRoute => plain(404, "Not Found", None, "NoSuchRoute", Client),
            Self::MisdirectedRequest => plain(421, "Misdirected Request", None, "MisdirectedRequest", Client),
            Self::RequestTooLarge => typed(Type::RequestTooLarge, "RequestTooLarge", Client),
            Self::RequestAborted => plain(400, "Bad Request", Some("BadRequestException"), "RequestAborted", Client),
            Self::RequestTimeout => {
                plain(408, "Request Timeout", Some("BadRequestException"), "RequestTimeout", Client)
            }
            Self::MissingParameters(_) => typed(Type::BadRequestParameters, "MissingParameters", Client),
            Self::InvalidBody(_) => typed(Type::BadRequestBody, "InvalidBody", Client),
            Self::InvalidJsonBody => Answer {
                message: Some("Invalid JSON in request body"),
                ..typed(Type::BadRequestBody, "InvalidJsonBody", Client)
            },
            Self::InvalidPayload(_) => Answer {
                message: Some("Could not process payload"),
                ..typed(Type::BadRequestBody, "InvalidPayload", Client)
            },
            Self::UnsupportedMediaType => typed(Type::UnsupportedMediaType, "UnsupportedMediaType", Client),
            Self::RouteRefused { .. } => typed(Type::ApiConfigurationError, "RouteRefused", Gateway),
            Self::Configuration(_) => typed(Type::ApiConfigurationError, "Configuration", Gateway),
            Self::IntegrationFailure(_) => typed(Type::IntegrationFailure, "IntegrationFailure", Upstream),
            Self::IntegrationTimeout => typed(Type::IntegrationTimeout, "IntegrationTimeout", Upstream),
            Self::MalformedFunctionAnswer(_) => {
                plain(502, INTERNAL_ERROR, Some("InternalServerErrorException"), "MalformedFunctionAnswer", Upstream)
            }
            Self::Overloaded => {
                plain(503, "Service Unavailable", Some("ServiceUnavailableException"), "Overloaded", Upstream)
            }
            Self::Panicked => plain(500, INTERNAL_ERROR, Some("InternalServerErrorException"), "Panicked", Gateway),
        }
    }

    /// What the client is told, where that is not the same each time.
    pub fn message(&self) -> Option<&str> {
        if let Self::MissingParameters(message) = self { Some(message) } else { None }
    }

    /// What a validator found: `$context.error.validationErrorString`.
    pub fn validation(&self) -> Option<&str> {
        if let Self::InvalidBody(faults) = self { Some(faults) } else { None }
    }

    /// What the log says about it.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::BadPath(reason) | Self::InvalidApiKey(reason) => Some(reason),
            Self::MissingParameters(message) => Some(message),
            Self::RouteRefused { message, .. } => Some(message),
            Self::InvalidPayload(message)
            | Self::Configuration(message)
            | Self::IntegrationFailure(message)
            | Self::MalformedFunctionAnswer(message) => Some(message),
            Self::BadQuery
            | Self::BadHost
            | Self::HeadersTooLarge
            | Self::UriTooLong
            | Self::NoSuchStage
            | Self::NoSuchMethod
            | Self::NoSuchRoute
            | Self::MisdirectedRequest
            | Self::RequestTooLarge
            | Self::RequestAborted
            | Self::RequestTimeout
            // Quotes what the client sent.
            | Self::InvalidBody(_)
            | Self::InvalidJsonBody
            | Self::UnsupportedMediaType
            | Self::IntegrationTimeout
            | Self::Overloaded
            | Self::Panicked => None,
        }
    }
}

/// The message of a REST API's 500.
pub(super) const INTERNAL_ERROR: &str = "Internal server error";

/// Amazon's table of gateway responses (facts: "Gateway responses"). `DEFAULT_4XX` and `DEFAULT_5XX` are settings for
/// others, never an answer; their rows are what an answer of theirs would be.
pub fn row(kind: GatewayResponseType) -> Row {
    use GatewayResponseType as Type;
    let row =
        |status, message, error_type| Row { status, uncustomised: status, message, error_type, customisable: true };
    match kind {
        Type::AccessDenied => row(403, Some("User is not authorized to access this resource"), "AccessDeniedException"),
        Type::ApiConfigurationError => row(500, Some(INTERNAL_ERROR), "InternalServerErrorException"),
        Type::AuthorizerConfigurationError => row(500, None, "AuthorizerConfigurationException"),
        Type::AuthorizerFailure => row(500, None, "AuthorizerFailureException"),
        Type::BadRequestParameters => row(400, Some("Missing required request parameters"), "BadRequestException"),
        Type::BadRequestBody => row(400, Some("Invalid request body"), "BadRequestException"),
        Type::Default4xx => row(400, None, "BadRequestException"),
        Type::Default5xx => row(500, None, "InternalServerErrorException"),
        Type::ExpiredToken => {
            row(403, Some("The security token included in the request is expired"), "ExpiredTokenException")
        }
        Type::IntegrationFailure => {
            Row { uncustomised: 500, ..row(504, Some(INTERNAL_ERROR), "InternalServerErrorException") }
        }
        Type::IntegrationTimeout => row(504, Some("Endpoint request timed out"), "InternalServerErrorException"),
        Type::InvalidApiKey => row(403, Some("Forbidden"), "ForbiddenException"),
        Type::InvalidSignature => row(403, None, "InvalidSignatureException"),
        Type::MissingAuthenticationToken => {
            row(403, Some("Missing Authentication Token"), "MissingAuthenticationTokenException")
        }
        Type::QuotaExceeded => row(429, Some("Limit Exceeded"), "LimitExceededException"),
        Type::RequestTooLarge => {
            Row { customisable: false, ..row(413, Some("Request Too Long"), "RequestTooLargeException") }
        }
        Type::ResourceNotFound => row(404, None, "ResourceNotFoundException"),
        Type::Throttled => row(429, Some("Too Many Requests"), "TooManyRequestsException"),
        Type::Unauthorized => row(401, Some("Unauthorized"), "UnauthorizedException"),
        Type::UnsupportedMediaType => row(415, Some("Unsupported Media Type"), "BadRequestException"),
        Type::WafFiltered => row(403, Some("Forbidden"), "ForbiddenException"),
    }
}

/// A rejection that has a gateway response.
fn typed(kind: GatewayResponseType, reason: &'static str, fault: Fault) -> Answer {
    let Row { uncustomised, message, error_type, .. } = row(kind);
    Answer { kind: Some(kind), status: uncustomised, message, error_type: Some(error_type), reason, fault }
}

/// A rejection that has none.
fn plain(
    status: u16,
    message: &'static str,
    error_type: Option<&'static str>,
    reason: &'static str,
    fault: Fault,
) -> Answer {
    Answer { kind: None, status, message: Some(message), error_type, reason, fault }
}
