//! Quorum flows of the buckets face.
