//! Sorted tables: immutable files of entries in internal key order, with a two-level index, a partitioned
//! filter and range deletes.
//!
//! Flush, compaction and ingest write them; gets, scans and compactions read them. A table never changes and
//! does not know its level.

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
