//! The state machines that consensus groups run: what a command means, as the group's leader evaluates it.
//!
//! A machine turns a command into a batch of writes and an answer. Followers apply the batch and never
//! evaluate. A machine must be a function of the command and of what it reads through its context: no clock,
//! no randomness, no engine access of its own.

pub mod change_log;
pub mod global_index;
pub mod index;
mod local_index;
pub mod meta;
pub mod schema;
pub mod table;

#[cfg(test)]
mod tests;
