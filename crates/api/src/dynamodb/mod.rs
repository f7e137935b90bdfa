//! The DynamoDB protocol: one `POST /` route, the operation named by `X-Amz-Target`, JSON 1.0 bodies.

mod answer;
mod encoding;
mod errors;
pub mod ops;

use crate::auth::{self, AccessKeys};
use crate::request_id::RequestIds;
use crate::server::BodyProblem;
use crate::sts;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use std::sync::Arc;
use torc_coordinator::node::Node;
use torc_coordinator::request::RequestContext;
use torc_model::compat::OPERATIONS;
use torc_model::{ApiError, ErrorCode};

pub use errors::from_route;

/// The only version of the API there is.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Characters of an unknown name that a message repeats.
const MAX_REPEATED: usize = 128;

/// The Tables face of one node.
#[derive(Debug)]
pub struct DynamoDb {
    /// Region name in ARNs.
    pub region: String,
    /// Account number in ARNs, 12 digits.
    pub account: String,
    /// The keys that requests must be signed with; without any, every request is served.
    keys: AccessKeys,
    /// Estimated sizes of large tables.
    sizes: ops::statistics::Kept,
    /// Held while a table's settings are read and written back.
    settings: tokio::sync::Mutex<()>,
}

impl Default for DynamoDb {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            account: "000000000000".into(),
            keys: AccessKeys::default(),
            sizes: ops::statistics::Kept::default(),
            settings: tokio::sync::Mutex::default(),
        }
    }
}

impl DynamoDb {
    /// Requests must be signed with one of these keys, if there are any.
    pub fn with_keys(keys: AccessKeys) -> Self {
        Self { keys, ..Self::default() }
    }

    /// The access keys that are admitted, also to the other faces of the node.
    pub fn keys(&self) -> &AccessKeys {
        &self.keys
    }

    /// The ARN of a table.
    pub fn table_arn(&self, name: &str) -> String {
        format!("arn:aws:dynamodb:{}:{}:table/{name}", self.region, self.account)
    }

    /// Serves one request.
    pub async fn handle(
        &self,
        node: &Node,
        context: &mut RequestContext,
        request: Request<Bytes>,
    ) -> Response<Full<Bytes>> {
        let shape = answer::Shape::of(request.headers());
        let result = self.run(node, context, &request).await;
        let id = &context.trace_id;
        match result {
            Ok(body) => answer::respond(StatusCode::OK, body, id, shape),
            Err(error) => {
                if error.code == ErrorCode::InternalServerError {
                    tracing::warn!(request = %id, error = %error.message, "request failed");
                }
                answer::refuse(&error, id, shape)
            }
        }
    }

    async fn run(
        &self,
        node: &Node,
        context: &mut RequestContext,
        request: &Request<Bytes>,
    ) -> Result<Vec<u8>, ApiError> {
        let operation = operation(request)?;
        context.principal = self.keys.signer(request, node.wall_ms(), auth::SERVICE)?.map(Arc::from);
        // Unpacked after the signature is checked: that covers the body as it was sent.
        let body = encoding::unpack(request.headers(), request.body()).map_err(body_error)?;
        let host = request.headers().get(header::HOST).and_then(|v| v.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        ops::dispatch(self, node, context, host.unwrap_or("localhost"), operation, &body).await
    }

    /// What can be refused before a request's body is read.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn precheck<B>(&self, request: &Request<B>, now_ms: u64) -> Result<(), ApiError> {
        operation(request)?;
        self.keys.precheck(request, now_ms)
    }

    /// A refusal in this face's form.
    pub(crate) fn refused(&self, error: &ApiError, headers: &HeaderMap, id: &str) -> Response<Full<Bytes>> {
        answer::refuse(error, id, answer::Shape::of(headers))
    }

    /// Answers a request to STS: who the caller is, in the account of the ARNs.
    pub(crate) fn identify(
        &self,
        request: &Request<Bytes>,
        now_ms: u64,
        ids: &RequestIds,
    ) -> Response<Full<Bytes>> {
        sts::handle(&self.keys, &self.account, request, now_ms, &ids.next())
    }

    /// The answer to a request that comes before the node serves.
    pub(crate) fn not_started(&self, why: &str, ids: &RequestIds) -> Response<Full<Bytes>> {
        answer::refuse(
            &ApiError::new(ErrorCode::ServiceUnavailable, why),
            &ids.next(),
            answer::Shape::default(),
        )
    }

    /// The answer to a request of a page or under a name that may not use this node.
    pub(crate) fn not_admitted(&self, why: &str, ids: &RequestIds) -> Response<Full<Bytes>> {
        answer::refuse(&ApiError::new(ErrorCode::AccessDenied, why), &ids.next(), answer::Shape::default())
    }

    /// The answer to a request whose body could not be read.
    pub(crate) fn body_refused(&self, problem: BodyProblem, ids: &RequestIds) -> Response<Full<Bytes>> {
        let error = body_error(problem);
        let mut response = answer::refuse(&error, &ids.next(), answer::Shape::default());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn body_error(problem: BodyProblem) -> ApiError {
    match problem {
        BodyProblem::TooLarge => {
            ApiError::new(ErrorCode::RequestTooLarge, "Request body is larger than the service accepts")
        }
        BodyProblem::Incomplete => {
            ApiError::new(ErrorCode::Serialization, "The request body did not arrive in full")
        }
        BodyProblem::Encoding => ApiError::new(
            ErrorCode::Serialization,
            "The request body is not packed as its Content-Encoding says, which may be gzip or deflate",
        ),
        BodyProblem::Busy => {
            ApiError::new(ErrorCode::ServiceUnavailable, "Too many large requests at once; try again")
        }
    }
}

/// The operation that the request's target names.
fn operation<B>(request: &Request<B>) -> Result<&str, ApiError> {
    let target = request.headers().get("x-amz-target").and_then(|v| v.to_str().ok());
    match (target, target.and_then(|t| t.strip_prefix(TARGET_PREFIX))) {
        (_, Some(operation)) if !operation.is_empty() => Ok(operation),
        (Some(target), _) => Err(not_served(&format!(
            "Torc serves no API with the target {}, only DynamoDB, with {TARGET_PREFIX}OPERATION",
            shortened(target)
        ))),
        (None, _) => Err(not_served("The request names no operation: it has no X-Amz-Target header")),
    }
}

/// The refusal of an operation. DynamoDB sends no text with it, which SDKs print as "UnknownError"; no AWS document says that there is none.
fn not_served(why: &str) -> ApiError {
    ApiError::new(ErrorCode::UnknownOperation, format!("{why}."))
}

/// The refusal of an operation by name.
fn no_such_operation(name: &str) -> ApiError {
    let name = shortened(name);
    if OPERATIONS.iter().any(|operation| operation.name == name) {
        not_served(&format!("Torc does not serve the operation {name} of DynamoDB"))
    } else {
        not_served(&format!("DynamoDB has no operation {name} in its API of 2012-08-10"))
    }
}

/// A name as a message repeats it.
fn shortened(name: &str) -> String {
    name.chars().take(MAX_REPEATED).collect()
}

/// The answer to a request whose headers are too long.
pub(crate) fn headers_refused() -> Response<Full<Bytes>> {
    let text = "The headers of the request are longer than 16 KB.";
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// `GET /`: what load balancers ask. The space at the end is DynamoDB's.
pub(crate) fn health(dynamodb: &DynamoDb, ids: &RequestIds) -> Response<Full<Bytes>> {
    let body = format!("healthy: dynamodb.{}.amazonaws.com ", dynamodb.region);
    let mut response =
        answer::respond(StatusCode::OK, body.into_bytes(), &ids.next(), answer::Shape::default());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// `PUT`, `DELETE` and the like: there is nothing that they name.
pub(crate) fn no_such_method(ids: &RequestIds) -> Response<Full<Bytes>> {
    let mut response = answer::refuse(
        &not_served("DynamoDB's operations are called with POST"),
        &ids.next(),
        answer::Shape::default(),
    );
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// `OPTIONS /`: browsers ask before they post. Whether the origin gets a grant is decided for all requests alike. The headers asked about are named in return: `*` would not cover `Authorization`.
pub(crate) fn preflight(asked: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("DELETE, GET, OPTIONS, POST, PUT"),
    );
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        wanted.unwrap_or_else(|| HeaderValue::from_static("*")),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("172800"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No AWS document settles the text. DynamoDB Local says "An unknown operation was requested." of all of them.
    #[test]
    fn operations_that_are_not_served_are_refused_in_a_sentence() {
        let target = |target: &str| {
            let request = Request::builder().header("x-amz-target", target).body(Bytes::new()).unwrap();
            operation(&request).map(str::to_string).map_err(|error| error.message)
        };
        assert_eq!(target("DynamoDB_20120810.GetItem"), Ok("GetItem".into()));
        let streams = "Torc serves no API with the target DynamoDBStreams_20120810.ListStreams, only DynamoDB, with DynamoDB_20120810.OPERATION.";
        assert_eq!(target("DynamoDBStreams_20120810.ListStreams"), Err(streams.into()));
        let none = operation(&Request::new(Bytes::new())).map(str::to_string).unwrap_err();
        assert_eq!(none.code, ErrorCode::UnknownOperation);
        assert_eq!(none.message, "The request names no operation: it has no X-Amz-Target header.");
        let known = no_such_operation("TransactWriteItems").message;
        assert_eq!(known, "Torc does not serve the operation TransactWriteItems of DynamoDB.");
        assert!(no_such_operation(&"x".repeat(5000)).message.len() < 200);
    }
}
