#[allow(dead_code)]
mod transport;
fn main() {}
