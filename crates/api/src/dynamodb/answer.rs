//! Answers in DynamoDB's shape: JSON 1.0, request id, CRC-32 of the body.

use super::encoding::{self, Encoding};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use torc_model::ApiError;

const PLAIN_JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
/// What DynamoDB says of itself, as the header dumps of boto3 in many issues of boto/boto3 show.
const SERVER: HeaderValue = HeaderValue::from_static("Server");
/// How the client wants its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    encoding: Option<Encoding>,
    /// The client sent its body as `application/json`, so the answer has the same content type.
    plain_json: bool,
}

impl Shape {
    /// What the headers of a request say about it. The only content type in AWS's documents is
    /// "application/x-amz-json-1.0" (developer guide, DynamoDB low-level API). DynamoDB Local reads a body as
    /// JSON whatever its content type is, and so does Torc.
    pub fn of(headers: &HeaderMap) -> Self {
        let name = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let name = name.and_then(|value| value.split(';').next()).map(str::trim);
        Self {
            encoding: encoding::accepted(headers),
            plain_json: name.is_some_and(|name| name.eq_ignore_ascii_case("application/json")),
        }
    }

    /// Errors are not compressed.
    fn unpacked(self) -> Self {
        Self { encoding: None, ..self }
    }
}

/// An answer with this body, packed if the client takes that. The checksum is that of the bytes sent.
pub(super) fn respond(
    status: StatusCode,
    body: Vec<u8>,
    request_id: &str,
    shape: Shape,
) -> Response<Full<Bytes>> {
    let packed = encoding::pack(shape.encoding, &body);
    let (encoding, body) = packed.map_or((None, body), |(encoding, packed)| (Some(encoding), packed));
    let crc = crc32fast::hash(&body);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, SERVER);
    headers.insert(header::CONTENT_TYPE, if shape.plain_json { PLAIN_JSON } else { JSON });
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    headers.insert("x-amz-crc32", HeaderValue::from(crc));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, encoding.header());
    }
    response
}

/// An error.
pub(super) fn refuse(error: &ApiError, request_id: &str, shape: Shape) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, error.to_json(), request_id, shape.unpacked())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Server` as AWS sends it (header dumps in issues of boto/boto3); no AWS document settles the echo of the content type.
    #[test]
    fn headers_of_an_answer() {
        for (sent, answered) in [
            (None, "application/x-amz-json-1.0"),
            (Some("application/x-amz-json-1.0"), "application/x-amz-json-1.0"),
            (Some("application/x-www-form-urlencoded"), "application/x-amz-json-1.0"),
            (Some("Application/JSON; charset=utf-8"), "application/json"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sent));
            }
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("deflate"));
            let response = respond(StatusCode::OK, vec![b' '; 5000], "ID", Shape::of(&headers));
            assert_eq!(response.headers()[header::CONTENT_TYPE], answered);
            assert_eq!(response.headers()[header::SERVER], "Server");
            assert_eq!(response.headers()[header::CONTENT_ENCODING], "deflate");
        }
    }
}
