//! The flows over several nodes: where a key lives, which replicas to ask, how many answers to wait for, and
//! how to merge them. Also the [`Node`](node), which holds ring, replicas and engine together.
//!
//! The api layer, the binary and the simulation call this crate. It consists of plain async functions over
//! small traits ([`ports`]). It must never open a socket or a file, read a clock, or draw randomness of its
//! own, so that the simulation runs exactly this code.

pub mod bucket;
pub mod index;
pub mod node;
pub mod peers;
pub mod ports;
pub mod request;
mod signal;
pub mod tables;
