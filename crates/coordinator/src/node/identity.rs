//! The identity of this node, stored in its own engine: numbers that were drawn or assigned once, and the
//! incarnation, a counter that rises with every start.
//!
//! Layout of the records (key space LOCAL): docs/formats/local.md.

use super::NodeError;
use torc_cluster::NodeId;
use torc_engine::{Engine, WriteBatch};

/// Key space of records that belong to the node alone.
pub const SPACE_LOCAL: u8 = 2;

const KEY: [u8; 2] = [SPACE_LOCAL, 1];
const VERSION: u8 = 1;
const LENGTH: usize = 1 + 16 + 8 * 3;

/// The identity record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn by the node at its first start; registering with it again gets the same number.
    pub uuid: [u8; 16],
    /// The cluster it belongs to; 0 before it has joined one.
    pub cluster_id: u64,
    /// Its number in that cluster; 0 before it has joined.
    pub node: NodeId,
    /// How many times it has started. Rises durably before the node speaks to anyone.
    pub incarnation: u64,
}

impl Identity {
    /// Reads the identity and raises the incarnation; `None` on a first start.
    pub fn load(engine: &Engine) -> Result<Option<Self>, NodeError> {
        match engine.get(&KEY)? {
            None => Ok(None),
            Some(bytes) => Self::decode(&bytes).map(Some).ok_or(NodeError::LocalRecord("identity")),
        }
    }

    /// Queues the record for the log; durable when the returned number is.
    pub fn store(&self, engine: &Engine) -> Result<torc_engine::Lsn, NodeError> {
        let mut batch = WriteBatch::new();
        batch.put(&KEY, &self.encode());
        Ok(engine.write(&batch)?)
    }

    fn encode(&self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[0] = VERSION;
        out[1..17].copy_from_slice(&self.uuid);
        for (slot, field) in
            out[17..].chunks_exact_mut(8).zip([self.cluster_id, self.node.0, self.incarnation])
        {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LENGTH || bytes[0] != VERSION {
            return None;
        }
        let uuid = bytes[1..17].try_into().ok()?;
        let field = |at: usize| bytes[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        Some(Self { uuid, cluster_id: field(17)?, node: NodeId(field(25)?), incarnation: field(33)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusal_of_other_sizes() {
        let id = Identity { uuid: [7; 16], cluster_id: u64::MAX, node: NodeId(3), incarnation: 12 };
        let bytes = id.encode();
        assert_eq!(Identity::decode(&bytes), Some(id));
        assert_eq!(Identity::decode(&bytes[1..]), None);
        assert_eq!(Identity::decode(&[&bytes[..], &[0]].concat()), None);
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(Identity::decode(&other), None);
    }
}
