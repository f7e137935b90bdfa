//! Errors in the form of DynamoDB's protocol.
//!
//! Every layer from the validators down to the replica creates them, and the api crate writes them to the
//! client. `code` holds what a type means in the protocol, `body` writes the JSON.

mod body;
mod code;

pub use code::ErrorCode;

/// An error as a client of the DynamoDB API sees it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct ApiError {
    /// Its type.
    pub code: ErrorCode,
    /// The text, as DynamoDB words it. Empty for a body that is not JSON, which DynamoDB answers without a
    /// text.
    pub message: String,
    /// The item that failed a condition, when the request asked for it.
    pub item: Option<crate::Item>,
    /// Why a transaction was cancelled, one for each of its actions in the request's order; empty for other
    /// errors.
    pub reasons: Vec<CancellationReason>,
}

/// Why one action of a transaction was refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CancellationReason {
    /// `ConditionalCheckFailed`, `TransactionConflict`, `ValidationError` …; `None` when this action was not
    /// at fault.
    pub code: Option<&'static str>,
    /// The text of the fault.
    pub message: Option<String>,
    /// The item that failed a condition, when the action asked for it.
    pub item: Option<crate::Item>,
}

impl ApiError {
    /// An error without an item.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), item: None, reasons: Vec::new() }
    }

    /// A `ValidationException`.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Validation, message)
    }

    /// A `ValidationException` about a parameter's value: "One or more parameter values were invalid: " and
    /// the fault.
    pub fn invalid_parameter(fault: impl std::fmt::Display) -> Self {
        Self::validation(format!("One or more parameter values were invalid: {fault}"))
    }

    /// A failed condition; `item` as it stands when the request asked for it.
    pub fn condition_failed(item: Option<crate::Item>) -> Self {
        Self { item, ..Self::new(ErrorCode::ConditionalCheckFailed, "The conditional request failed") }
    }

    /// The table of a data operation does not exist.
    pub fn no_such_table() -> Self {
        Self::new(ErrorCode::ResourceNotFound, "Requested resource not found")
    }

    /// The table of a control operation does not exist.
    pub fn table_not_found(name: &str) -> Self {
        Self::new(
            ErrorCode::ResourceNotFound,
            format!("Requested resource not found: Table: {name} not found"),
        )
    }

    /// A table of this name exists already.
    pub fn table_exists(name: &str) -> Self {
        Self::new(ErrorCode::ResourceInUse, format!("Table already exists: {name}"))
    }

    /// A transaction that was cancelled. The text lists the codes of the reasons.
    pub fn transaction_cancelled(reasons: Vec<CancellationReason>) -> Self {
        let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.unwrap_or("None")).collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        Self { reasons, ..Self::new(ErrorCode::TransactionCanceled, message) }
    }
}
