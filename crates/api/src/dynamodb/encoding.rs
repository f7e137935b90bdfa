//! Compressed bodies: requests that declare gzip or deflate, and answers to clients that accept one of them.
//!
//! No AWS document says which encodings DynamoDB accepts. RFC 9110, section 8.4.1, defines their names; RFC
//! 1952, section 2.2, says that gzip may have several members.

use crate::server::BodyProblem;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};
use std::io::{Read, Write as _};
use torc_model::limits::MAX_BODY_BYTES;

/// Shorter answers are sent as they are: compressing them would cost more than it saves.
const MIN_BYTES: usize = 4096;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: deflate in a zlib wrapper.
    Deflate,
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        name.eq_ignore_ascii_case("deflate").then_some(Self::Deflate)
    }

    /// Its name in `Content-Encoding`.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }
}

/// The body of a request, decompressed if needed. Never more bytes than the largest permitted body are
/// decompressed.
pub(super) fn unpack(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, BodyProblem> {
    let name = headers.get(header::CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
    let name = name.map_err(|_| BodyProblem::Encoding)?.trim();
    if name.is_empty() || name.eq_ignore_ascii_case("identity") {
        return Ok(body.clone());
    }
    match Encoding::named(name) {
        Some(Encoding::Gzip) => read(MultiGzDecoder::new(&body[..])),
        Some(Encoding::Deflate) if has_zlib_header(body) => read(ZlibDecoder::new(&body[..])),
        // "Some non-conformant implementations send the deflate compressed data without the zlib wrapper":
        // RFC 9110, section 8.4.1.2.
        Some(Encoding::Deflate) => read(DeflateDecoder::new(&body[..])),
        None => Err(BodyProblem::Encoding),
    }
}

fn read(packed: impl Read) -> Result<Bytes, BodyProblem> {
    let mut out = Vec::new();
    let mut limited = packed.take(MAX_BODY_BYTES as u64 + 1);
    limited.read_to_end(&mut out).map_err(|_| BodyProblem::Encoding)?;
    if out.len() > MAX_BODY_BYTES { Err(BodyProblem::TooLarge) } else { Ok(out.into()) }
}

/// RFC 1950, section 2.2: method 8, and the first two bytes together are a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 15 == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

/// The compressed body, if the client accepts that and it saves enough.
pub(super) fn pack(encoding: Option<Encoding>, body: &[u8]) -> Option<(Encoding, Vec<u8>)> {
    let encoding = encoding.filter(|_| body.len() >= MIN_BYTES)?;
    let out = Vec::with_capacity(body.len() / 4);
    // Writing to memory does not fail; if it did, the plain body would be sent.
    let packed = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(out, Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?
        }
    };
    Some((encoding, packed))
}

/// The encoding that the client accepts; gzip if it accepts both.
pub(super) fn accepted(headers: &HeaderMap) -> Option<Encoding> {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut deflate = false;
    for one in lists.flat_map(|list| list.split(',')) {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().and_then(Encoding::named);
        let refused = parts.any(|parameter| {
            parameter.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
        });
        match named.filter(|_| !refused) {
            Some(Encoding::Gzip) => return Some(Encoding::Gzip),
            Some(Encoding::Deflate) => deflate = true,
            None => {}
        }
    }
    deflate.then_some(Encoding::Deflate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::DeflateEncoder;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn packed(encoding: Encoding, body: &[u8]) -> Bytes {
        pack(Some(encoding), body).unwrap().1.into()
    }

    /// RFC 9110, sections 8.4.1.2 and 8.4.1.3; RFC 1952, section 2.2, of several members. No AWS document
    /// settles these.
    #[test]
    fn bodies_round_trip() {
        let body = vec![b'x'; 100_000];
        let gzip = headers(header::CONTENT_ENCODING, "GZip");
        let deflate = headers(header::CONTENT_ENCODING, "deflate");
        for (encoding, headers) in [(Encoding::Gzip, &gzip), (Encoding::Deflate, &deflate)] {
            let packed = packed(encoding, &body);
            assert!(packed.len() < 1000);
            assert_eq!(unpack(headers, &packed).unwrap(), body);
            assert_eq!(unpack(&HeaderMap::new(), &packed).unwrap(), packed);
            assert_eq!(unpack(headers, &packed.slice(..packed.len() / 2)), Err(BodyProblem::Encoding));
            assert_eq!(unpack(headers, &Bytes::from_static(b"{}")), Err(BodyProblem::Encoding));
        }
        let members = [packed(Encoding::Gzip, &body), packed(Encoding::Gzip, &[b'y'; 5000])].concat();
        assert_eq!(unpack(&gzip, &members.into()).unwrap().len(), 105_000);
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(&body).unwrap();
        assert_eq!(unpack(&deflate, &bare.finish().unwrap().into()).unwrap(), body);
        let other = headers(header::CONTENT_ENCODING, "br");
        assert_eq!(unpack(&other, &Bytes::from_static(b"{}")), Err(BodyProblem::Encoding));
    }

    /// No AWS document says from which size on DynamoDB compresses its answers.
    #[test]
    fn short_answers_are_not_packed() {
        assert!(pack(None, &[b'x'; 100_000]).is_none());
        assert!(pack(Some(Encoding::Gzip), &[b'x'; 4095]).is_none());
        assert!(pack(Some(Encoding::Gzip), &[b'x'; 4096]).is_some());
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
            ("gzip", Some(Encoding::Gzip)),
            ("deflate, GZIP;q=0.5", Some(Encoding::Gzip)),
            ("deflate", Some(Encoding::Deflate)),
            ("gzip;q=0, deflate", Some(Encoding::Deflate)),
            ("gzip;q=0", None),
            ("identity", None),
            ("br, xgzip", None),
        ] {
            assert_eq!(accepted(&headers(header::ACCEPT_ENCODING, value)), expected, "{value}");
        }
    }
}
