//! The `torc` binary.
mod bench;
mod node;
mod transport;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    bench: bench::BenchArgs,
}

fn main() -> std::process::ExitCode {
    match bench::main(Cli::parse().bench) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
