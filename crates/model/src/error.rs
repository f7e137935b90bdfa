//! Errors in the DynamoDB wire shape.

/// The exception types that the Tables face answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `com.amazon.coral.validate#ValidationException`, 400.
    Validation,
    /// `com.amazon.coral.service#SerializationException`, 400: the body does not have the operation's shape.
    Serialization,
    /// `com.amazon.coral.service#UnknownOperationException`, 400.
    UnknownOperation,
    /// `ConditionalCheckFailedException`, 400. May carry the item.
    ConditionalCheckFailed,
    /// `ResourceNotFoundException`, 400.
    ResourceNotFound,
    /// `ResourceInUseException`, 400.
    ResourceInUse,
    /// `TableNotFoundException` and friends are added where their operations live.
    TableNotFound,
    /// `LimitExceededException`, 400.
    LimitExceeded,
    /// `ProvisionedThroughputExceededException`, 400, retryable.
    ProvisionedThroughputExceeded,
    /// `com.amazon.coral.availability#ThrottlingException`, 400, retryable.
    Throttling,
    /// `RequestLimitExceeded`, 400, retryable.
    RequestLimitExceeded,
    /// `ItemCollectionSizeLimitExceededException`, 400.
    ItemCollectionSizeLimitExceeded,
    /// `TransactionCanceledException`, 400. Carries reasons.
    TransactionCanceled,
    /// `TransactionConflictException`, 400.
    TransactionConflict,
    /// `TransactionInProgressException`, 400.
    TransactionInProgress,
    /// `IdempotentParameterMismatchException`, 400.
    IdempotentParameterMismatch,
    /// `com.amazon.coral.service#UnrecognizedClientException`, 400: unknown access key.
    UnrecognizedClient,
    /// `MissingAuthenticationTokenException`, 400.
    MissingAuthenticationToken,
    /// `IncompleteSignatureException`, 400.
    IncompleteSignature,
    /// `InvalidSignatureException`, 400.
    InvalidSignature,
    /// `AccessDeniedException`, 400.
    AccessDenied,
    /// `InternalServerError`, 500, retryable: the outcome of a write is unknown.
    InternalServerError,
    /// `ServiceUnavailable`, 503, retryable: nothing was done.
    ServiceUnavailable,
    /// `RequestEntityTooLarge`, 413.
    RequestTooLarge,
}

/// An error as a client of the Tables face sees it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ApiError {
    /// Its type.
    pub code: ErrorCode,
    /// The text, as DynamoDB words it.
    pub message: String,
    /// The item that failed a condition, when the request asked for it.
    pub item: Option<crate::Item>,
}

impl ApiError {
    /// An error without an item.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), item: None }
    }
    /// A `ValidationException`.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Validation, message)
    }
}
