//! Whole clusters in one deterministic process: the world and its faults, the scenarios, the oracles. Tests only: nothing here ships.
//!
//! Called by `cargo xtask sim` and by the workspace's tests. It must run the real node code, engine included, and nothing else.

pub mod checker;
pub mod scenario;
pub mod world;
