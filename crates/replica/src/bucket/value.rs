//! The value that one write stored.

use super::codec::{DecodeError, Reader, put_bytes, put_varint};
use super::hlc::Hlc;
use bytes::{BufMut, Bytes};

/// The bytes of one write and what was said about them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    /// When its coordinator accepted it.
    pub written: Hlc,
    /// The bytes.
    pub body: Bytes,
    /// The writer's content type, empty if none was given.
    pub content_type: String,
    /// When it expires, milliseconds since the Unix epoch; 0 is never.
    pub expires_ms: u64,
    /// The operation that wrote it, so that a retry is recognised; 0 is unknown.
    pub operation: u64,
}

const HAS_CONTENT_TYPE: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_OPERATION: u8 = 4;

impl Value {
    /// Whether it is no longer shown at this time.
    pub fn expired(&self, wall_ms: u64) -> bool {
        self.expires_ms != 0 && self.expires_ms <= wall_ms
    }

    /// Bytes that it takes in a record, at most.
    pub fn record_bytes(&self) -> usize {
        self.body.len() + self.content_type.len() + 48
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(!self.content_type.is_empty(), HAS_CONTENT_TYPE)
                | flag(self.expires_ms != 0, HAS_EXPIRY)
                | flag(self.operation != 0, HAS_OPERATION),
        );
        put_varint(out, self.written.0);
        if !self.content_type.is_empty() {
            put_bytes(out, self.content_type.as_bytes());
        }
        if self.expires_ms != 0 {
            put_varint(out, self.expires_ms);
        }
        if self.operation != 0 {
            out.put_u64_le(self.operation);
        }
        put_bytes(out, &self.body);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.byte()?;
        if flags & !(HAS_CONTENT_TYPE | HAS_EXPIRY | HAS_OPERATION) != 0 {
            return Err(DecodeError::Malformed("unknown value flag"));
        }
        let mut value = Value { written: Hlc(reader.varint()?), ..Value::default() };
        if flags & HAS_CONTENT_TYPE != 0 {
            let text = reader.bytes()?;
            value.content_type = std::str::from_utf8(&text)
                .map_err(|_| DecodeError::Malformed("content type is not UTF-8"))?
                .to_owned();
        }
        if flags & HAS_EXPIRY != 0 {
            value.expires_ms = reader.varint()?;
        }
        if flags & HAS_OPERATION != 0 {
            value.operation = reader.fixed_u64()?;
        }
        value.body = reader.bytes()?;
        let absent_but_flagged = (flags & HAS_CONTENT_TYPE != 0 && value.content_type.is_empty())
            || (flags & HAS_EXPIRY != 0 && value.expires_ms == 0)
            || (flags & HAS_OPERATION != 0 && value.operation == 0);
        if absent_but_flagged {
            Err(DecodeError::Malformed("value flag without its field"))
        } else {
            Ok(value)
        }
    }
}
