//! Bodies in gzip: requests that say so, and answers to clients that take it.

use crate::server::{BodyProblem, MAX_BODY_BYTES};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, header};
use std::io::{Read as _, Write as _};

/// Shorter answers are sent as they are: compressing them would cost more than it saves.
const MIN_BYTES: usize = 1024;

/// The body of a request, unpacked if it is packed. Never more than the largest body is unpacked.
pub(super) fn unpack(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, BodyProblem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    match encoding {
        None | Some(b"") => return Ok(body.clone()),
        Some(name) if name.eq_ignore_ascii_case(b"identity") => return Ok(body.clone()),
        Some(name) if name.eq_ignore_ascii_case(b"gzip") => {}
        Some(_) => return Err(BodyProblem::Encoding),
    }
    let mut out = Vec::new();
    let mut limited = GzDecoder::new(&body[..]).take(MAX_BODY_BYTES as u64 + 1);
    limited.read_to_end(&mut out).map_err(|_| BodyProblem::Encoding)?;
    if out.len() > MAX_BODY_BYTES { Err(BodyProblem::TooLarge) } else { Ok(out.into()) }
}

/// The body packed, if the client takes that and it is worth it.
pub(super) fn pack(accepts: bool, body: &[u8]) -> Option<Vec<u8>> {
    if !accepts || body.len() < MIN_BYTES {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing to memory does not fail; if it did, the plain body would be sent.
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether the client takes gzip.
pub(super) fn accepted(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|parameter| {
            parameter.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
        });
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn bodies_round_trip() {
        let body = vec![b'x'; 100_000];
        let packed = Bytes::from(pack(true, &body).unwrap());
        assert!(packed.len() < 1000);
        let gzip = headers(header::CONTENT_ENCODING, "GZip");
        assert_eq!(unpack(&gzip, &packed).unwrap(), body);
        assert_eq!(unpack(&HeaderMap::new(), &packed).unwrap(), packed);
        assert_eq!(unpack(&gzip, &packed.slice(..packed.len() / 2)), Err(BodyProblem::Encoding));
        assert_eq!(unpack(&gzip, &Bytes::from_static(b"{}")), Err(BodyProblem::Encoding));
        assert_eq!(unpack(&headers(header::CONTENT_ENCODING, "br"), &packed), Err(BodyProblem::Encoding));
        assert!(pack(false, &body).is_none() && pack(true, b"short").is_none());
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let block = vec![0u8; 1 << 20];
        for _ in 0..MAX_BODY_BYTES / block.len() + 2 {
            encoder.write_all(&block).unwrap();
        }
        let bomb = Bytes::from(encoder.finish().unwrap());
        assert!(bomb.len() < MAX_BODY_BYTES / 100);
        assert_eq!(unpack(&headers(header::CONTENT_ENCODING, "gzip"), &bomb), Err(BodyProblem::TooLarge));
    }

    #[test]
    fn what_clients_accept() {
        for (value, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("br, xgzip", false),
        ] {
            assert_eq!(accepted(&headers(header::ACCEPT_ENCODING, value)), expected, "{value}");
        }
    }
}
