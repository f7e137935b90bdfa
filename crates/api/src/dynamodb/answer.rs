//! Answers in DynamoDB's shape: JSON 1.0, request id, CRC-32 of the body.

use super::gzip;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use torc_model::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
/// What scripts of other origins may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,x-amz-crc32,Date");

/// An answer with this body, packed if the client takes that. The checksum is that of the bytes sent.
pub(super) fn respond(
    status: StatusCode,
    body: Vec<u8>,
    request_id: &str,
    accepts_gzip: bool,
) -> Response<Full<Bytes>> {
    let packed = gzip::pack(accepts_gzip, &body);
    let is_packed = packed.is_some();
    let body = packed.unwrap_or(body);
    let crc = crc32fast::hash(&body);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    headers.insert("x-amz-crc32", HeaderValue::from(crc));
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}

/// An error.
pub(super) fn refuse(error: &ApiError, request_id: &str) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, error.to_json(), request_id, false)
}
