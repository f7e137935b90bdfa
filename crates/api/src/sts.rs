//! `sts:GetCallerIdentity`, so that clients whose `AWS_ENDPOINT_URL` is set for every service can ask for
//! their identity.
//!
//! STS uses AWS's query protocol: a form as request, XML as answer. The server calls this module for forms
//! that name no DynamoDB target. The caller is the access key that signed the request, shown as a user of
//! that name. On a node without access keys it is the account's root user. This module must never return
//! credentials: every other action is refused.

use crate::auth::{AccessKeys, parameters};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use torc_model::{ApiError, ErrorCode};

const SERVICE: &str = "sts";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Characters of an unknown action that a message repeats.
const MAX_REPEATED: usize = 128;

/// Whether a request uses the query protocol.
pub(crate) fn is_query(headers: &HeaderMap) -> bool {
    let form = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded")
    });
    form && !headers.contains_key("x-amz-target")
}

/// Answers a request of the query protocol.
pub(crate) fn handle(
    keys: &AccessKeys,
    account: &str,
    request: &Request<Bytes>,
    now_ms: u64,
    request_id: &str,
) -> Response<Full<Bytes>> {
    match run(keys, account, request, now_ms) {
        Ok(result) => respond(
            StatusCode::OK,
            format!(
                "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult>{result}</GetCallerIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
            ),
            request_id,
        ),
        Err((status, code, message)) => respond(
            status,
            format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
                escaped(&message)
            ),
            request_id,
        ),
    }
}

type Refusal = (StatusCode, &'static str, String);

fn run(keys: &AccessKeys, account: &str, request: &Request<Bytes>, now_ms: u64) -> Result<String, Refusal> {
    let form = parameters(&String::from_utf8_lossy(request.body()));
    let action = form.iter().find(|(name, _)| name == "Action").map(|(_, value)| value.as_str());
    let signer = keys.signer(request, now_ms, SERVICE).map_err(|error| refusal(&error))?;
    match action {
        Some("GetCallerIdentity") => {}
        Some(other) => {
            let other: String = other.chars().take(MAX_REPEATED).collect();
            let message = format!("Torc does not serve the action {other} of STS, only GetCallerIdentity.");
            return Err((StatusCode::BAD_REQUEST, "InvalidAction", message));
        }
        None => {
            let message = "The request names no action: its form has no Action.".to_string();
            return Err((StatusCode::BAD_REQUEST, "MissingAction", message));
        }
    }
    // The ARN and the id of a root user contain the account id: IAM user guide, IAM identifiers.
    let (arn, id) = match signer {
        Some(key) => (format!("arn:aws:iam::{account}:user/{key}"), key),
        None => (format!("arn:aws:iam::{account}:root"), account),
    };
    Ok(format!("<Arn>{}</Arn><UserId>{}</UserId><Account>{account}</Account>", escaped(&arn), escaped(id)))
}

/// A failed signature, by the codes of AWS's common errors for the query protocol (STS API reference, Common
/// Error Types).
fn refusal(error: &ApiError) -> Refusal {
    let (status, code) = match error.code {
        ErrorCode::MissingAuthenticationToken => (StatusCode::FORBIDDEN, "MissingAuthenticationToken"),
        ErrorCode::UnrecognizedClient => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
        ErrorCode::InvalidSignature => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        _ => (StatusCode::BAD_REQUEST, "IncompleteSignature"),
    };
    (status, code, error.message.clone())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn respond(status: StatusCode, body: String, request_id: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn check(keys: &str, form: &'static str, status: u16, parts: &[&str]) {
        let request = Request::builder()
            .method("POST")
            .uri("/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(Bytes::from_static(form.as_bytes()))
            .unwrap();
        assert!(is_query(request.headers()));
        let keys = AccessKeys::parse(keys).unwrap();
        let response = handle(&keys, "000000000000", &request, 0, "ID1");
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/xml");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        for part in parts {
            assert!(body.contains(part), "{part} in {body}");
        }
    }

    /// STS API reference, GetCallerIdentity, Examples; Common Error Types.
    #[tokio::test]
    async fn who_am_i() {
        let ask = "Action=GetCallerIdentity&Version=2011-06-15";
        let found = [
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>",
            "<Arn>arn:aws:iam::000000000000:root</Arn><UserId>000000000000</UserId><Account>000000000000</Account>",
            "<ResponseMetadata><RequestId>ID1</RequestId></ResponseMetadata>",
        ];
        check("", ask, 200, &found).await;
        check("", "Version=2011-06-15", 400, &["<Code>MissingAction</Code>"]).await;
        let refused = ["<Code>InvalidAction</Code>", "Torc does not serve the action Assume&lt;Role of STS"];
        check("", "Action=Assume%3CRole", 400, &refused).await;
        check("A:b", ask, 403, &["<Type>Sender</Type><Code>MissingAuthenticationToken</Code>"]).await;
    }
}
