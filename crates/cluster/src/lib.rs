//! Ring, placement, topology and gossip. Sans-IO: every function gets time and randomness from its caller.
//!
//! The replica and coordinator layers call this crate. It must never open a socket, read a clock or touch the
//! engine.

pub mod gossip;
pub mod limits;
pub mod ring;
pub mod topology;

pub use ring::Ring;
pub use topology::*;
