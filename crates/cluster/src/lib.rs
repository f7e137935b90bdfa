//! See Cargo.toml for what lives here.
