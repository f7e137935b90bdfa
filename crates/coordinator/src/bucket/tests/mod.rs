//! Tests of the flows over a network that fails, on tokio's paused clock.

mod chaos;
mod flows;
mod world;
