//! The log-structured merge tree, and the [`Engine`] that ties it to the log.
//!
//! The layer above (replicas) knows what keys mean. Below are [`crate::env`] and [`crate::log`].
//!
//! * Write: into the log and the memtable ([`core`]). A full memtable becomes a table of level 0 ([`flush`]).
//! * Read: memtables and levels, newest first ([`core`], [`version`]), with the item cache ([`items`])
//!   between them. [`scan`] merges all of them.
//! * Background: [`picker`] and [`compact`] keep the levels in shape.
//!
//! Formats: batch.md, sstable.md, values.md and manifest.md in docs/formats.
//!
//! Nothing here reads a clock. With [`Background::Manual`] nothing here starts work of its own.

mod batch;
mod bloom;
mod budget;
mod cache;
pub(crate) mod codec;
mod compact;
mod core;
mod engine;
mod file_writer;
mod files;
mod filter;
mod flush;
mod ingest;
mod inspect;
mod items;
mod key;
mod manifest;
mod memory;
mod memtable;
mod merge;
mod metrics;
mod open;
mod options;
mod picker;
mod range_del;
mod replay;
mod rewrite;
mod scan;
mod snapshot;
mod sorted_keys;
mod table;
mod threads;
mod throttle;
mod tiered;
mod values;
mod verify;
mod version;

pub use self::core::MAX_BATCH_BYTES;
pub use batch::{BATCH_VERSION, Op, Ops, WriteBatch};
pub use budget::IoBudget;
pub use engine::Engine;
pub use filter::{CompactionFilter, Filter};
pub use inspect::{inspect_manifest, inspect_table, inspect_values};
pub use manifest::MANIFEST_VERSION;
pub use metrics::{LevelMetrics, Metrics};
pub use options::{Background, EngineFaults, Options};
pub use scan::{Scan, ScanItem};
pub use snapshot::Snapshot;
pub use table::Compression;
pub use tiered::TieredRanges;

#[cfg(test)]
pub(crate) mod tests;
