//! Links `isula-shim` at fixed addresses.
//!
//! A position-independent program writes its own relocations when it starts: here into 296 KiB
//! that every shim then has for itself, more than all its other memory, and twice, because it
//! executes itself once more to be sealed. Stack, heap and mappings stay randomised.
//!
//! The last of these flags that cancel each other counts (gcc's common.opt), so `-static-pie`,
//! which rustc passes, needs no removal.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.ends_with("linux-gnu") {
        for flag in ["-no-pie", "-static"] {
            println!("cargo::rustc-link-arg-bin=isula-shim={flag}");
        }
    }
}
