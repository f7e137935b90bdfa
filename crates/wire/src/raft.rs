//! Consensus traffic between stores.
