//! A case: a function with its input and surroundings, and what must come of it.

use crate::column::is_among;
use crate::outcome::Code;

/// How bytes are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Not at all: places differ, or it does not matter.
    Any,
    Exactly(Vec<u8>),
    /// As text, where `*` stands for anything.
    Like(&'static str),
}

/// How a run must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Returns { value: i32, output: Text },
    Fails(Code),
}

/// What is in the cluster before the run. Values and lists are the case's own, shared files are everybody's.
#[derive(Clone, Debug, Default)]
pub struct Before {
    pub values: Vec<(&'static str, Vec<u8>)>,
    pub lists: Vec<(&'static str, Vec<Vec<u8>>)>,
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// What is in the global tier after the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Value(&'static str, Vec<u8>),
    /// There is no such value.
    Missing(&'static str),
    /// Elements one after the other.
    List(&'static str, Vec<u8>),
}

/// What a column that cannot run a case must give instead.
#[derive(Clone, Debug)]
pub enum Instead {
    /// It ends with this code.
    Fails(Code),
    Returns {
        value: i32,
        output: Text,
    },
    /// It ends as the case says, and leaves something else.
    Leaves(Vec<After>),
    /// What it gives depends on chance: the case is not run.
    Anything,
}

/// Columns that cannot run a case as it is.
#[derive(Clone, Debug)]
pub struct Limit {
    pub columns: &'static [&'static str],
    pub instead: Instead,
    /// Whether what the case says it leaves is compared where it ends in another way.
    pub leaves: bool,
    /// Why, for people.
    pub reason: &'static str,
}

/// One row of the matrix. Made by [`case`] or a function beside it, and completed by its methods.
#[derive(Clone, Debug)]
pub struct Case {
    /// `group/what-it-shows`; unique.
    pub name: String,
    pub function: &'static str,
    pub input: Vec<u8>,
    pub args: Vec<&'static str>,
    pub env: Vec<(&'static str, &'static str)>,
    pub before: Before,
    pub end: End,
    pub stdout: Text,
    pub stderr: Text,
    pub after: Vec<After>,
    /// The columns it makes sense in, as [`is_among`] reads them; empty for all.
    pub only: &'static [&'static str],
    /// Columns that cannot run it, and what they must give instead; the first that fits counts.
    pub limits: Vec<Limit>,
    /// Whether its calls may take only [`crate::test_bed::SHORT_TIMEOUT`].
    pub impatient: bool,
    /// What has to be installed to build the function; without it the case is skipped.
    pub needs: Option<&'static str>,
}

/// A function that returns 0 and leaves no trace, until the methods say otherwise.
pub fn case(name: &str, function: &'static str, input: impl Into<Vec<u8>>) -> Case {
    Case {
        name: name.to_owned(),
        function,
        input: input.into(),
        args: Vec::new(),
        env: Vec::new(),
        before: Before::default(),
        end: End::Returns { value: 0, output: Text::Exactly(Vec::new()) },
        stdout: Text::Exactly(Vec::new()),
        stderr: Text::Any,
        after: Vec::new(),
        only: &[],
        limits: Vec::new(),
        impatient: false,
        needs: None,
    }
}

/// A script of host calls, one in a line; see `functions/c/probe.c` for the commands.
pub fn probe(name: &str, script: &[&str]) -> Case {
    case(name, "probe", script.join("\n"))
}

/// A script of file calls, one in a line; see `functions/c/files.c` for the commands.
pub fn files(name: &str, script: &[&str]) -> Case {
    case(name, "files", script.join("\n"))
}

impl Case {
    /// It must return this.
    pub fn returns(mut self, wanted: i32) -> Self {
        match &mut self.end {
            End::Returns { value, .. } => *value = wanted,
            End::Fails(_) => self.end = End::Returns { value: wanted, output: Text::Any },
        }
        self
    }

    fn output_text(mut self, text: Text) -> Self {
        if let End::Returns { output, .. } = &mut self.end {
            *output = text;
        }
        self
    }

    /// Its output must be these bytes.
    pub fn output(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.output_text(Text::Exactly(bytes.into()))
    }

    /// Its output must be these lines, each with its end: what a script gives.
    pub fn lines(self, lines: &[&str]) -> Self {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.output(text)
    }

    /// Its output must be like this, where `*` stands for anything.
    pub fn output_like(self, pattern: &'static str) -> Self {
        self.output_text(Text::Like(pattern))
    }

    /// It must not return, but end with this code.
    pub fn fails(mut self, code: Code) -> Self {
        self.end = End::Fails(code);
        self.stdout = Text::Any;
        self
    }

    /// What it prints.
    pub fn stdout(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdout = Text::Exactly(text.into());
        self
    }

    /// What it prints must be like this, where `*` stands for anything.
    pub fn stdout_like(mut self, pattern: &'static str) -> Self {
        self.stdout = Text::Like(pattern);
        self
    }

    /// What it prints to standard error, which is not looked at otherwise.
    pub fn stderr_like(mut self, pattern: &'static str) -> Self {
        self.stderr = Text::Like(pattern);
        self
    }

    pub fn args(mut self, args: &[&'static str]) -> Self {
        self.args = args.to_vec();
        self
    }

    pub fn env(mut self, env: &[(&'static str, &'static str)]) -> Self {
        self.env = env.to_vec();
        self
    }

    /// A value of the global tier before the run.
    pub fn with_value(mut self, key: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.before.values.push((key, bytes.into()));
        self
    }

    /// A list of the global tier before the run.
    pub fn with_list(mut self, key: &'static str, elements: &[&[u8]]) -> Self {
        let elements = elements.iter().map(|element| element.to_vec()).collect();
        self.before.lists.push((key, elements));
        self
    }

    /// A file that the cluster shares, which functions read as `faasm://PATH`. No other case may share another one under
    /// the same path.
    pub fn with_file(mut self, path: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.before.files.push((path, bytes.into()));
        self
    }

    /// The global tier has this value after the run.
    pub fn leaves(mut self, key: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.after.push(After::Value(key, bytes.into()));
        self
    }

    /// The global tier has no such value after the run.
    pub fn leaves_no(mut self, key: &'static str) -> Self {
        self.after.push(After::Missing(key));
        self
    }

    /// The global tier has this list after the run; elements one after the other.
    pub fn leaves_list(mut self, key: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.after.push(After::List(key, bytes.into()));
        self
    }

    /// It runs only in these columns. Say why where you use it.
    pub fn only(mut self, columns: &'static [&'static str]) -> Self {
        self.only = columns;
        self
    }

    /// These columns cannot run it, and must say so with this code; the matrix shows it as a limit. `docs/conformance.md` says why.
    pub fn limit(self, columns: &'static [&'static str], code: Code) -> Self {
        // What is not loaded leaves nothing.
        let leaves = code != Code::CannotLoad;
        self.limited(Limit { columns, instead: Instead::Fails(code), leaves, reason: "" })
    }

    pub fn limited(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// What is asked of a column: the case itself, or what its limit says, which is given with it.
    pub fn in_column(&self, column: &str) -> (Self, Option<&Limit>) {
        let limit = self.limits.iter().find(|limit| is_among(column, limit.columns));
        let Some(limit) = limit else { return (self.clone(), None) };
        let mut case = self.clone();
        // What it prints until then is its own affair.
        case.stderr = Text::Any;
        match &limit.instead {
            Instead::Fails(code) => case = case.fails(*code),
            Instead::Returns { value, output } => {
                case.stdout = Text::Any;
                case.end = End::Returns { value: *value, output: output.clone() };
            }
            Instead::Leaves(after) => case.after.clone_from(after),
            Instead::Anything => {}
        }
        if !limit.leaves {
            case.after.clear();
        }
        (case, Some(limit))
    }

    /// Whether it makes sense in a column.
    pub fn is_for(&self, column: &str) -> bool {
        let places_calls = is_among(column, &["pool", "auto"]);
        (self.only.is_empty() || is_among(column, self.only)) && (self.chains() || !places_calls)
    }

    /// Whether its input is a script of commands.
    pub fn is_script(&self) -> bool {
        ["probe", "files"].contains(&self.function)
    }

    /// All words of its input, those in scripts for chained calls included.
    pub fn words(&self) -> Vec<String> {
        // As scripts for chained calls have it.
        let text = String::from_utf8_lossy(&self.input).replace("\\n", "\n");
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.map(str::to_owned).collect()
    }

    /// The commands of its script, those of scripts for chained calls aside.
    pub fn commands(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.input);
        let command = |line: &str| {
            let mut words = line.split_whitespace();
            match words.next() {
                // `repeat TIMES COMMAND`
                Some("repeat") => words.nth(1).map(str::to_owned),
                word => word.map(str::to_owned),
            }
        };
        text.lines().filter_map(command).collect()
    }

    /// Whether calls of its function are in question.
    fn chains(&self) -> bool {
        let groups = ["chain/", "cpp/", "exceptions/", "start/"];
        groups.iter().any(|group| self.name.starts_with(group))
            || self.input.windows(5).any(|word| word == b"chain")
    }

    /// Its calls may take only [`crate::test_bed::SHORT_TIMEOUT`].
    pub fn impatient(mut self) -> Self {
        self.impatient = true;
        self
    }

    /// Its function is built with something that is not everywhere.
    pub fn needs(mut self, what: &'static str) -> Self {
        self.needs = Some(what);
        self
    }
}
