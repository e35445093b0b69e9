//! Makes cargo embed the migrations again when one is added or changed.
#![allow(clippy::print_stdout)]

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
