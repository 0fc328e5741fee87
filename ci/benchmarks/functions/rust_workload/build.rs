//! Exports the functions that the host calls; see the documentation of `faasm-host`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["malloc", "free", "__wasm_call_ctors"] {
        println!("cargo::rustc-link-arg-bins=--export={name}");
    }
}
