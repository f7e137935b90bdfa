//! The exception types and what they mean on the wire.

/// The exception types of the DynamoDB API.
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
    /// `TableNotFoundException`, 400: of backups and their like; most operations answer
    /// `ResourceNotFoundException`.
    TableNotFound,
    /// `TableAlreadyExistsException`, 400: of restores.
    TableAlreadyExists,
    /// `TableInUseException`, 400: of backups and restores.
    TableInUse,
    /// `IndexNotFoundException`, 400.
    IndexNotFound,
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
    /// `TransactionConflictException`, 400, retryable.
    TransactionConflict,
    /// `TransactionInProgressException`, 400, retryable.
    TransactionInProgress,
    /// `IdempotentParameterMismatchException`, 400.
    IdempotentParameterMismatch,
    /// `DuplicateItemException`, 400: of PartiQL inserts.
    DuplicateItem,
    /// `ReplicatedWriteConflictException`, 400, retryable.
    ReplicatedWriteConflict,
    /// `BackupNotFoundException`, 400.
    BackupNotFound,
    /// `BackupInUseException`, 400.
    BackupInUse,
    /// `ContinuousBackupsUnavailableException`, 400.
    ContinuousBackupsUnavailable,
    /// `PointInTimeRecoveryUnavailableException`, 400.
    PointInTimeRecoveryUnavailable,
    /// `InvalidRestoreTimeException`, 400.
    InvalidRestoreTime,
    /// `InvalidExportTimeException`, 400.
    InvalidExportTime,
    /// `ExportNotFoundException`, 400.
    ExportNotFound,
    /// `ExportConflictException`, 400.
    ExportConflict,
    /// `ImportNotFoundException`, 400.
    ImportNotFound,
    /// `ImportConflictException`, 400.
    ImportConflict,
    /// `GlobalTableNotFoundException`, 400.
    GlobalTableNotFound,
    /// `GlobalTableAlreadyExistsException`, 400.
    GlobalTableAlreadyExists,
    /// `ReplicaNotFoundException`, 400.
    ReplicaNotFound,
    /// `ReplicaAlreadyExistsException`, 400.
    ReplicaAlreadyExists,
    /// `PolicyNotFoundException`, 400.
    PolicyNotFound,
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

/// Prefix of the types that belong to DynamoDB itself.
macro_rules! dynamodb {
    ($name:literal) => {
        concat!("com.amazonaws.dynamodb.v20120810#", $name)
    };
}

/// Prefix of the types that belong to the service framework.
macro_rules! service {
    ($name:literal) => {
        concat!("com.amazon.coral.service#", $name)
    };
}

impl ErrorCode {
    /// The `__type` of the body.
    pub fn type_name(self) -> &'static str {
        match self {
            ErrorCode::Validation => "com.amazon.coral.validate#ValidationException",
            ErrorCode::Serialization => service!("SerializationException"),
            ErrorCode::UnknownOperation => service!("UnknownOperationException"),
            ErrorCode::ConditionalCheckFailed => dynamodb!("ConditionalCheckFailedException"),
            ErrorCode::ResourceNotFound => dynamodb!("ResourceNotFoundException"),
            ErrorCode::ResourceInUse => dynamodb!("ResourceInUseException"),
            ErrorCode::TableNotFound => dynamodb!("TableNotFoundException"),
            ErrorCode::TableAlreadyExists => dynamodb!("TableAlreadyExistsException"),
            ErrorCode::TableInUse => dynamodb!("TableInUseException"),
            ErrorCode::IndexNotFound => dynamodb!("IndexNotFoundException"),
            ErrorCode::LimitExceeded => dynamodb!("LimitExceededException"),
            ErrorCode::ProvisionedThroughputExceeded => dynamodb!("ProvisionedThroughputExceededException"),
            ErrorCode::Throttling => "com.amazon.coral.availability#ThrottlingException",
            ErrorCode::RequestLimitExceeded => dynamodb!("RequestLimitExceeded"),
            ErrorCode::ItemCollectionSizeLimitExceeded => {
                dynamodb!("ItemCollectionSizeLimitExceededException")
            }
            ErrorCode::TransactionCanceled => dynamodb!("TransactionCanceledException"),
            ErrorCode::TransactionConflict => dynamodb!("TransactionConflictException"),
            ErrorCode::TransactionInProgress => dynamodb!("TransactionInProgressException"),
            ErrorCode::IdempotentParameterMismatch => dynamodb!("IdempotentParameterMismatchException"),
            ErrorCode::DuplicateItem => dynamodb!("DuplicateItemException"),
            ErrorCode::ReplicatedWriteConflict => dynamodb!("ReplicatedWriteConflictException"),
            ErrorCode::BackupNotFound => dynamodb!("BackupNotFoundException"),
            ErrorCode::BackupInUse => dynamodb!("BackupInUseException"),
            ErrorCode::ContinuousBackupsUnavailable => dynamodb!("ContinuousBackupsUnavailableException"),
            ErrorCode::PointInTimeRecoveryUnavailable => dynamodb!("PointInTimeRecoveryUnavailableException"),
            ErrorCode::InvalidRestoreTime => dynamodb!("InvalidRestoreTimeException"),
            ErrorCode::InvalidExportTime => dynamodb!("InvalidExportTimeException"),
            ErrorCode::ExportNotFound => dynamodb!("ExportNotFoundException"),
            ErrorCode::ExportConflict => dynamodb!("ExportConflictException"),
            ErrorCode::ImportNotFound => dynamodb!("ImportNotFoundException"),
            ErrorCode::ImportConflict => dynamodb!("ImportConflictException"),
            ErrorCode::GlobalTableNotFound => dynamodb!("GlobalTableNotFoundException"),
            ErrorCode::GlobalTableAlreadyExists => dynamodb!("GlobalTableAlreadyExistsException"),
            ErrorCode::ReplicaNotFound => dynamodb!("ReplicaNotFoundException"),
            ErrorCode::ReplicaAlreadyExists => dynamodb!("ReplicaAlreadyExistsException"),
            ErrorCode::PolicyNotFound => dynamodb!("PolicyNotFoundException"),
            ErrorCode::UnrecognizedClient => service!("UnrecognizedClientException"),
            ErrorCode::MissingAuthenticationToken => service!("MissingAuthenticationTokenException"),
            ErrorCode::IncompleteSignature => service!("IncompleteSignatureException"),
            ErrorCode::InvalidSignature => service!("InvalidSignatureException"),
            ErrorCode::AccessDenied => service!("AccessDeniedException"),
            ErrorCode::InternalServerError => dynamodb!("InternalServerError"),
            ErrorCode::ServiceUnavailable => service!("ServiceUnavailableException"),
            ErrorCode::RequestTooLarge => service!("RequestEntityTooLargeException"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::InternalServerError => 500,
            ErrorCode::ServiceUnavailable => 503,
            ErrorCode::RequestTooLarge => 413,
            _ => 400,
        }
    }

    /// True if the same request may succeed when it is sent again.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            ErrorCode::ProvisionedThroughputExceeded
                | ErrorCode::Throttling
                | ErrorCode::RequestLimitExceeded
                | ErrorCode::TransactionConflict
                | ErrorCode::TransactionInProgress
                | ErrorCode::ReplicatedWriteConflict
                | ErrorCode::InternalServerError
                | ErrorCode::ServiceUnavailable
        )
    }

    /// The name of the member that holds the text. The service model and the framework disagree on its first
    /// letter.
    pub(super) fn message_member(self) -> &'static str {
        match self {
            ErrorCode::Serialization
            | ErrorCode::UnknownOperation
            | ErrorCode::AccessDenied
            | ErrorCode::TransactionCanceled
            | ErrorCode::TransactionInProgress
            | ErrorCode::IdempotentParameterMismatch => "Message",
            _ => "message",
        }
    }
}
