//! What the rewriter's first stage settles, settled here as far as exports and imports show it: what to call in which
//! order, by the rules of [`faasm_bridge::entry`], and that the host can reach it. See `rewriter/src/stages/normalise.rs` and
//! `constructors.rs` for the reasons.
//!
//! Code is not changed. Exports are added, or redirected to functions that the linker has wrapped. A start function
//! becomes an export that the host calls first, because it could not suspend during instantiation.

use super::binary::{Binary, Export, FUNCTION, MEMORY, TABLE};
use super::code;
use super::reader::Problem;
use faasm_bridge::entry::{
    self, CONSTRUCTORS, MAIN, ModuleView, Order, Parts, START, WRAPPED, ZYGOTE,
};
use faasm_bridge::manifest::Entry;

/// What to call, and the exports by which.
pub(super) fn normalise(binary: &Binary<'_>) -> Result<(Entry, Vec<Export>), Problem> {
    let mut exports = Exports { all: binary.exports.clone() };
    if !binary.has_memory {
        return Err("it has no memory".into());
    }
    let memory = exports.name("memory", MEMORY, 0);
    let start = binary.start.map(|function| exports.name("faasm:start", FUNCTION, function));
    let ctors = constructors(binary);
    let malloc = unwrapped_malloc(binary, ctors, &mut exports)?;

    let runs = |from: u32, ctors: u32| entry::reaches(binary, from, ctors);
    let in_start = match (binary.start, ctors) {
        (Some(start), Some(ctors)) => start == ctors || runs(start, ctors)?,
        _ => false,
    };
    let constructors = ctors.filter(|_| !in_start);
    let constructors = constructors.map(|it| exports.name("faasm:ctors", FUNCTION, it));
    let (name, function) = program(binary)?;
    let in_entry = match ctors {
        Some(ctors) => runs(function, ctors)?,
        None => false,
    };
    let has_zygote = match binary.exported(ZYGOTE) {
        Some(zygote) if !entry::can_be_called(binary, ZYGOTE, zygote) => {
            return Err("its `_faasm_zygote` takes something, or gives something else".into());
        }
        zygote => zygote.is_some(),
    };
    let has_ctors = ctors.is_some_and(|ctors| !is_empty(binary, ctors));
    if (has_zygote || in_start) && in_entry && has_ctors {
        return Err("its entry runs the constructors, which have to run before it, and once".into());
    }
    // JavaScript passes 0 for arguments that it leaves out, so a `main` with `argc` and `argv` can be called as it is.
    let parts = Parts {
        start,
        constructors,
        has_zygote,
        entry: name.to_owned(),
        entry_constructs: in_entry || name == START && entry::is_emscripten(binary),
    };
    let Order { main, before_pointer } = parts.order();
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

/// The program, by its export.
fn program(binary: &Binary<'_>) -> Result<(&'static str, u32), Problem> {
    let name = entry::entry_name(binary);
    if name == MAIN && binary.exported("_initialize").is_some() {
        return Err("it is a library (a WASI reactor) and no program".into());
    }
    let function = binary.exported(name).ok_or("it exports neither `_start` nor `main`")?;
    match entry::can_be_called(binary, name, function) {
        true => Ok((name, function)),
        false if name == START => Err("its `_start` takes or gives something".into()),
        false => Err("its `main` takes or gives something else than a main does".into()),
    }
}

/// The function that runs the constructors, if it is exported or has a debug name.
fn constructors(binary: &Binary<'_>) -> Option<u32> {
    let found = binary.exported(CONSTRUCTORS).or_else(|| binary.by_name(CONSTRUCTORS))?;
    entry::is_plain(binary, found).then_some(found)
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
