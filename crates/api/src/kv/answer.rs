//! Answers of the bucket HTTP interface.

use super::params::encode_opaque;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use torc_coordinator::bucket::{BucketError, ErrorKind, GetAnswer, Sibling, WriteAnswer};

const OCTETS: &str = "application/octet-stream";

/// JSON with a status.
pub fn json_body(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    // Rendered with a line end, for people with a terminal.
    let mut text = value.to_string();
    text.push('\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    set(response.headers_mut(), "content-type", "application/json");
    response
}

/// An empty answer.
pub fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A failure: `{"code", "message", "hint"}`.
pub fn error(error: &BucketError) -> Response<Full<Bytes>> {
    let status = match error.kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::NoSuchBucket => StatusCode::NOT_FOUND,
        ErrorKind::BucketExists | ErrorKind::TooManySiblings => StatusCode::CONFLICT,
        ErrorKind::Unavailable | ErrorKind::NotEnoughAnswers | ErrorKind::DiskFull => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Storage | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = failure(status, error.kind.as_str(), &error.message, &error.hint);
    if error.kind.retryable() {
        set(response.headers_mut(), "retry-after", "1");
    }
    response
}

/// A failure in so many words.
pub fn failure(status: StatusCode, code: &str, message: &str, hint: &str) -> Response<Full<Bytes>> {
    json_body(status, &json!({ "code": code, "message": message, "hint": hint }))
}

/// The end of a put or delete.
pub fn written(answer: &WriteAnswer) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::NO_CONTENT);
    context(response.headers_mut(), &answer.context);
    answered(response.headers_mut(), answer.acked, answer.replicas);
    response
}

/// The end of a get: the value, the siblings, or nothing.
pub fn read(bucket: &str, answer: GetAnswer, accept: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = match answer.siblings.as_slice() {
        [] => failure(
            StatusCode::NOT_FOUND,
            "NoSuchKey",
            &format!("bucket {bucket:?} has no value under this key"),
            if answer.context.is_empty() {
                "PUT one"
            } else {
                "it was deleted or has expired; PUT with the context of this answer to write after that"
            },
        ),
        [one] => single(one),
        several if wants_json(accept) => siblings_json(&answer.context, several),
        several => multipart(several),
    };
    let headers = response.headers_mut();
    context(headers, &answer.context);
    answered(headers, answer.answered, answer.replicas);
    set(headers, "x-torc-siblings", &answer.siblings.len().to_string());
    set(headers, "vary", "accept");
    response
}

fn single(sibling: &Sibling) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(sibling.value.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(sibling));
    set(headers, "x-torc-timestamp-ms", &sibling.written_ms.to_string());
    if sibling.expires_ms != 0 {
        set(headers, "x-torc-expires-ms", &sibling.expires_ms.to_string());
    }
    response
}

fn siblings_json(context: &[u8], siblings: &[Sibling]) -> Response<Full<Bytes>> {
    let list: Vec<Value> = siblings
        .iter()
        .map(|sibling| {
            let mut entry = json!({
                "value_base64": STANDARD.encode(&sibling.value),
                "content_type": content_type(sibling).to_str().unwrap_or(OCTETS),
                "timestamp_ms": sibling.written_ms,
            });
            if sibling.expires_ms != 0 {
                entry["expires_ms"] = json!(sibling.expires_ms);
            }
            entry
        })
        .collect();
    json_body(StatusCode::MULTIPLE_CHOICES, &json!({ "context": encode_opaque(context), "siblings": list }))
}

/// One part for each sibling (RFC 2046).
fn multipart(siblings: &[Sibling]) -> Response<Full<Bytes>> {
    let boundary = boundary(siblings);
    let mut body = Vec::new();
    for sibling in siblings {
        body.extend_from_slice(format!("--{boundary}\r\ncontent-type: ").as_bytes());
        body.extend_from_slice(content_type(sibling).as_bytes());
        body.extend_from_slice(format!("\r\nx-torc-timestamp-ms: {}\r\n", sibling.written_ms).as_bytes());
        if sibling.expires_ms != 0 {
            body.extend_from_slice(format!("x-torc-expires-ms: {}\r\n", sibling.expires_ms).as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(&sibling.value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::MULTIPLE_CHOICES;
    set(response.headers_mut(), "content-type", &format!("multipart/mixed; boundary={boundary}"));
    response
}

/// A boundary that no value contains: the same values always get the same one.
fn boundary(siblings: &[Sibling]) -> String {
    let mut hasher = crc32fast::Hasher::new();
    siblings.iter().for_each(|sibling| hasher.update(&sibling.value));
    let mut number = hasher.finalize();
    loop {
        let boundary = format!("torc-sibling-{number:08x}");
        let taken = |value: &[u8]| value.windows(boundary.len()).any(|window| window == boundary.as_bytes());
        if !siblings.iter().any(|sibling| taken(&sibling.value)) {
            return boundary;
        }
        number = number.wrapping_add(1);
    }
}

/// Whether the caller asked for JSON and not for anything, as `curl` does.
fn wants_json(accept: Option<&HeaderValue>) -> bool {
    let Some(accept) = accept.and_then(|accept| accept.to_str().ok()) else { return false };
    accept.split(',').any(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}

fn content_type(sibling: &Sibling) -> HeaderValue {
    Some(sibling.content_type.as_str())
        .filter(|text| !text.is_empty())
        .and_then(|text| HeaderValue::from_str(text).ok())
        .unwrap_or(HeaderValue::from_static(OCTETS))
}

fn context(headers: &mut HeaderMap, context: &[u8]) {
    if !context.is_empty() {
        set(headers, "x-torc-context", &encode_opaque(context));
    }
}

fn answered(headers: &mut HeaderMap, answered: u32, replicas: u32) {
    set(headers, "x-torc-replicas", &format!("{answered}/{replicas}"));
}

pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
