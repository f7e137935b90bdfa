//! The `torc` binary: calls the command line.

mod bench;
mod cli;
mod demo;
mod node;
mod status;
mod transport;

fn main() -> std::process::ExitCode {
    cli::run()
}
