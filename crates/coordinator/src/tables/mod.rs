//! tmp
pub mod route;
