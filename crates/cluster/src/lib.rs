//! Ring, placement, topology and gossip. Sans-IO: every function takes time and randomness from its caller.
//!
//! Called by the replica and coordinator layers. Must never open a socket, read a clock or touch the engine.

pub mod gossip;
pub mod limits;
pub mod ring;
pub mod topology;

pub use ring::Ring;
pub use topology::*;
