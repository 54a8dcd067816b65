//! How this program is linked: so that it starts fast. Each cell starts two of ours.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu") {
        // Addresses to adjust at the start as a bitmap in the place of a table (glibc 2.36).
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        // The unwinder within. As a library of its own it asks the processor for its features at
        // each start, which a virtual machine takes a tenth of a millisecond for.
        println!("cargo::rustc-link-lib=gcc_eh");
    }
}
