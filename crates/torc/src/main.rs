//! The `torc` binary: everything is in the rooms below, this only opens the door.

mod bench;
mod cli;
mod demo;
mod node;
mod status;
mod transport;

fn main() -> std::process::ExitCode {
    cli::run()
}
