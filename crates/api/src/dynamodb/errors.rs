//! Failures of the layers below, as a DynamoDB client sees them.

use torc_cluster::topology::TableStatus;
use torc_coordinator::node::meta::MetaError;
use torc_coordinator::request::Exhausted;
use torc_coordinator::tables::route::RouteError;
use torc_model::{ApiError, ErrorCode};

/// A failure to reach or change data. SDKs retry all of these errors, except that of a deleted table.
pub fn from_route(error: RouteError) -> ApiError {
    match error {
        RouteError::Gone => ApiError::new(ErrorCode::ResourceNotFound, "Requested resource not found"),
        RouteError::Unavailable(why) => ApiError::new(
            ErrorCode::ServiceUnavailable,
            format!(
                "The partition has no reachable majority of replicas; nothing was done, try again ({why})"
            ),
        ),
        RouteError::Ambiguous(why) => ApiError::new(
            ErrorCode::InternalServerError,
            format!("The outcome of the write is unknown; read the item before writing again ({why})"),
        ),
        RouteError::Storage(why) => ApiError::new(ErrorCode::InternalServerError, why),
    }
}

/// No memory for the request came free in its time.
pub(super) fn exhausted(_: Exhausted) -> ApiError {
    ApiError::new(ErrorCode::ServiceUnavailable, "Too many large requests at once; try again")
}

/// A topology change that did not happen, or may not have.
pub(super) fn from_meta(error: MetaError, table: &str) -> ApiError {
    match error {
        MetaError::Route(error) => from_route(error),
        MetaError::Refused(refusal) => match refusal.code.as_str() {
            "Exists" => ApiError::table_exists(table),
            "NoSuchTable" => ApiError::table_not_found(table),
            "BadTransition" => in_use(table, TableStatus::Updating),
            "Limit" => ApiError::new(ErrorCode::LimitExceeded, refusal.message),
            _ => ApiError::new(ErrorCode::InternalServerError, refusal.message),
        },
    }
}

/// A table in a state that does not allow the change.
pub(super) fn in_use(table: &str, status: TableStatus) -> ApiError {
    let doing = match status {
        TableStatus::Creating => "created",
        TableStatus::Deleting => "deleted",
        _ => "updated",
    };
    ApiError::new(
        ErrorCode::ResourceInUse,
        format!("Attempt to change a resource which is still in use: Table is being {doing}: {table}"),
    )
}
