//! `cargo xtask conformance`: builds the suite and its functions, and runs the suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::commands::functions::{
    CFunction, EXPORT_CONSTRUCTORS, EXPORT_MALLOC, LAYOUT, WARNINGS, compile_rust, how_to_get_clang,
};
use crate::commands::package;
use crate::process::{find_program, run};
use crate::setup::{self, Clang};
use crate::workspace::{Workspace, copy_file, create_folder};

/// A function in C or C++: its source, its name, and its options of compiler and linker.
struct Source {
    file: &'static str,
    name: &'static str,
    malloc: bool,
    constructors: bool,
    /// Linked without libraries, using only `faasm/libc.h`, like programs of Faasm's own toolchain.
    alone: bool,
    /// Additional options of the compiler.
    compile: &'static [&'static str],
    /// Additional options of the linker.
    link: &'static [&'static str],
}

const fn program(file: &'static str, name: &'static str) -> Source {
    let (compile, link): (&[&str], &[&str]) = (&[], &[]);
    Source { file, name, malloc: false, constructors: false, alone: false, compile, link }
}

const fn both(file: &'static str, name: &'static str) -> Source {
    Source { malloc: true, constructors: true, ..program(file, name) }
}

/// The same program with different exports.
const fn start(name: &'static str, malloc: bool, constructors: bool) -> Source {
    Source { malloc, constructors, ..program("cpp/start.cpp", name) }
}

const fn alone(file: &'static str, name: &'static str) -> Source {
    Source { alone: true, ..program(file, name) }
}

impl Source {
    fn compile_options(&self) -> Vec<&'static str> {
        let alone: &[&str] = match self.alone {
            true => &["-ffreestanding", "-fno-builtin", "-Wno-unused-function"],
            false => &[],
        };
        let malloc: &[&str] = if self.malloc { &["-DWITH_MALLOC"] } else { &[] };
        [self.compile, alone, malloc].concat()
    }

    fn link_options(&self) -> Vec<&'static str> {
        // Without names, as in release binaries, so that no allocator can be found by its name.
        let alone: &[&str] = match self.alone {
            true => &["-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"],
            false => &[],
        };
        let malloc: &[&str] = if self.malloc { &EXPORT_MALLOC } else { &[] };
        let constructors: &[&str] = if self.constructors { &[EXPORT_CONSTRUCTORS] } else { &[] };
        [malloc, constructors, self.link, alone].concat()
    }
}

const STRIP: &[&str] = &["-Wl,--strip-all"];
/// Allows calls that the host implements.
const UNDEFINED: &[&str] = &["-Wl,--allow-undefined"];
/// Limits memory to the same size in all places.
const BOUNDED: &[&str] = &["-Wl,--max-memory=67108864"];
const OPENMP: &[&str] = &["-fopenmp", "-Wno-openmp"];
/// Omits everything that a Faasm cluster does not support.
const FOR_FAASM: &[&str] = &["-DFOR_FAASM"];
const HEAP_SBRK: &[&str] = &["-DHEAP_SBRK"];
const HEAP_223: &[&str] = &["-DHEAP_223"];
const HEAP_MMAP: &[&str] = &["-DHEAP_MMAP"];

/// Paths in `ci/testing/conformance/functions`.
const SOURCES: [Source; 27] = [
    both("c/probe.c", "probe"),
    Source { compile: FOR_FAASM, ..both("c/probe.c", "probe_for_faasm") },
    both("c/files.c", "files"),
    Source { compile: FOR_FAASM, ..both("c/files.c", "files_for_faasm") },
    both("c/wasi.c", "wasi"),
    both("cpp/cxx.cpp", "cxx"),
    both("cpp/ctor_exit.cpp", "ctor_exit"),
    start("start_plain", false, false),
    start("start_malloc", true, false),
    start("start_ctors", false, true),
    start("start_both", true, true),
    Source { link: STRIP, ..start("start_malloc_stripped", true, false) },
    Source { link: STRIP, ..start("start_both_stripped", true, true) },
    alone("faasm/hello.c", "faasm_hello"),
    alone("faasm/chain.c", "faasm_chain"),
    Source { compile: HEAP_SBRK, link: BOUNDED, ..alone("faasm/heap.c", "faasm_heap_sbrk") },
    Source { compile: HEAP_223, ..alone("faasm/heap.c", "faasm_heap_223") },
    Source { compile: HEAP_MMAP, ..alone("faasm/heap.c", "faasm_heap_mmap") },
    alone("faasm/grows.c", "faasm_grows"),
    alone("faasm/calls.c", "faasm_calls"),
    alone("faasm/threads.c", "faasm_threads"),
    Source { compile: OPENMP, link: UNDEFINED, ..alone("faasm/openmp.c", "faasm_openmp") },
    alone("faasm/runtime.c", "faasm_runtime"),
    alone("faasm/sleeps.c", "faasm_sleeps"),
    alone("faasm/rest.c", "faasm_rest"),
    Source { malloc: false, ..both("faasm/zygote.cpp", "faasm_zygote") },
    Source { constructors: false, ..both("faasm/zygote.cpp", "faasm_zygote_wrapped") },
];

/// Run the same functions in the cluster and in browsers, and compare the results
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only cases whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only columns whose names contain this: embedded, faasm, chromium, firefox, webkit, asyncify, jspi, page, worker
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Run only the columns of a Faasm cluster, on the real cluster whose planner has this URL
    #[arg(long, value_name = "URL", requires_all = ["upload", "redis"])]
    faasm: Option<String>,
    /// Upload server of the real cluster
    #[arg(long, value_name = "URL", requires = "faasm")]
    upload: Option<String>,
    /// Redis of the real cluster
    #[arg(long, value_name = "URL", requires = "faasm")]
    redis: Option<String>,
    /// Write the figures of each column to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        setup::test_packages(workspace)?;
        run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-conformance"]))
            .context("building rewriter and suite")?;
        package::Args {}.run(workspace)?;
        functions(workspace)?;
        let mut command = suite(workspace);
        for (option, value) in [
            ("--filter", &self.filter),
            ("--column", &self.column),
            ("--faasm", &self.faasm),
            ("--upload", &self.upload),
            ("--redis", &self.redis),
        ] {
            command.args(value.iter().flat_map(|value| [option, value]));
        }
        if let Some(path) = &self.json {
            command.arg("--json").arg(path);
        }
        run(&mut command)
    }
}

/// The suite's program, which must be built.
pub(crate) fn suite(workspace: &Workspace) -> Command {
    let mut command = Command::new(workspace.binary("faasm-conformance"));
    command.env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"));
    command
}

/// Compiles the suite's functions to `dist/conformance/originals`, except those in WebAssembly text, which the suite
/// itself assembles.
pub(crate) fn functions(workspace: &Workspace) -> Result<()> {
    let sources = workspace.root().join("ci/testing/conformance/functions");
    let originals = workspace.root().join("dist/conformance/originals");
    let objects = workspace.target().join("functions/conformance");
    create_folder(&originals)?;
    create_folder(&objects)?;
    let Some(clang) = Clang::find(workspace)? else {
        bail!("no clang that builds for wasm32-wasi: {}", how_to_get_clang());
    };
    for source in SOURCES {
        let output = objects.join(format!("{}.wasm", source.name));
        let function = CFunction {
            source: &sources.join(source.file),
            output: &output,
            objects: &objects,
            defines: &source.compile_options(),
            link: &source.link_options(),
        };
        function.build(workspace, &clang).with_context(|| format!("function {}", source.name))?;
        keep(&output, &originals)?;
    }
    for module in compile_rust(workspace, &sources.join("rust"))? {
        keep(&module, &originals)?;
    }
    exceptions(workspace, &clang, &sources.join("cpp/exceptions.cpp"), &objects, &originals)?;
    emscripten(&sources, &objects, &originals)
}

/// Names of the builds of one program, and whether they use the draft encoding of exceptions.
const EXCEPTIONS: [(&str, bool); 2] = [("exceptions_cpp", false), ("exceptions_cpp_draft", true)];

/// Builds the program that throws in each encoding of exceptions. Debian's clang emits only the draft encoding, and
/// fails for this program, so it emits bitcode for the code generator of Rust's toolchain.
fn exceptions(
    workspace: &Workspace,
    clang: &Clang,
    source: &Path,
    objects: &Path,
    originals: &Path,
) -> Result<()> {
    let Some(llc) = setup::llc(workspace)? else { return Ok(()) };
    let bitcode = objects.join("exceptions_cpp.bc");
    let include = workspace.functions_source().join("include");
    let mut compile = clang.command(true);
    compile.args(["-O2", "-std=c++17", "-fwasm-exceptions", "-emit-llvm"]).args(WARNINGS);
    run(compile.arg("-I").arg(include).arg("-c").arg(source).arg("-o").arg(&bitcode))
        .context("compiling the program with exceptions")?;
    for (name, draft) in EXCEPTIONS {
        let object = objects.join(name).with_extension("o");
        let output = objects.join(name).with_extension("wasm");
        let mut generate = Command::new(&llc);
        generate.args(["-O2", "-filetype=obj", "-exception-model=wasm", "-wasm-enable-eh"]);
        generate.arg(format!("-wasm-use-legacy-eh={draft}"));
        run(generate.arg(&bitcode).arg("-o").arg(&object)).with_context(|| {
            format!("function {name}: is clang newer than the LLVM of `rustc --version --verbose`?")
        })?;
        let mut link = clang.command(true);
        link.arg(&object).args(EXPORT_MALLOC).arg(EXPORT_CONSTRUCTORS).args(LAYOUT);
        run(link.arg("-o").arg(&output)).with_context(|| format!("function {name}"))?;
        keep(&output, originals)?;
    }
    Ok(())
}

/// Builds the functions of Emscripten if it is installed. Without it the suite skips their cases with a note, or fails
/// them if `CI` is set.
fn emscripten(sources: &Path, objects: &Path, originals: &Path) -> Result<()> {
    let plain: &[&str] = &[];
    // Emscripten emits the draft encoding of exceptions.
    let throwing: &[&str] = &[
        "-std=c++17",
        "-fwasm-exceptions",
        "-sEXPORTED_FUNCTIONS=_main,_malloc,_free",
        "-sERROR_ON_UNDEFINED_SYMBOLS=0",
        "-sWARN_ON_UNDEFINED_SYMBOLS=0",
    ];
    for (compiler, source, name, more) in [
        ("emcc", "emcc/emscripten.c", "emscripten", plain),
        ("em++", "cpp/exceptions.cpp", "exceptions_emscripten", throwing),
    ] {
        let Some(compiler) = find_program(&[compiler]) else { return Ok(()) };
        let output = objects.join(name).with_extension("wasm");
        let mut compile = Command::new(compiler);
        compile.args(["-O2", "-sSTANDALONE_WASM", "-sALLOW_MEMORY_GROWTH=1"]).args(more);
        compile.arg("-I").arg(sources.join("../../../../examples/functions/include"));
        run(compile.arg(sources.join(source)).arg("-o").arg(&output))
            .with_context(|| format!("function {name}"))?;
        keep(&output, originals)?;
    }
    Ok(())
}

/// Copies a module only if it changed, so that builds of it stay up to date.
fn keep(module: &Path, originals: &Path) -> Result<()> {
    let to = originals.join(module.file_name().context("a module without a name")?);
    let read = |path: &Path| fs::read(path).ok();
    if read(module).is_some() && read(module) == read(&to) {
        return Ok(());
    }
    copy_file(module, &to)
}
