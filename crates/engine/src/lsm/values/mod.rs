//! Large values, stored outside the tree. When a memtable is flushed (or a table ingested), a value of
//! [`super::Options::separate_bytes`] or more goes into a *value file*, and the table holds a pointer to it.
//! Compaction then moves pointers instead of values.
//!
//! Values are separated at the flush, not on the write path. Until the flush the value is in the shared log,
//! which a consensus group needs whole anyway. A second file on the write path would mean a second sync for
//! every write.
//!
//! A value file never changes. The manifest says for each table how many bytes of which value files the table
//! refers to. Bytes that no table refers to are garbage. A file without references leaves the version in the
//! same edit as the last table that referred to it. Compaction empties files that are mostly garbage: it
//! copies the values still in use ([`collect`]). Nothing else removes a value file.
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
