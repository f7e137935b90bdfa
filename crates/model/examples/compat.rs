//! Prints COMPAT.md; `cargo xtask compat` keeps it.

fn main() {
    print!("{}", torc_model::compat::page());
}
