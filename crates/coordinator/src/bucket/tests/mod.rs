//! Tests of the flows over a network that fails, on tokio's paused clock.

mod chaos;
mod disk_full;
mod flows;
mod world;
