//! `cargo xtask functions`: compiles the example functions to `dist/functions/NAME.wasm`, the binaries that run
//! unmodified in the cluster and from which everything for the web is built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::process::run;
use crate::setup::{self, CLANG_PACKAGES, Clang};
use crate::workspace::{Workspace, copy_file, create_folder, wasm_files};

/// Sources in `examples/functions/c`, and the names of the functions built from them.
const C_FUNCTIONS: [(&str, &str); 4] = [
    ("hello.c", "hello_c"),
    ("state.c", "state_c"),
    ("chain.cpp", "chain_cpp"),
    ("chain_named.cpp", "chain_named_cpp"),
];

pub(crate) const WARNINGS: [&str; 3] = ["-Wall", "-Wextra", "-Werror"];

/// Exports that hosts call.
pub(crate) const EXPORT_MALLOC: [&str; 2] = ["-Wl,--export=malloc", "-Wl,--export=free"];
pub(crate) const EXPORT_CONSTRUCTORS: &str = "-Wl,--export=__wasm_call_ctors";

/// Does not pass the optimiser's flag: with it the driver would also run any `wasm-opt` on the PATH.
pub(crate) const LAYOUT: [&str; 3] = [
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=1048576",
    // Strips wasi-libc's debug information, which is most of the file; names stay.
    "-Wl,--strip-debug",
];

/// Compile the example functions to dist/functions
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compile only the functions of one language
    #[arg(long)]
    only: Option<Language>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    /// C and C++
    C,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        create_folder(&workspace.functions())?;
        if self.only != Some(Language::C) {
            build_rust(workspace)?;
        }
        if self.only != Some(Language::Rust) {
            match Clang::find(workspace)? {
                Some(clang) => build_c(workspace, &clang)?,
                None if self.only == Some(Language::C) => {
                    bail!("no clang that builds for wasm32-wasi: {}", how_to_get_clang())
                }
                None => eprintln!(
                    "skipped the C and C++ functions, there is no clang that builds for \
                     wasm32-wasi: {}",
                    how_to_get_clang()
                ),
            }
        }
        list(workspace)
    }
}

/// Compiles all functions for which this machine has a compiler.
pub(crate) fn build_all(workspace: &Workspace) -> Result<()> {
    Args { only: None }.run(workspace)
}

pub(crate) fn how_to_get_clang() -> String {
    format!(
        "on Debian `apt-get install {}`, elsewhere set WASI_SDK_PATH to a WASI SDK",
        CLANG_PACKAGES.join(" ")
    )
}

fn build_rust(workspace: &Workspace) -> Result<()> {
    for file in compile_rust(workspace, &workspace.functions_source())? {
        let name = file.file_name().context("a wasm file without a name")?;
        copy_file(&file, &workspace.functions().join(name))?;
    }
    Ok(())
}

/// Compiles a workspace of functions in Rust; returns the modules.
pub(crate) fn compile_rust(workspace: &Workspace, source: &Path) -> Result<Vec<PathBuf>> {
    setup::rust_targets(workspace, &[setup::WASI])?;
    // A separate target folder, so that this does not wait for other cargo processes; the workspace's name keeps it
    // unique.
    let name = source.file_name().context("a folder without a name")?;
    let target = workspace.target().join("functions").join(name);
    run(workspace
        .cargo()
        .current_dir(source)
        .args(["build", "--release", "--locked", "--target", setup::WASI, "--target-dir"])
        .arg(&target))
    .context("Rust functions")?;
    wasm_files(&target.join(setup::WASI).join("release"))
}

fn build_c(workspace: &Workspace, clang: &Clang) -> Result<()> {
    let objects = workspace.target().join("functions/c");
    create_folder(&objects)?;
    let exports = [&EXPORT_MALLOC[..], &[EXPORT_CONSTRUCTORS]].concat();
    for (source, name) in C_FUNCTIONS {
        let function = CFunction {
            source: &workspace.functions_source().join("c").join(source),
            output: &workspace.functions().join(format!("{name}.wasm")),
            objects: &objects,
            defines: &[],
            link: &exports,
        };
        function.build(workspace, clang).with_context(|| format!("function {name}"))?;
    }
    Ok(())
}

/// A function in C or C++.
pub(crate) struct CFunction<'a> {
    pub(crate) source: &'a Path,
    pub(crate) output: &'a Path,
    /// Folder for intermediate files.
    pub(crate) objects: &'a Path,
    pub(crate) defines: &'a [&'a str],
    /// Exports, and other options of the linker.
    pub(crate) link: &'a [&'a str],
}

impl CFunction<'_> {
    pub(crate) fn build(&self, workspace: &Workspace, clang: &Clang) -> Result<()> {
        let cpp = self.source.extension().is_some_and(|extension| extension == "cpp");
        let name = self.output.file_stem().context("a function without a name")?;
        let object = self.objects.join(name).with_extension("o");
        let mut compile = clang.command(cpp);
        compile.arg("-O2").args(WARNINGS).args(self.defines);
        compile.arg(if cpp { "-std=c++17" } else { "-std=c11" });
        if cpp {
            compile.args(["-fno-exceptions", "-fno-rtti"]);
        }
        compile.arg("-I").arg(workspace.functions_source().join("include"));
        run(compile.arg("-c").arg(self.source).arg("-o").arg(&object))?;
        run(clang.command(cpp).arg(&object).args(self.link).args(LAYOUT).arg("-o").arg(self.output))
    }
}

fn list(workspace: &Workspace) -> Result<()> {
    let files: Vec<PathBuf> = wasm_files(&workspace.functions())?;
    for file in &files {
        let size = fs::metadata(file).with_context(|| format!("size of {}", file.display()))?.len();
        println!("{:>9} bytes  {}", size, workspace.show(file));
    }
    Ok(())
}
