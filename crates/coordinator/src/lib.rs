//! Where a key lives, which replicas to ask, how many answers to wait for, how to merge them: the flows over several nodes, and the
//! [`Node`](node) that holds ring, replicas and engine together.
//!
//! Called by the api layer, the binary and the simulation. Plain async functions over small traits ([`ports`]): it must never open a
//! socket or a file, read a clock, or draw randomness of its own, so that the simulation runs exactly this code.

pub mod bucket;
pub mod index;
pub mod node;
pub mod peers;
pub mod ports;
mod signal;
pub mod tables;
