//! The stored form of items: compact, versioned, drawn in `docs/formats/item.md`.
//!
//! Called by the replica (store, read, stream) and by the read path, which turns stored bytes into JSON
//! without building an item. Knows nothing of keys or tables. Decoders check every length against what is
//! left and never panic.
//!
//! A *record* is a header and the attributes; the *attributes* alone are what [`encode_item`] writes and
//! [`item_bytes_to_json`] reads.

mod decode;
mod encode;
mod record;
mod stream;

pub use decode::{decode_item, decode_value};
pub use encode::{encode_item, encode_value};
pub use record::{RECORD_VERSION, RecordHeader, decode_header, decode_record, encode_header, encode_record};
pub use stream::{find_attribute, item_bytes_to_json, value_bytes_to_json};

/// A value's type byte.
mod tag {
    pub const STRING: u8 = 1;
    pub const NUMBER: u8 = 2;
    pub const BINARY: u8 = 3;
    pub const FALSE: u8 = 4;
    pub const TRUE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const MAP: u8 = 7;
    pub const LIST: u8 = 8;
    pub const STRING_SET: u8 = 9;
    pub const NUMBER_SET: u8 = 10;
    pub const BINARY_SET: u8 = 11;
}

/// Containers that a stored value may be nested in. Above what a request may hold, so that a limit raised in
/// a later version does not make its items unreadable here; low enough for any stack.
const MAX_STORED_NESTING: usize = 100;

/// Stored bytes that are not an item. Nothing was changed; the bytes are corrupt or of a later version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end within a value.
    #[error("stored item ends early")]
    Truncated,
    /// A type byte that no version has written.
    #[error("stored item has unknown type byte {0}")]
    UnknownTag(u8),
    /// A string is not UTF-8.
    #[error("stored item has a string that is not UTF-8")]
    NotUtf8,
    /// A number is malformed.
    #[error("stored item has a malformed number")]
    BadNumber,
    /// Names out of order, a length over 2^32, or nesting too deep.
    #[error("stored item is malformed: {0}")]
    Malformed(&'static str),
    /// Bytes follow the item.
    #[error("stored item is followed by {0} stray bytes")]
    Trailing(usize),
    /// A record of a version that this build does not know.
    #[error("stored item has format version {0}; this build reads version {RECORD_VERSION}")]
    UnknownVersion(u8),
}

/// A cursor over stored bytes.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.bytes.split_first().ok_or(CodecError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        match self.byte()? {
            last @ 0..=1 => Ok(value | u64::from(last) << 63),
            _ => Err(CodecError::Malformed("varint over 64 bits")),
        }
    }

    fn blob(&mut self) -> Result<&'a [u8], CodecError> {
        // A length over the address space is over what is left, too.
        let length = usize::try_from(self.varint()?).map_err(|_| CodecError::Truncated)?;
        self.take(length)
    }

    /// A count of things that take at least one byte each, so that a hostile count reserves nothing.
    fn count(&mut self) -> Result<usize, CodecError> {
        let count = usize::try_from(self.varint()?).map_err(|_| CodecError::Truncated)?;
        if count > self.bytes.len() { Err(CodecError::Truncated) } else { Ok(count) }
    }

    fn number(&mut self) -> Result<crate::Number, CodecError> {
        let (number, read) = crate::Number::decode_compact(self.bytes).ok_or(CodecError::BadNumber)?;
        self.take(read)?;
        Ok(number)
    }

    /// Skips one value.
    fn skip_value(&mut self, nesting: usize) -> Result<(), CodecError> {
        let tag = self.byte()?;
        match tag {
            tag::STRING | tag::BINARY => {
                self.blob()?;
            }
            tag::NUMBER => {
                self.number()?;
            }
            tag::FALSE | tag::TRUE | tag::NULL => {}
            tag::MAP | tag::LIST => {
                if nesting >= MAX_STORED_NESTING {
                    return Err(CodecError::Malformed("nested too deep"));
                }
                for _ in 0..self.count()? {
                    if tag == tag::MAP {
                        self.blob()?;
                    }
                    self.skip_value(nesting + 1)?;
                }
            }
            tag::STRING_SET | tag::BINARY_SET => {
                for _ in 0..self.count()? {
                    self.blob()?;
                }
            }
            tag::NUMBER_SET => {
                for _ in 0..self.count()? {
                    self.number()?;
                }
            }
            unknown => return Err(CodecError::UnknownTag(unknown)),
        }
        Ok(())
    }

    fn end(&self) -> Result<(), CodecError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.bytes.len())) }
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_blob(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
