//! Whole clusters in one deterministic process: the simulated world and its faults, the scenarios, and the
//! oracles. For tests only; nothing here is part of the shipped binary.
//!
//! `cargo xtask sim` and the workspace's tests call it. It must run the real node code, engine included, and
//! nothing else.

pub mod checker;
pub mod scenario;
pub mod world;
