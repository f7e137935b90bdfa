//! Torc's storage engine: one shared log and one log-structured merge tree per node. Keys and values are
//! plain bytes to it.
//!
//! * [`mod@env`]: file operations, all through [`Env`], so that a simulated disk can replace the real one.
//! * [`log`]: the node's one write-ahead log, with group commit. It holds many streams: one per consensus
//!   group, and one for the engine's own writes.
//! * [`lsm`]: memtable, sorted tables, manifest, compaction, iterators, snapshots.
//!
//! The engine must never know what a key means and never read a clock. Opened with [`Background::Manual`] it
//! never starts work of its own: the simulation drives it step by step.

pub mod env;
mod error;
pub mod log;
pub mod lsm;
mod sync;

pub use env::Env;
pub use error::{Error, Result};
pub use log::{Log, Lsn};
pub use lsm::{Background, Engine, Options, Scan, ScanItem, Snapshot, WriteBatch};
