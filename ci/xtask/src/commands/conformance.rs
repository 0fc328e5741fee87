//! `cargo xtask conformance`: builds the suite and its functions, and runs them everywhere.

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

/// A function in C or C++: its source, its name, what it is compiled and linked with.
struct Source {
    file: &'static str,
    name: &'static str,
    malloc: bool,
    constructors: bool,
    /// Without any library, but for `faasm/libc.h`: as Faasm's own toolchain makes programs.
    alone: bool,
    /// Further options of the compiler.
    compile: &'static [&'static str],
    /// Further options of the linker.
    link: &'static [&'static str],
}

const fn program(file: &'static str, name: &'static str) -> Source {
    let (compile, link): (&[&str], &[&str]) = (&[], &[]);
    Source { file, name, malloc: false, constructors: false, alone: false, compile, link }
}

const fn both(file: &'static str, name: &'static str) -> Source {
    Source { malloc: true, constructors: true, ..program(file, name) }
}

/// The same program, by what is exported.
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
        // Without names, as released binaries are, so that no allocator can be found by its name.
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
/// What the compiler calls, and the host answers.
const UNDEFINED: &[&str] = &["-Wl,--allow-undefined"];
/// So that memory ends at the same size in all places.
const BOUNDED: &[&str] = &["-Wl,--max-memory=67108864"];
const OPENMP: &[&str] = &["-fopenmp", "-Wno-openmp"];
/// Without what a Faasm cluster cannot do.
const FOR_FAASM: &[&str] = &["-DFOR_FAASM"];
const HEAP_SBRK: &[&str] = &["-DHEAP_SBRK"];
const HEAP_223: &[&str] = &["-DHEAP_223"];
const HEAP_MMAP: &[&str] = &["-DHEAP_MMAP"];

/// In `ci/testing/conformance/functions`.
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

/// Run the same functions in the cluster and in browsers, and compare
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only cases whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only columns whose names contain this: embedded, faasm, chromium, firefox, webkit, asyncify, jspi, page, worker
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Run the columns of a Faasm cluster, and no others, on a real one: the URL of its planner
    #[arg(long, value_name = "URL", requires_all = ["upload", "redis"])]
    faasm: Option<String>,
    /// Its upload server
    #[arg(long, value_name = "URL", requires = "faasm")]
    upload: Option<String>,
    /// The Redis that it keeps state in
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
            .context("rewriter and suite")?;
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

/// The program, which has to be built.
pub(crate) fn suite(workspace: &Workspace) -> Command {
    let mut command = Command::new(workspace.binary("faasm-conformance"));
    command.env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"));
    command
}

/// Compiles the suite's functions to `dist/conformance/originals`; the suite itself assembles those in WebAssembly text.
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

/// Functions of one program, and whether its exceptions are in the draft's encoding.
const EXCEPTIONS: [(&str, bool); 2] = [("exceptions_cpp", false), ("exceptions_cpp_draft", true)];

/// The program that throws, with each encoding of exceptions. Debian's clang writes the draft's only, and not of this program,
/// so what it makes of C++ goes through the code generator that belongs to Rust's toolchain.
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
        .context("program with exceptions")?;
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

/// Emscripten is not everywhere; the suite says which cases it skips, and fails for them where `CI` is set.
fn emscripten(sources: &Path, objects: &Path, originals: &Path) -> Result<()> {
    let plain: &[&str] = &[];
    // Its exceptions are the draft's.
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

/// Copies a module only where it changed, so that what was built of it stays good.
fn keep(module: &Path, originals: &Path) -> Result<()> {
    let to = originals.join(module.file_name().context("a module without a name")?);
    let read = |path: &Path| fs::read(path).ok();
    if read(module).is_some() && read(module) == read(&to) {
        return Ok(());
    }
    copy_file(module, &to)
}
