//! Sorted tables: immutable files of entries in internal order with a two-level index, a partitioned filter and range deletes.
//! Written by flush, compaction and ingest; read by gets, scans and compactions. A table never changes and knows nothing of levels.

pub(crate) mod block;
pub(crate) mod builder;
mod cursor;
pub(crate) mod format;
pub(crate) mod index;
mod iter;
mod lookup;
mod lz4;
pub(crate) mod packed;
mod pages;
mod reader;

pub(crate) use builder::{TableBuilder, TableLayout, TableSummary};
pub use format::Compression;
pub(crate) use iter::{Access, TableIter};
pub(crate) use reader::Table;

#[cfg(test)]
pub(crate) use format::{open_resealed, seal_block};
#[cfg(test)]
pub(crate) use reader::blocks_of;
#[cfg(test)]
mod tests;
