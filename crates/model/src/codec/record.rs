//! A stored record: what a table keeps under an item's key.

use super::{CodecError, Input, decode_item, encode_item, put_varint};
use crate::Item;
use crate::size::item_size;

/// The format version that this build writes and reads.
pub const RECORD_VERSION: u8 = 1;

/// What is kept with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// When the item was last written: hybrid logical clock, milliseconds in the upper 48 bits.
    pub timestamp: u64,
    /// The place of the write that left the item among all writes of its partition: it rises with every
    /// write, also across a deletion.
    pub version: u64,
    /// The item's size by DynamoDB's rules, so that a read is accounted without decoding.
    pub item_size: u64,
}

/// Appends a record: header, then attributes.
pub fn encode_record(timestamp: u64, version: u64, item: &Item, out: &mut Vec<u8>) {
    encode_header(timestamp, version, item_size(item) as u64, out);
    encode_item(item, out);
}

/// Appends a record's header: version byte, flags (none yet: 0), timestamp, item version, size. The
/// attributes follow.
pub fn encode_header(timestamp: u64, version: u64, item_size: u64, out: &mut Vec<u8>) {
    out.push(RECORD_VERSION);
    out.push(0);
    out.extend_from_slice(&timestamp.to_le_bytes());
    put_varint(version, out);
    put_varint(item_size, out);
}

/// Splits a record into its header and its attributes.
///
/// # Errors
/// When the header is cut short, or of another version. The attributes are not looked at.
pub fn decode_header(bytes: &[u8]) -> Result<(RecordHeader, &[u8]), CodecError> {
    let mut input = Input { bytes };
    let format = input.byte()?;
    if format != RECORD_VERSION {
        return Err(CodecError::UnknownVersion(format));
    }
    if input.byte()? != 0 {
        return Err(CodecError::Malformed("unknown record flags"));
    }
    let timestamp = input.take(8)?.try_into().map_err(|_| CodecError::Truncated)?;
    let header = RecordHeader {
        timestamp: u64::from_le_bytes(timestamp),
        version: input.varint()?,
        item_size: input.varint()?,
    };
    Ok((header, input.bytes))
}

/// Reads a record whole.
///
/// # Errors
/// As [`decode_header`] and [`decode_item`].
pub fn decode_record(bytes: &[u8]) -> Result<(RecordHeader, Item), CodecError> {
    let (header, attributes) = decode_header(bytes)?;
    Ok((header, decode_item(attributes)?))
}
