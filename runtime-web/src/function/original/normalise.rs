//! Normalises an original as the rewriter's first stage does, as far as imports and exports allow: determines the
//! entries, their order, and the exports by which the host reaches them. `rewriter/src/stages/normalise.rs` and
//! `constructors.rs` have the reasons.
//!
//! Code is not changed. Exports are added, or redirected to functions that the linker has wrapped. A start function
//! becomes an export that the host calls first, because it could not suspend during instantiation.

use super::binary::{Binary, Export, FUNCTION, MEMORY, TABLE};
use super::code;
use super::reader::Problem;
use faasm_bridge::manifest::Entry;

const START: &str = "_start";
const MAIN: &str = "main";
const ZYGOTE: &str = "_faasm_zygote";
const CTORS: &str = "__wasm_call_ctors";
/// The suffix of a linker's wrapper that runs constructors and destructors around a function.
const WRAPPED: &str = ".command_export";

/// The maximum call depth at which an entry may call the constructors.
const DEPTH: usize = 3;

/// Determines the entry, and the module's exports.
pub(super) fn normalise(binary: &Binary<'_>) -> Result<(Entry, Vec<Export>), Problem> {
    let mut exports = Exports { all: binary.exports.clone() };
    if !binary.has_memory {
        return Err("it has no memory".into());
    }
    let memory = exports.name("memory", MEMORY, 0);
    let start = binary.start.map(|function| exports.name("faasm:start", FUNCTION, function));
    let ctors = constructors(binary);
    let malloc = unwrapped_malloc(binary, ctors, &mut exports)?;

    let in_start = match (binary.start, ctors) {
        (Some(start), Some(ctors)) => start == ctors || calls(binary, start, ctors, DEPTH)?,
        _ => false,
    };
    let mut main: Vec<String> = start.into_iter().collect();
    let mut before_pointer = main.clone();
    if let Some(function) = ctors.filter(|_| !in_start) {
        before_pointer.push(exports.name("faasm:ctors", FUNCTION, function));
    }
    let (name, entry) = entry(binary)?;
    let runs_ctors = match ctors {
        Some(ctors) => calls(binary, entry, ctors, DEPTH)?,
        None => true,
    };
    let has_zygote = binary.exported(ZYGOTE).is_some();
    let has_ctors = ctors.is_some_and(|ctors| !is_empty(binary, ctors));
    if (has_zygote || in_start) && runs_ctors && has_ctors {
        return Err("its entry runs the constructors, which must run once, before it".into());
    }
    if has_zygote || !(runs_ctors || name == START && is_emscripten(binary)) {
        main.clone_from(&before_pointer);
    }
    if has_zygote {
        main.push(ZYGOTE.to_owned());
        before_pointer.push(ZYGOTE.to_owned());
    }
    // JavaScript passes 0 for missing arguments, so a `main` with `argc` and `argv` can be called without them.
    main.push(name.to_owned());
    let table = binary.has_table.then(|| exports.name("__indirect_function_table", TABLE, 0));
    let errno = errno(binary);
    Ok((
        Entry {
            main,
            before_pointer,
            table,
            memory,
            malloc,
            errno,
            break_safe: !binary.uses_memory_size(),
        },
        exports.all,
    ))
}

struct Exports {
    all: Vec<Export>,
}

impl Exports {
    /// The name of an export of this item; adds one if it is not exported.
    fn name(&mut self, wanted: &str, kind: u8, index: u32) -> String {
        let same = |export: &&Export| (export.kind, export.index) == (kind, index);
        if let Some(export) = self.all.iter().find(same) {
            return export.name.clone();
        }
        let mut name = wanted.to_owned();
        while self.all.iter().any(|export| export.name == name) {
            name.insert_str(0, "faasm:");
        }
        self.all.push(Export { name: name.clone(), kind, index });
        name
    }
}

/// The program's entry: its export's name and function index.
fn entry(binary: &Binary<'_>) -> Result<(&'static str, u32), Problem> {
    if let Some(start) = binary.exported(START) {
        return match binary.signature(start)?.is_words(0, 0) {
            true => Ok((START, start)),
            false => Err("its `_start` is not () -> ()".into()),
        };
    }
    if binary.exported("_initialize").is_some() {
        return Err("it is a library (a WASI reactor), not a program".into());
    }
    let main = binary.exported(MAIN).ok_or("it exports neither `_start` nor `main`")?;
    let signature = binary.signature(main)?;
    let fits = [(0, 0), (0, 1), (2, 1)];
    match fits.iter().any(|(params, results)| signature.is_words(*params, *results)) {
        true => Ok((MAIN, main)),
        false => Err("its `main` has an unsupported signature".into()),
    }
}

/// The function that runs the constructors, if it is exported or has a debug name.
fn constructors(binary: &Binary<'_>) -> Option<u32> {
    let found = binary.exported(CTORS).or_else(|| binary.by_name(CTORS))?;
    binary.signature(found).ok()?.is_words(0, 0).then_some(found)
}

/// The export of `malloc`, redirected to the allocator itself if the linker has wrapped it.
fn unwrapped_malloc(
    binary: &Binary<'_>,
    ctors: Option<u32>,
    exports: &mut Exports,
) -> Result<Option<String>, Problem> {
    const MALLOC: &str = "malloc";
    let Some(function) = binary.exported(MALLOC).or_else(|| defined(binary, MALLOC)) else {
        return Ok(None);
    };
    if !binary.signature(function)?.is_words(1, 1) {
        return Ok(None);
    }
    let wrapped = binary.name(function).and_then(|name| name.strip_suffix(WRAPPED));
    if let Some(inner) = wrapped {
        let inner = binary.by_name(inner).ok_or("its `malloc` runs constructors at each call")?;
        for export in exports.all.iter_mut().filter(|export| export.name == MALLOC) {
            export.index = inner;
        }
        return Ok(Some(MALLOC.to_owned()));
    } else if ctors.is_none() && !binary.has_names() && could_wrap(binary, function) {
        // Wrappers are recognised by their names; if the constructors are exported, the linker makes no wrappers.
        return Err("its `malloc` may run constructors at each call".into());
    }
    Ok(Some(exports.name(MALLOC, FUNCTION, function)))
}

/// A defined function by its debug name, which an import may share.
fn defined(binary: &Binary<'_>, name: &str) -> Option<u32> {
    binary.by_name(name).filter(|function| binary.body(*function).is_some())
}

/// The address of `errno`, if `__errno_location` just returns a constant.
fn errno(binary: &Binary<'_>) -> Option<u32> {
    const LOCATION: &str = "__errno_location";
    let function = binary.exported(LOCATION).or_else(|| defined(binary, LOCATION))?;
    code::constant(binary.body(function)?)
}

fn is_empty(binary: &Binary<'_>, function: u32) -> bool {
    // No locals, then `end`.
    binary.body(function) == Some(&[0, 0x0b])
}

/// Whether a function is short enough to be a wrapper.
fn could_wrap(binary: &Binary<'_>, function: u32) -> bool {
    const LONGEST: usize = 24;
    binary.body(function).is_none_or(|body| body.len() <= LONGEST)
}

fn is_emscripten(binary: &Binary<'_>) -> bool {
    let is_emscripten_name = |name: &str| {
        name == "stackSave" || name.starts_with("emscripten_") || name.starts_with("_emscripten_")
    };
    binary.exports.iter().any(|export| is_emscripten_name(&export.name))
        || binary
            .imports
            .iter()
            .any(|import| import.module == "env" && is_emscripten_name(import.name))
}

fn calls(binary: &Binary<'_>, from: u32, target: u32, depth: usize) -> Result<bool, Problem> {
    let Some(body) = binary.body(from) else { return Ok(false) };
    let callees = code::calls(body)?;
    if callees.contains(&target) {
        return Ok(true);
    }
    if depth > 1 {
        for callee in callees {
            if calls(binary, callee, target, depth - 1)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
