//! Links the program at fixed addresses: it lives for a millisecond, a good part of which would go
//! into relocating itself. Stack, heap and mappings stay randomised.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.ends_with("linux-gnu") {
        for flag in ["-no-pie", "-static"] {
            println!("cargo::rustc-link-arg-bin=syscontainer-hooks={flag}");
        }
    }
}
