//! The access key itself in the request, for clients that cannot sign: `curl --user`, a browser, gRPC. It is
//! only as safe as the connection.

use super::{AccessKeys, keyed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::Mac;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use torc_model::{ApiError, ErrorCode};

/// Secrets are compared as digests under this key, so that neither their length nor their first different
/// byte shows in the time taken.
const COMPARISON_KEY: &[u8] = b"torc access key comparison";
const SCHEME: &str = "Basic ";

impl AccessKeys {
    /// Checks a request of any protocol but DynamoDB's: a signature as there, or the key itself
    /// (`Authorization: Basic`).
    ///
    /// # Errors
    /// As [`AccessKeys::verify`].
    pub fn verify_any(&self, request: &Request<Bytes>, now_ms: u64) -> Result<(), ApiError> {
        if self.is_empty() || is_basic(request.headers()) {
            return self.verify_basic(request.headers());
        }
        self.verify(request, now_ms)
    }

    /// Checks for the key itself in the `Authorization` header.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException`, `IncompleteSignatureException` or
    /// `UnrecognizedClientException`.
    pub fn verify_basic(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(ApiError::new(
                ErrorCode::MissingAuthenticationToken,
                "the request has no Authorization header",
            ));
        };
        let pair = value
            .to_str()
            .ok()
            .and_then(|value| value.get(SCHEME.len()..).filter(|_| is_basic(headers)))
            .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
            .and_then(|pair| String::from_utf8(pair).ok());
        let Some((id, given)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
            return Err(super::incomplete(
                "Authorization is neither a signature nor Basic with ID:SECRET in base64",
            ));
        };
        // An unknown id costs the same work as a known one.
        let secret = self.secrets.get(id);
        let known = keyed(COMPARISON_KEY, secret.map_or("", String::as_str).as_bytes());
        let matches =
            known.verify_slice(&keyed(COMPARISON_KEY, given.as_bytes()).finalize().into_bytes()).is_ok();
        match (secret, matches) {
            (Some(_), true) => Ok(()),
            _ => {
                Err(ApiError::new(ErrorCode::UnrecognizedClient, "the access key is not one of this node's"))
            }
        }
    }
}

fn is_basic(headers: &HeaderMap) -> bool {
    let scheme = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().get(..SCHEME.len()));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()))
}

/// The answer to a request that is not admitted, for faces other than DynamoDB's.
pub fn refusal(error: &ApiError) -> Response<Full<Bytes>> {
    let body = json!({
        "code": "Unauthenticated",
        "message": error.message,
        "hint": "send one of the node's access keys: curl --user ID:SECRET, or a version 4 signature for the service dynamodb",
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"torc\""));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(authorization: Option<&str>, expected: Result<(), ErrorCode>) {
        let keys = AccessKeys::parse("id:se:cret,other:word").unwrap();
        let mut request = Request::builder().uri("/kv/bucket/key");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(Bytes::new()).unwrap();
        for result in [keys.verify_basic(request.headers()), keys.verify_any(&request, 0)] {
            assert_eq!(result.map_err(|error| error.code), expected, "{authorization:?}");
        }
        assert!(AccessKeys::default().verify_any(&request, 0).is_ok());
    }

    #[test]
    fn the_key_itself_admits() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        check(Some(&basic("id:se:cret")), Ok(()));
        check(Some(&basic("other:word").replace("Basic", "bASIC")), Ok(()));
        for wrong in ["id:word", "id:", "nobody:word", "nobody:", ":", "id:se:cret "] {
            check(Some(&basic(wrong)), Err(ErrorCode::UnrecognizedClient));
        }
        check(None, Err(ErrorCode::MissingAuthenticationToken));
        for wrong in ["Basic", "Basic %", "Basic aWQ=", "Bearer x", ""] {
            check(Some(wrong), Err(ErrorCode::IncompleteSignature));
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let response = refusal(&ApiError::new(ErrorCode::UnrecognizedClient, "no"));
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers().contains_key("www-authenticate"));
    }
}
