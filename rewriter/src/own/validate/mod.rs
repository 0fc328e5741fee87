//! Checks what the pass has made, in another way than it was made.
//!
//! * Everything but the code is what it was, with something appended.
//! * Functions that cannot suspend are what they were.
//! * The others do the same while nothing suspends: [`walk`] runs input and output side by side, and takes what was added for
//!   what it is.
//! * Each call that can suspend is followed by a question, has a number of its own, and from the function's beginning that
//!   number leads to it, over nothing that has an effect.
//! * What is saved is what is restored, and includes all that is read later ([`live`]).
//!
//! None of this uses the code that it checks.

mod code;
mod frames;
mod live;
mod walk;

use crate::Error;
use code::Code;
use frames::{Place, Task};
use std::collections::BTreeSet;
use std::fmt;
use wasmparser::{
    BinaryReader, BinaryReaderError, FuncToValidate, FuncType, FunctionBody, Parser, Payload,
    TypeRef, ValType, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

/// What is wrong with the output.
#[derive(Debug)]
struct Fault(String);

impl Fault {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<BinaryReaderError> for Fault {
    fn from(error: BinaryReaderError) -> Self {
        Self(error.to_string())
    }
}

/// Checks the output of a module in which these functions can suspend, at these offsets.
///
/// # Errors
/// [`Error::Changed`] with the first difference.
pub(super) fn check(
    input: &[u8],
    output: &[u8],
    functions: &BTreeSet<u32>,
    sites: &BTreeSet<usize>,
    asserts: bool,
) -> Result<(), Error> {
    compare(input, output, functions, sites, asserts).map_err(|Fault(what)| {
        Error::changed("instrument", format!("a function's meaning: {what}"))
    })
}

type Function<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// What is read of a module.
#[derive(Default)]
struct Read<'a> {
    sections: Vec<(u8, &'a [u8])>,
    functions: Vec<Function<'a>>,
    imported: u32,
    globals: u32,
    types: Vec<FuncType>,
    /// Types of functions, by index.
    declared: Vec<u32>,
    suspend: Option<u32>,
}

impl<'a> Read<'a> {
    fn of(wasm: &'a [u8]) -> Result<Self, Fault> {
        let features = crate::module::features::accepted() | WasmFeatures::LEGACY_EXCEPTIONS;
        let mut validator = Validator::new_with_features(features);
        let mut read = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
                read.functions.push((function, body));
                continue;
            }
            if let Some((id, range)) = payload.as_section() {
                read.sections.push((id, &wasm[range]));
            }
            match payload {
                Payload::TypeSection(types) => {
                    read.types = types.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                                let suspends = import.module == crate::BRIDGE_MODULE
                                    && import.name == crate::SUSPEND;
                                if suspends {
                                    read.suspend = Some(read.imported);
                                }
                                read.imported += 1;
                                read.declared.push(ty);
                            }
                            TypeRef::Global(_) => read.globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(functions) => {
                    for ty in functions {
                        read.declared.push(ty?);
                    }
                }
                Payload::GlobalSection(globals) => read.globals += globals.count(),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// What functions of the output are, where that matters.
struct Module<'a> {
    input: &'a Read<'a>,
    /// The functions that were added.
    tasks: Vec<Task>,
    functions: &'a BTreeSet<u32>,
    /// The global with the phase: the first that was added.
    state: u32,
}

impl Module<'_> {
    /// Whether a call of the function can suspend.
    fn suspend(&self, function: u32) -> bool {
        self.functions.contains(&function) || self.input.suspend == Some(function)
    }

    /// What a function does, if it was added.
    fn task(&self, function: u32) -> Task {
        let added = (function as usize).checked_sub(self.input.declared.len());
        added.and_then(|index| self.tasks.get(index)).copied().unwrap_or(Task::Other)
    }

    /// Where the function takes a value of the type from, if it restores one.
    fn restores(&self, function: u32, ty: ValType) -> Option<Place> {
        match self.task(function) {
            Task::Restore(place) if takes(place, ty) => Some(place),
            _ => None,
        }
    }

    /// Where the function puts values of these types, if it saves so many.
    fn saves(&self, function: u32, types: &[ValType]) -> Option<Place> {
        match self.task(function) {
            Task::Save(place, count)
                if count == types.len() && types.iter().all(|ty| takes(place, *ty)) =>
            {
                Some(place)
            }
            _ => None,
        }
    }
}

/// Whether a value is saved whole in a place; that a table has its type, the validator knows.
fn takes(place: Place, ty: ValType) -> bool {
    match place {
        Place::Buffer(number) => number == ty,
        Place::Table { .. } => ty.is_reference_type(),
    }
}

/// Types of numbers are the same; of references the validator knows that one can take the other.
fn alike(one: ValType, two: ValType) -> bool {
    one == two || (one.is_reference_type() && two.is_reference_type())
}

fn all_alike(some: &[ValType], others: &[ValType]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, two)| alike(*one, *two))
}

fn compare(
    input: &[u8],
    output: &[u8],
    functions: &BTreeSet<u32>,
    sites: &BTreeSet<usize>,
    asserts: bool,
) -> Result<(), Fault> {
    let (mut before, mut after) = (Read::of(input)?, Read::of(output)?);
    sections(&before, &after)?;
    let state = before.globals;
    let added = after.functions.iter().skip(before.functions.len());
    let tasks = added.map(|(_, body)| Task::of(body, state)).collect::<Result<_, _>>()?;
    let pairs: Vec<(Function<'_>, Function<'_>)> = std::mem::take(&mut before.functions)
        .into_iter()
        .zip(std::mem::take(&mut after.functions))
        .collect();
    let module = Module { input: &before, tasks, functions, state };
    for (index, (one, two)) in (before.imported..).zip(pairs) {
        let in_function = |Fault(what)| Fault(format!("{what}, in function {index}"));
        let (was, is) = (&input[one.1.range()], &output[two.1.range()]);
        let mut input_code = None;
        if functions.contains(&index) {
            let code = Code::read(input, one.0, &one.1).map_err(in_function)?;
            let is_site = |op: &code::Op<'_>| sites.contains(&op.offset);
            input_code = code.ops.iter().any(is_site).then_some(code);
        }
        // Without a site that anything reaches, a function cannot suspend either.
        let Some(one) = input_code else {
            // Asserts are for tests, in which such functions are run.
            if was != is && !asserts {
                return Err(Fault::new(format!("function {index} cannot suspend and is changed")));
            }
            continue;
        };
        let two = Code::read(output, two.0, &two.1).map_err(in_function)?;
        let live: BTreeSet<usize> =
            one.ops.iter().map(|op| op.offset).filter(|offset| sites.contains(offset)).collect();
        walk::Walk::new(&module, &live, &one, &two).check().map_err(in_function)?;
    }
    Ok(())
}

const CUSTOM: u8 = 0;
const CODE: u8 = 10;
/// Types, functions, tables, globals, exports.
const APPENDED: [u8; 5] = [1, 3, 4, 6, 7];

/// Everything but code and names.
fn sections(before: &Read<'_>, after: &Read<'_>) -> Result<(), Fault> {
    for (id, content) in before.sections.iter().filter(|(id, _)| ![CUSTOM, CODE].contains(id)) {
        let now = after.sections.iter().find(|(other, _)| other == id);
        let (_, now) = now.ok_or_else(|| Fault::new(format!("section {id} is gone")))?;
        let is_kept = match APPENDED.contains(id) {
            true => entries(now)?.starts_with(entries(content)?),
            false => now == content,
        };
        if !is_kept {
            return Err(Fault::new(format!("section {id} is changed")));
        }
    }
    Ok(())
}

/// A section's content without the number of its entries.
fn entries(content: &[u8]) -> Result<&[u8], Fault> {
    let mut reader = BinaryReader::new(content, 0);
    reader.read_var_u32()?;
    Ok(&content[reader.original_position()..])
}
