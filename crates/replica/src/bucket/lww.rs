//! Last writer wins: one value or tombstone, no vector.

use super::codec::{DecodeError, Reader, put_varint};
use super::value::Value;

/// The newest write. Order is by timestamp, then by the node that coordinated it, then by content, so that
/// two copies always agree on the winner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastWrite {
    /// The write; a tombstone has an empty body.
    pub value: Value,
    /// The coordinating node.
    pub node: u64,
    /// Whether it was a delete.
    pub tombstone: bool,
}

impl LastWrite {
    fn rank(&self) -> (super::Hlc, u64, bool, &Value) {
        (self.value.written, self.node, self.tombstone, &self.value)
    }

    /// Keeps the winner of two writes.
    pub fn merge(&mut self, other: &LastWrite) {
        if self.rank() < other.rank() {
            *self = other.clone();
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.node);
        out.push(u8::from(self.tombstone));
        self.value.write(out);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let node = reader.varint()?;
        let tombstone = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Malformed("tombstone flag")),
        };
        let value = Value::read(reader)?;
        if tombstone && !value.body.is_empty() {
            return Err(DecodeError::Malformed("tombstone with a body"));
        }
        Ok(Self { value, node, tombstone })
    }
}
