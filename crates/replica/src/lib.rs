//! See Cargo.toml for what lives here.

pub mod bucket;
