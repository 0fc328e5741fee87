//! The measured programs; their sources are in `functions`.

use std::fmt;

/// Which of a program's functions can block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Only `main`.
    Main,
    /// A callback at the bottom of every call stack.
    Deep,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Main => "A",
            Form::Deep => "B",
        })
    }
}

/// One program in one form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) program: &'static str,
    pub(crate) form: Form,
    /// File name without extension.
    pub(crate) file: &'static str,
    /// Number of rounds that take about a second in V8.
    pub(crate) rounds: u32,
}

/// The program without library code, in form A only.
pub(crate) const KERNEL: &str = "fannkuch";

const fn workload(program: &'static str, form: Form, file: &'static str, rounds: u32) -> Workload {
    Workload { program, form, file, rounds }
}

pub(crate) const WORKLOADS: [Workload; 7] = [
    workload("SQLite", Form::Main, "sqlite_main", 25),
    workload("SQLite", Form::Deep, "sqlite_deep", 25),
    workload("Lua", Form::Main, "lua_main", 40),
    workload("Lua", Form::Deep, "lua_deep", 40),
    workload("serde_json", Form::Main, "json_main", 60),
    workload("serde_json", Form::Deep, "json_deep", 60),
    workload(KERNEL, Form::Main, "fannkuch", 5),
];

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.form)
    }
}
