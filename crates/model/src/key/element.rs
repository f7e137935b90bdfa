//! One key attribute: a type byte and a self-delimiting, order-preserving form of the value.
//!
//! Strings and binaries are their bytes (UTF-8 order is code-point order, binaries are unsigned) with `00`
//! escaped as `00 FF` and `00 01` at the end, so that a shorter one sorts before its extensions. Numbers: see
//! [`crate::Number::encode_ordered`].

use crate::{AttributeValue, Number};
use bytes::Bytes;

/// Type byte of a number.
const NUMBER: u8 = 1;
/// Type byte of a string.
const STRING: u8 = 2;
/// Type byte of a binary.
const BINARY: u8 = 3;
/// What a zero byte of the value becomes, after itself.
const ESCAPE: u8 = 0xff;
/// Ends a string or binary, after a zero byte. Below [`ESCAPE`], and above nothing else that may follow a
/// zero byte.
const END: u8 = 0x01;

/// A value that cannot be part of a key, or bytes that are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Only strings, numbers and binaries can be keys; carries the type's name.
    #[error("a value of type {0} cannot be part of a key")]
    NotAKeyType(&'static str),
    /// The bytes are not an encoded key.
    #[error("malformed key")]
    Malformed,
}

/// Appends the encoding of one key attribute.
///
/// # Errors
/// When the value is neither S, N nor B; nothing was appended.
pub fn encode_element(value: &AttributeValue, out: &mut Vec<u8>) -> Result<(), KeyError> {
    match value {
        AttributeValue::N(number) => {
            out.push(NUMBER);
            number.encode_ordered(out);
        }
        AttributeValue::S(text) => encode_bytes(STRING, text.as_bytes(), out),
        AttributeValue::B(bytes) => encode_bytes(BINARY, bytes, out),
        other => return Err(KeyError::NotAKeyType(other.type_name())),
    }
    Ok(())
}

/// The encodings of several key attributes, one after the other: a composite key.
///
/// # Errors
/// As [`encode_element`].
pub fn encode_elements<'a>(
    values: impl IntoIterator<Item = &'a AttributeValue>,
) -> Result<Vec<u8>, KeyError> {
    let mut out = Vec::with_capacity(32);
    for value in values {
        encode_element(value, &mut out)?;
    }
    Ok(out)
}

fn encode_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    encode_open(tag, bytes, out);
    out.extend_from_slice(&[0, END]);
}

/// The encoding without its end: what all values that begin with `bytes` have in common.
fn encode_open(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 3);
    out.push(tag);
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        let (clean, tail) = rest.split_at(at + 1);
        out.extend_from_slice(clean);
        out.push(ESCAPE);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Appends what every value that begins with `prefix` starts with.
///
/// # Errors
/// When the prefix is neither S nor B; nothing was appended.
pub(super) fn encode_prefix(prefix: &AttributeValue, out: &mut Vec<u8>) -> Result<(), KeyError> {
    match prefix {
        AttributeValue::S(text) => encode_open(STRING, text.as_bytes(), out),
        AttributeValue::B(bytes) => encode_open(BINARY, bytes, out),
        other => return Err(KeyError::NotAKeyType(other.type_name())),
    }
    Ok(())
}

/// The type byte that all encodings of the value's type start with.
///
/// # Errors
/// When the value is neither S, N nor B.
pub(super) fn type_byte(value: &AttributeValue) -> Result<u8, KeyError> {
    match value {
        AttributeValue::N(_) => Ok(NUMBER),
        AttributeValue::S(_) => Ok(STRING),
        AttributeValue::B(_) => Ok(BINARY),
        other => Err(KeyError::NotAKeyType(other.type_name())),
    }
}

/// The index just past the end mark of a string or binary that starts at `bytes[0]`, and whether it has
/// escapes.
fn find_end(bytes: &[u8]) -> Result<(usize, bool), KeyError> {
    let mut at = 0;
    let mut escapes = false;
    loop {
        let rest = bytes.get(at..).ok_or(KeyError::Malformed)?;
        let zero = rest.iter().position(|byte| *byte == 0).ok_or(KeyError::Malformed)?;
        at += zero + 2;
        match rest.get(zero + 1) {
            Some(&END) => return Ok((at, escapes)),
            Some(&ESCAPE) => escapes = true,
            _ => return Err(KeyError::Malformed),
        }
    }
}

/// The length of the first element of `bytes`, which is checked to be well-formed only as far as needed to
/// find its end.
///
/// # Errors
/// When no element starts there.
pub fn element_length(bytes: &[u8]) -> Result<usize, KeyError> {
    match bytes.split_first() {
        Some((&NUMBER, rest)) => {
            Number::decode_ordered(rest).map(|(_, read)| read + 1).ok_or(KeyError::Malformed)
        }
        Some((&(STRING | BINARY), rest)) => find_end(rest).map(|(end, _)| end + 1),
        _ => Err(KeyError::Malformed),
    }
}

/// Reads the first element of `bytes`; returns it and the bytes after it.
///
/// # Errors
/// When it is not an encoding that [`encode_element`] makes.
pub fn decode_element(bytes: &[u8]) -> Result<(AttributeValue, &[u8]), KeyError> {
    let (&tag, rest) = bytes.split_first().ok_or(KeyError::Malformed)?;
    if tag == NUMBER {
        let (number, read) = Number::decode_ordered(rest).ok_or(KeyError::Malformed)?;
        return Ok((AttributeValue::N(number), rest.get(read..).ok_or(KeyError::Malformed)?));
    }
    if tag != STRING && tag != BINARY {
        return Err(KeyError::Malformed);
    }
    let (end, escapes) = find_end(rest)?;
    let (encoded, rest) = rest.split_at_checked(end).ok_or(KeyError::Malformed)?;
    let encoded = encoded.get(..end - 2).ok_or(KeyError::Malformed)?;
    let plain = if escapes { unescape(encoded) } else { encoded.to_vec() };
    let value = if tag == STRING {
        AttributeValue::S(String::from_utf8(plain).map_err(|_| KeyError::Malformed)?)
    } else {
        AttributeValue::B(Bytes::from(plain))
    };
    Ok((value, rest))
}

/// Undoes the escapes of a body that [`find_end`] has checked.
fn unescape(encoded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(encoded.len());
    let mut escaped = false;
    for &byte in encoded {
        if !std::mem::take(&mut escaped) {
            plain.push(byte);
            escaped = byte == 0;
        }
    }
    plain
}
