//! The identity of a member, and the random number generator that foca uses.

use crate::NodeId;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;

/// A node in one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipIdentity {
    /// The node. Two identities of one node compete; the higher incarnation wins.
    pub node: NodeId,
    /// Rises whenever the node starts, or learns that others considered it down.
    pub incarnation: u64,
    /// Where it is reached, `host:port`, 1 to 255 bytes.
    pub addr: String,
}

impl GossipIdentity {
    /// Rejoins of one process, as a power of two, before the numbers of the next start begin.
    const REJOINS_PER_BOOT: u32 = 20;

    /// The identity of a node's `boot`-th start. The counter must be persisted before gossip starts, and go
    /// up with each start.
    pub fn at_boot(node: NodeId, addr: impl Into<String>, boot: u64) -> GossipIdentity {
        GossipIdentity { node, incarnation: boot << Self::REJOINS_PER_BOOT, addr: addr.into() }
    }
}

impl foca::Identity for GossipIdentity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(GossipIdentity { incarnation: self.incarnation.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, &self.addr) > (adversary.incarnation, &adversary.addr)
    }
}

/// A generator with a stream that is the same in every release, behind the trait that foca asks for.
pub(super) struct SeededRng(ChaCha8Rng);

impl SeededRng {
    pub(super) fn new(seed: u64) -> SeededRng {
        SeededRng(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl rand_core::TryRng for SeededRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}
