//! Large values apart from the tree. A value of [`super::Options::separate_bytes`] or more goes to a *value file* when its memtable is
//! flushed (or its table ingested), and the table holds a pointer; compaction then moves pointers, not values.
//!
//! Separated at the flush, not on the write path: until then the value is in the shared log, which a consensus group needs whole
//! anyway, and a second file to sync would be a second wait for every write.
//!
//! A value file never changes. Each table says, in the manifest, how much of which value files it refers to; what no table
//! refers to is garbage, and a file without references leaves the version in the same edit as the last table that had one. Files that
//! are mostly garbage are emptied by compaction, which copies what is still referred to ([`collect`]). Nobody else removes one.
//!
//! Format: docs/formats/values.md.

pub(crate) mod collect;
mod file;
mod format;
mod writer;

pub(crate) use file::{LiveValues, ValueFile};
pub(crate) use format::{Pointer, ValueMeta, ValueRef, value_number, values_name, walk};
pub(crate) use writer::{ValueLayout, ValueWriter};

#[cfg(test)]
mod tests;
