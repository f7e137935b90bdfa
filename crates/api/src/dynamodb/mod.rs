//! The DynamoDB protocol: one `POST /` route, the operation named by `X-Amz-Target`, JSON 1.0 bodies.

mod answer;
mod errors;
pub mod ops;

use crate::request_id::RequestIds;
use crate::server::BodyProblem;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use torc_coordinator::node::Node;
use torc_model::{ApiError, ErrorCode};

pub use errors::from_route;

/// The only version of the API there is.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The Tables face of one node.
#[derive(Clone, Debug)]
pub struct DynamoDb {
    /// Region name in ARNs.
    pub region: String,
    /// Account number in ARNs, 12 digits.
    pub account: String,
}

impl Default for DynamoDb {
    fn default() -> Self {
        Self { region: "us-east-1".into(), account: "000000000000".into() }
    }
}

impl DynamoDb {
    /// The ARN of a table.
    pub fn table_arn(&self, name: &str) -> String {
        format!("arn:aws:dynamodb:{}:{}:table/{name}", self.region, self.account)
    }

    /// Serves one request.
    pub async fn handle(
        &self,
        node: &Node,
        ids: &RequestIds,
        request: Request<Bytes>,
    ) -> Response<Full<Bytes>> {
        let id = ids.next();
        let result = match operation(&request) {
            Ok(operation) => ops::dispatch(self, node, operation, request.body()).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(body) => answer::respond(StatusCode::OK, body, &id),
            Err(error) => {
                if error.code == ErrorCode::InternalServerError {
                    tracing::warn!(request = %id, error = %error.message, "request failed");
                }
                answer::refuse(&error, &id)
            }
        }
    }

    /// The answer to a request whose body could not be read.
    pub(crate) fn body_refused(&self, problem: BodyProblem, ids: &RequestIds) -> Response<Full<Bytes>> {
        let error = match problem {
            BodyProblem::TooLarge => {
                ApiError::new(ErrorCode::RequestTooLarge, "Request body is larger than the service accepts")
            }
            BodyProblem::Incomplete => {
                ApiError::new(ErrorCode::Serialization, "The request body did not arrive in full")
            }
        };
        let mut response = answer::refuse(&error, &ids.next());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// The operation that the request's target names.
fn operation(request: &Request<Bytes>) -> Result<&str, ApiError> {
    let target = request.headers().get("x-amz-target").and_then(|v| v.to_str().ok());
    match target.and_then(|t| t.strip_prefix(TARGET_PREFIX)) {
        Some(operation) if !operation.is_empty() => Ok(operation),
        _ => Err(ApiError::new(ErrorCode::UnknownOperation, "")),
    }
}

/// `GET /`: what load balancers ask.
pub(crate) fn health(ids: &RequestIds) -> Response<Full<Bytes>> {
    let body = "healthy: dynamodb.us-east-1.amazonaws.com ";
    let mut response = answer::respond(StatusCode::OK, body.as_bytes().to_vec(), &ids.next());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// `OPTIONS /`: browsers ask before they post.
pub(crate) fn preflight() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("172800"));
    response
}
