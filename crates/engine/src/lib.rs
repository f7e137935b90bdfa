//! Torc's storage engine: one shared log and one log-structured merge tree per node. Knows bytes only.
//!
//! * [`mod@env`]: every file operation goes through [`Env`], so that a simulated disk can stand in.
//! * [`log`]: the node's one write-ahead log: many streams (consensus groups and the engine's own writes), group commit.
//! * [`lsm`]: memtable, sorted tables, manifest, compaction, iterators, snapshots.
//!
//! The engine must never know what a key means, never read a clock, and never start work of its own when
//! opened with [`Background::Manual`]: the simulation drives it step by step.

pub mod env;
mod error;
pub mod log;
pub mod lsm;
mod sync;

pub use env::Env;
pub use error::{Error, Result};
pub use log::{Log, Lsn};
pub use lsm::{Background, Engine, Options, Scan, ScanItem, Snapshot, WriteBatch};
