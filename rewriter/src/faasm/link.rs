//! Links support functions into an original.
//!
//! Before:
//!
//! ```wat
//! (import "env" "__faasm_push_state" (func $push (param i32) (result i32)))
//! (elem (i32.const 1) $push)
//! (func (export "_start") (drop (call $push (i32.const 8))))
//! ```
//!
//! After:
//!
//! ```wat
//! (import "env" "__faasm_read_state" (func $raw_read_state …))       ;; imports of the support, with Faasm's types
//! (import "env" "__faasm_push_state" (func $raw_push_state (param i32)))
//! (elem (i32.const 1) $push)
//! (func (export "_start") (drop (call $push (i32.const 8))))
//! (func $push …)                                                       ;; from the support, and all that it can reach
//! ```
//!
//! Why it is safe: a support function replaces the import everywhere, in calls, tables, exports and as start function,
//! and has its type (through an adapter if the types differ). Code, data and table slots of the original are unchanged.
//! The result is validated.

mod code;
mod encode;

use super::generated::POINTER_KIND;
use super::module::Sections;
use crate::Error;
use std::collections::HashMap;
use wasm_encoder::reencode;
use wasm_encoder::{Function, Instruction};
use wasmparser::{Operator, Validator};

const SUPPORT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/support.wasm"));

/// Pages by which memory may exceed the original's maximum, for the support.
const MORE_PAGES: u64 = 1024;

/// What replaces each import, and what the support needs.
pub(super) struct Plan<'a> {
    /// Select among several versions of a support function.
    pub(super) tags: Vec<&'static str>,
    /// Values of the constants that the support imports from `link`.
    pub(super) constants: Vec<(&'static str, i32)>,
    /// One for each imported function of the original.
    pub(super) imports: Vec<Replacement<'a>>,
    /// The exported function whose result is a return value.
    pub(super) main: Option<u32>,
    /// The original's `malloc` and `free`, without wrappers.
    pub(super) malloc: Option<(u32, u32)>,
    /// The table slot for the function that enters pointers.
    pub(super) entry_slot: Option<u32>,
    /// A custom section to add.
    pub(super) section: Option<(&'static str, Vec<u8>)>,
}

/// What replaces an import of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Replacement<'a> {
    Import,
    /// The support function that replaces this import.
    Support(&'a str),
    /// Ends the run, with a fault of this code and text, or with a trap if there is none.
    Stop(Option<String>),
}

/// An added function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Added {
    /// A support function.
    Support(u32),
    /// Has the type of a support function, and only traps.
    Trap(u32),
    Text(String),
    PointerKind,
    /// Has the type of this import of the original, and calls a support function.
    Adapter {
        import: u32,
        to: u32,
    },
    /// Replaces this import, and ends the run.
    Stop {
        import: u32,
    },
    /// Replaces an exported function of the original.
    Main(u32),
}

/// What an imported function of the support refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// An import of the support, by its function index there.
    Raw(u32),
    /// A function of the original.
    Guest(u32),
    Added(Added),
}

/// The support module.
pub(super) struct Support {
    sections: Sections<'static>,
}

impl Support {
    pub(super) fn read() -> Result<Self, Error> {
        Ok(Self { sections: Sections::read(SUPPORT)? })
    }

    /// The support function that replaces an import, of the versions for these tags.
    pub(super) fn find(&self, tags: &[&str], name: &str) -> Option<u32> {
        let tagged = tags.iter().find_map(|tag| self.sections.exported(&format!("{tag}/{name}")));
        tagged.or_else(|| self.sections.exported(name))
    }

    /// The debug name of a function, or a name by which it is exported.
    fn name(&self, function: u32) -> &str {
        let named = self.sections.names.iter().find(|(index, _)| *index == function);
        let mut exports = self.sections.exports.iter();
        let exported = || exports.find(|export| export.index == function).map(|export| export.name);
        named.map(|(_, name)| *name).or_else(exported).unwrap_or_default()
    }

    fn need(&self, tags: &[&str], name: &str) -> Result<u32, Error> {
        self.find(tags, name)
            .ok_or_else(|| Error::Rewrite { message: format!("the support has no `{name}`") })
    }
}

/// Links support functions into the original as `plan` says.
pub(super) fn link(
    wasm: &[u8],
    original: &Sections<'_>,
    support: &Support,
    plan: &Plan<'_>,
) -> Result<Vec<u8>, Error> {
    let mut linker = Linker {
        original,
        support,
        plan,
        added: Vec::new(),
        numbers: HashMap::new(),
        raw: Vec::new(),
        targets: HashMap::new(),
    };
    let made = linker.run(wasm)?;
    Validator::new_with_features(crate::module::features::accepted()).validate_all(&made).map_err(
        |error| Error::Rewrite { message: format!("the linked module is invalid: {error}") },
    )?;
    Ok(made)
}

struct Linker<'a, 'w> {
    original: &'a Sections<'w>,
    support: &'a Support,
    plan: &'a Plan<'a>,
    /// In the order of discovery.
    added: Vec<Added>,
    numbers: HashMap<Added, u32>,
    /// Required imports of the support.
    raw: Vec<u32>,
    /// By required function of the support that is imported.
    targets: HashMap<u32, Target>,
}

impl Linker<'_, '_> {
    fn run(&mut self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let replacements = self.replacements()?;
        let finish = match self.plan.main {
            Some(main) => {
                let finish = self.support.need(&[], "finish")?;
                self.reach(finish)?;
                Some((main, self.add(Added::Main(main)), finish))
            }
            None => None,
        };
        let entry = match self.plan.entry_slot {
            Some(slot) => {
                let enter = self.support.need(&[], "enter")?;
                self.reach(enter)?;
                Some((slot, self.add(Added::Support(enter))))
            }
            None => None,
        };
        // If pages of the support can lie between those of the guest, the guest's memory instructions see only its own
        // pages.
        let takes_pages = self.support.find(&self.plan.tags, "pages");
        let hides_pages = self.plan.tags.contains(&"grow")
            && takes_pages.is_some_and(|pages| self.numbers.contains_key(&Added::Support(pages)));
        let memory = if hides_pages {
            let functions = ["guest.memory.size", "guest.memory.grow"];
            let mut numbers = [0; 2];
            for (number, name) in numbers.iter_mut().zip(functions) {
                let function = self.support.need(&[], name)?;
                self.reach(function)?;
                *number = self.add(Added::Support(function));
            }
            Some(numbers)
        } else {
            None
        };
        self.encode(wasm, &replacements, finish, entry, memory, hides_pages)
    }

    /// The number of the added function that replaces each import of the original, if one does.
    fn replacements(&mut self) -> Result<Vec<Option<u32>>, Error> {
        let mut replacements = Vec::new();
        for (index, _) in self.original.function_imports() {
            replacements.push(match &self.plan.imports[index as usize] {
                Replacement::Import => None,
                Replacement::Support(name) => {
                    let function = self.support.need(&self.plan.tags, name)?;
                    self.reach(function)?;
                    let is_same = self.original.signature(index)?
                        == self.support.sections.signature(function)?;
                    Some(if is_same {
                        self.add(Added::Support(function))
                    } else {
                        self.add(Added::Adapter { import: index, to: function })
                    })
                }
                Replacement::Stop(text) => {
                    if let Some(text) = text {
                        for name in ["fault.begin", "fault.end"] {
                            let function = self.support.need(&[], name)?;
                            self.reach(function)?;
                        }
                        self.add(Added::Text(text.clone()));
                    }
                    Some(self.add(Added::Stop { import: index }))
                }
            });
        }
        Ok(replacements)
    }

    fn add(&mut self, added: Added) -> u32 {
        if let Some(number) = self.numbers.get(&added) {
            return *number;
        }
        let number = self.added.len() as u32;
        self.added.push(added.clone());
        self.numbers.insert(added, number);
        number
    }

    /// Adds a support function, and everything that it can reach.
    fn reach(&mut self, function: u32) -> Result<(), Error> {
        let mut open = vec![function];
        while let Some(function) = open.pop() {
            if self.targets.contains_key(&function) {
                continue;
            }
            let target = self.resolve(function)?;
            self.targets.insert(function, target.clone());
            match target {
                Target::Raw(import) => {
                    if !self.raw.contains(&import) {
                        self.raw.push(import);
                    }
                }
                Target::Guest(_) => {}
                Target::Added(added) => {
                    if let Added::Support(own) = added
                        && let Some(body) = self.support.sections.body(own)
                    {
                        let mut reader = body.get_operators_reader()?;
                        let mut called = Vec::new();
                        while !reader.eof() {
                            if let Operator::Call { function_index } = reader.read()? {
                                called.push(function_index);
                            }
                        }
                        // In the order of the text, so that the output is easy to read.
                        open.extend(called.into_iter().rev());
                        if own != function {
                            open.push(own);
                        }
                    }
                    self.add(added);
                }
            }
        }
        Ok(())
    }

    /// What a function of the support refers to, by its import name.
    fn resolve(&self, function: u32) -> Result<Target, Error> {
        let sections = &self.support.sections;
        let Some((_, import)) = sections.function_imports().find(|(index, _)| *index == function)
        else {
            let is_fault = sections.exports.iter().any(|export| {
                export.index == function
                    && export.kind == wasmparser::ExternalKind::Func
                    && export.name.starts_with("fault.")
            });
            let traps = is_fault && self.plan.tags.contains(&"guarded");
            return Ok(Target::Added(if traps {
                Added::Trap(function)
            } else {
                Added::Support(function)
            }));
        };
        Ok(match (import.module, import.name) {
            ("text", text) => Target::Added(Added::Text(text.to_owned())),
            ("link", POINTER_KIND) => Target::Added(Added::PointerKind),
            ("link", name) => {
                Target::Added(Added::Support(self.support.need(&self.plan.tags, name)?))
            }
            ("guest", "malloc") => match self.plan.malloc {
                Some((malloc, _)) => Target::Guest(malloc),
                None => Target::Added(Added::Support(self.support.need(&[], "none.malloc")?)),
            },
            ("guest", "free") => match self.plan.malloc {
                Some((_, free)) => Target::Guest(free),
                None => Target::Added(Added::Support(self.support.need(&[], "none.free")?)),
            },
            _ => Target::Raw(function),
        })
    }
}

fn reencoded(error: reencode::Error) -> Error {
    Error::Rewrite { message: error.to_string() }
}

/// The body of a function without locals.
pub(super) fn function(instructions: &[Instruction<'_>]) -> Function {
    let mut function = Function::new([]);
    for instruction in instructions {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    function
}
