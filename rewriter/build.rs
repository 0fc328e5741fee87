//! Assembles `src/faasm/support.wat`, so that neither the tool nor the relay has to include an assembler.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const SOURCE: &str = "src/faasm/support.wat";
    println!("cargo::rerun-if-changed={SOURCE}");
    let wasm = wat::parse_file(SOURCE)?;
    let folder = env::var_os("OUT_DIR").map(PathBuf::from).ok_or("cargo does not set OUT_DIR")?;
    fs::write(folder.join("support.wasm"), wasm)?;
    Ok(())
}
