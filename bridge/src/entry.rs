//! What the host calls of a function, and in which order: the rules, once for the rewriter, which settles them when it builds, and
//! for the runtime, which settles them for an original that was never built.
//!
//! `rewriter/src/stages/normalise.rs` and `constructors.rs` say why the rules are safe. How a module is read is each side's own matter:
//! they show it as a [`ModuleView`].

use std::collections::BTreeSet;

/// The entry of a WASI command.
pub const START: &str = "_start";

/// The entry of a binary of the 2019/20 toolchain.
pub const MAIN: &str = "main";

/// Runs before either entry: what it makes is there for it.
pub const ZYGOTE: &str = "_faasm_zygote";

/// Name that the linker gives the function which runs all constructors.
pub const CONSTRUCTORS: &str = "__wasm_call_ctors";

/// What a linker appends to the name of a function that runs constructors and destructors around another.
pub const WRAPPED: &str = ".command_export";

/// How deep below an entry the call of the constructors may lie: `_start` → a start file's function → its initialiser.
pub const DEPTH: usize = 3;

/// A module, as far as these rules look at it.
pub trait ModuleView {
    /// Names a function.
    type Function: Copy + Ord;
    /// Why code cannot be read.
    type Error;

    /// The function exported under a name.
    fn exported(&self, name: &str) -> Option<Self::Function>;

    /// The names of all exports.
    fn exports(&self) -> impl Iterator<Item = &str>;

    /// The names of the imports from `env`.
    fn imports_of_env(&self) -> impl Iterator<Item = &str>;

    /// How many parameters and results a function has, where all of them are `i32`.
    fn words(&self, function: Self::Function) -> Option<(usize, usize)>;

    /// The functions that one calls directly, in any order; none of an import.
    ///
    /// # Errors
    /// When its code cannot be read.
    fn callees(&self, function: Self::Function) -> Result<Vec<Self::Function>, Self::Error>;
}

/// The export that is the program, where there is one: [`START`], else [`MAIN`].
pub fn entry_name(module: &impl ModuleView) -> &'static str {
    if module.exported(START).is_some() { START } else { MAIN }
}

/// The signatures that an entry or the zygote may have, as numbers of `i32` parameters and results, and how a message shows them.
pub fn signatures_of(name: &str) -> (&'static [(usize, usize)], &'static str) {
    match name {
        START => (&[(0, 0)], "() -> nothing"),
        ZYGOTE => (&[(0, 1), (0, 0)], "() -> i32"),
        _ => (&[(0, 1), (0, 0), (2, 1)], "() -> i32 or (i32, i32) -> i32"),
    }
}

/// Whether the host can call an entry or the zygote: `_start` takes and returns nothing, `main` may have `argc`, `argv` and a
/// return value, the zygote a return value.
pub fn can_be_called<M: ModuleView>(module: &M, name: &str, function: M::Function) -> bool {
    module.words(function).is_some_and(|words| signatures_of(name).0.contains(&words))
}

/// Whether a function has the signature of constructors, which take and return nothing.
pub fn is_plain<M: ModuleView>(module: &M, function: M::Function) -> bool {
    module.words(function) == Some((0, 0))
}

/// Whether a module is Emscripten's, by its stack functions, which it exports for its own JavaScript, or by its imports. Its start
/// file always calls the constructors, and its optimiser may then inline them there, where no call shows any more.
pub fn is_emscripten(module: &impl ModuleView) -> bool {
    let is_its = |name: &str| {
        name == "stackSave" || name.starts_with("emscripten_") || name.starts_with("_emscripten_")
    };
    module.exports().any(is_its) || module.imports_of_env().any(is_its)
}

/// Whether calling `from` calls `target`, directly or by what it calls, down to [`DEPTH`] calls. The body of each function is read
/// once at most, however many calls there are.
///
/// # Errors
/// When code on the way cannot be read.
pub fn reaches<M: ModuleView>(
    module: &M,
    from: M::Function,
    target: M::Function,
) -> Result<bool, M::Error> {
    let (mut seen, mut next) = (BTreeSet::from([from]), vec![from]);
    for _ in 0..DEPTH {
        for caller in std::mem::take(&mut next) {
            for callee in module.callees(caller)? {
                if callee == target {
                    return Ok(true);
                }
                if seen.insert(callee) {
                    next.push(callee);
                }
            }
        }
    }
    Ok(false)
}

/// What is known of a function that the order of its calls depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Export of the module's start function, which cannot wait during instantiation.
    pub start: Option<String>,
    /// Export of the constructors, where the start function does not run them.
    pub constructors: Option<String>,
    /// Whether there is a [`ZYGOTE`].
    pub has_zygote: bool,
    /// Export of the entry.
    pub entry: String,
    /// Whether the entry runs the constructors itself.
    pub entry_constructs: bool,
}

/// The exports to call, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Of a run of the function.
    pub main: Vec<String>,
    /// Before a function pointer is called in a fresh instance.
    pub before_pointer: Vec<String>,
}

impl Parts {
    /// The zygote needs the constructors, so with one they run before the entry in any case.
    pub fn order(self) -> Order {
        let Self { start, constructors, has_zygote, entry, entry_constructs } = self;
        let mut main: Vec<String> = start.into_iter().collect();
        let mut before_pointer = main.clone();
        before_pointer.extend(constructors);
        if has_zygote || !entry_constructs {
            main.clone_from(&before_pointer);
        }
        if has_zygote {
            main.push(ZYGOTE.to_owned());
            before_pointer.push(ZYGOTE.to_owned());
        }
        main.push(entry);
        Order { main, before_pointer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    /// Functions by number: what each calls, and how often one was read.
    struct Calls(Vec<Vec<usize>>, Cell<usize>);

    impl ModuleView for Calls {
        type Function = usize;
        type Error = Infallible;

        fn exported(&self, _: &str) -> Option<usize> {
            None
        }

        fn exports(&self) -> impl Iterator<Item = &str> {
            [].into_iter()
        }

        fn imports_of_env(&self) -> impl Iterator<Item = &str> {
            [].into_iter()
        }

        fn words(&self, _: usize) -> Option<(usize, usize)> {
            None
        }

        fn callees(&self, function: usize) -> Result<Vec<usize>, Infallible> {
            self.1.set(self.1.get() + 1);
            Ok(self.0[function].clone())
        }
    }

    /// The depth bounds how far it looks, and the number of functions how long, whatever the number of calls.
    #[test]
    fn looking_for_the_constructors_reads_each_body_once() {
        let times = |calls: &[usize]| calls.repeat(2000);
        let start = times(&[1, 2, 0]);
        // By calls instead of functions it would be 8e9.
        let module = Calls(
            vec![start, times(&[2, 1]), [times(&[1]), vec![3]].concat(), vec![4], vec![]],
            Cell::new(0),
        );
        assert_eq!(reaches(&module, 0, 4), Ok(true));
        assert_eq!(module.1.get(), 4);
        // One call deeper.
        let deeper = Calls(vec![vec![1], vec![2], vec![3], vec![4], vec![]], Cell::new(0));
        assert_eq!(reaches(&deeper, 0, 3), Ok(true));
        assert_eq!(reaches(&deeper, 0, 4), Ok(false));
        assert_eq!(reaches(&Calls(vec![vec![0]], Cell::new(0)), 0, 0), Ok(true), "itself");
    }

    #[test]
    fn constructors_run_once_and_before_the_zygote() {
        let parts = |has_zygote, entry_constructs| Parts {
            start: Some("s".into()),
            constructors: Some("c".into()),
            has_zygote,
            entry: START.into(),
            entry_constructs,
        };
        let order = |parts: Parts| {
            let order = parts.order();
            (order.main.join(" "), order.before_pointer.join(" "))
        };
        let expected = |main: &str, pointer: &str| (main.to_owned(), pointer.to_owned());
        assert_eq!(order(parts(false, true)), expected("s _start", "s c"));
        assert_eq!(order(parts(false, false)), expected("s c _start", "s c"));
        let with_zygote = expected("s c _faasm_zygote _start", "s c _faasm_zygote");
        assert_eq!(order(parts(true, false)), with_zygote);
        assert_eq!(order(parts(true, true)), with_zygote);
    }
}
