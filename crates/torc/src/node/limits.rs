//! What the operating system allows this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where the system sets no bound.
const MANY_FILES: u64 = 1 << 20;
/// What is assumed when it does not say.
const FEW_FILES: u64 = 1024;

/// Raises the number of files and sockets that may be open to the most allowed, and returns it: shells start programs with few.
pub fn raise_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MANY_FILES, |most| most.min(MANY_FILES));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let files = if raised.is_ok() { most } else { limit.current.unwrap_or(FEW_FILES) };
    usize::try_from(files).unwrap_or(usize::MAX)
}
