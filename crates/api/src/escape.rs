//! Percent-encoding (RFC 3986, section 2.1) as all protocols of the edge use it.
//!
//! Writing escapes every byte but the unreserved characters, which is also what SigV4 asks for. Reading is
//! left to the callers, because they differ in what they do with a `%` that is not followed by two
//! hexadecimal digits.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

/// Everything but letters, digits, `-`, `.`, `_` and `~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As [`RESERVED`], but keeps `/`.
const RESERVED_IN_PATHS: &AsciiSet = &RESERVED.remove(b'/');

/// Escapes one segment of a path, or one name or value of a query.
pub fn segment(bytes: &[u8]) -> PercentEncode<'_> {
    percent_encode(bytes, RESERVED)
}

/// Escapes a whole path: as [`segment`], with the slashes kept.
pub fn path(bytes: &[u8]) -> PercentEncode<'_> {
    percent_encode(bytes, RESERVED_IN_PATHS)
}
