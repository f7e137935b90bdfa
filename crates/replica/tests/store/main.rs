//! Clusters of stores in one deterministic process: real engines on simulated disks, a network and clocks of the tests' own.

mod history;
mod log_space;
mod machine;
mod partitions;
mod planted;
mod random;
mod scenarios;
mod throughput;
mod world;
