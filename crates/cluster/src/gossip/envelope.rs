//! The header of every gossip datagram: protocol, cluster and a checksum. Layout: docs/protocols/gossip.md.
//!
//! ```text
//! 0  2  magic "TG"
//! 2  1  version, 1
//! 3  8  cluster id, big-endian
//! 11 4  checksum: low 32 bits of XXH3-64 of the payload, seeded with the cluster id, big-endian
//! 15 .. payload
//! ```

use crate::limits::MAX_DATAGRAM_BYTES;
use bytes::{BufMut as _, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: [u8; 2] = *b"TG";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 15;
/// What is left for foca.
pub(super) const MAX_PAYLOAD_BYTES: usize = MAX_DATAGRAM_BYTES - HEADER_BYTES;

/// Why a datagram was ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GossipError {
    /// Not gossip, cut short, damaged, or of a shape that makes no sense.
    #[error("malformed gossip: {0}")]
    Malformed(String),
    /// From a later version of the software.
    #[error("gossip of version {0}, this software speaks {VERSION}")]
    Version(u8),
    /// From another cluster: two clusters share an address.
    #[error("gossip of cluster {0:016x}, which is not this one")]
    ForeignCluster(u64),
}

pub(super) fn seal(cluster_id: u64, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    bytes.put_slice(&MAGIC);
    bytes.put_u8(VERSION);
    bytes.put_u64(cluster_id);
    bytes.put_u32(checksum(cluster_id, payload));
    bytes.put_slice(payload);
    bytes.freeze()
}

pub(super) fn open(cluster_id: u64, datagram: &[u8]) -> Result<&[u8], GossipError> {
    let malformed = |why: &str| GossipError::Malformed(why.to_owned());
    if datagram.len() > MAX_DATAGRAM_BYTES {
        return Err(malformed("too long"));
    }
    let (magic, rest) = datagram.split_first_chunk::<2>().ok_or_else(|| malformed("too short"))?;
    let (version, rest) = rest.split_first().ok_or_else(|| malformed("too short"))?;
    if *magic != MAGIC {
        return Err(malformed("not gossip"));
    }
    if *version != VERSION {
        return Err(GossipError::Version(*version));
    }
    let (cluster, rest) = rest.split_first_chunk::<8>().ok_or_else(|| malformed("too short"))?;
    let (sum, payload) = rest.split_first_chunk::<4>().ok_or_else(|| malformed("too short"))?;
    let cluster = u64::from_be_bytes(*cluster);
    if cluster != cluster_id {
        return Err(GossipError::ForeignCluster(cluster));
    }
    if u32::from_be_bytes(*sum) != checksum(cluster_id, payload) {
        return Err(malformed("checksum"));
    }
    Ok(payload)
}

fn checksum(cluster_id: u64, payload: &[u8]) -> u32 {
    xxh3_64_with_seed(payload, cluster_id) as u32
}
