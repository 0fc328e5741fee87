//! A case: a function with its input and initial state, and its required result.

use crate::column::is_among;
use crate::outcome::Code;

/// How bytes are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Ignored, because places differ or the bytes do not matter.
    Any,
    Exactly(Vec<u8>),
    /// As text, where `*` matches anything.
    Like(&'static str),
}

/// How a run must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Returns { value: i32, output: Text },
    Fails(Code),
}

/// Content of the cluster before the run. Values and lists belong to one case, shared files to all.
#[derive(Clone, Debug, Default)]
pub struct Before {
    pub values: Vec<(&'static str, Vec<u8>)>,
    pub lists: Vec<(&'static str, Vec<Vec<u8>>)>,
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// Content of the global tier after the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Value(&'static str, Vec<u8>),
    /// The value does not exist.
    Missing(&'static str),
    /// The elements, concatenated.
    List(&'static str, Vec<u8>),
}

/// The required result in a column that cannot run a case as it is.
#[derive(Clone, Debug)]
pub enum Instead {
    /// It fails with this code.
    Fails(Code),
    Returns {
        value: i32,
        output: Text,
    },
    /// It ends as the case requires, but leaves other content in the global tier.
    Leaves(Vec<After>),
    /// The result is not deterministic: the case is not run.
    Anything,
}

/// Columns that cannot run a case as it is.
#[derive(Clone, Debug)]
pub struct Limit {
    pub columns: &'static [&'static str],
    pub instead: Instead,
    /// Whether the final state of the case is compared although the run ends differently.
    pub leaves: bool,
    /// The reason, for people.
    pub reason: &'static str,
}

/// One row of the matrix. Create it with [`case`] or a function like it, and complete it with its methods.
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
    /// Columns that run the case, as [`is_among`] reads them; empty for all.
    pub only: &'static [&'static str],
    /// Columns that cannot run it as it is, and the required result there; the first match applies.
    pub limits: Vec<Limit>,
    /// Whether its calls may take only [`crate::test_bed::SHORT_TIMEOUT`].
    pub short_timeout: bool,
    /// Toolchain that the function needs; without it the case is skipped.
    pub needs: Option<&'static str>,
}

/// A function that must return 0 and leave no state, unless methods require something else.
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
        short_timeout: false,
        needs: None,
    }
}

/// A script of host calls, one per line; see `functions/c/probe.c` for the commands.
pub fn probe(name: &str, script: &[&str]) -> Case {
    case(name, "probe", script.join("\n"))
}

/// A script of file calls, one per line; see `functions/c/files.c` for the commands.
pub fn files(name: &str, script: &[&str]) -> Case {
    case(name, "files", script.join("\n"))
}

impl Case {
    /// Requires this return value.
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

    /// Requires these bytes as output.
    pub fn output(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.output_text(Text::Exactly(bytes.into()))
    }

    /// Requires these lines as output, each with a line feed, as scripts write them.
    pub fn lines(self, lines: &[&str]) -> Self {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.output(text)
    }

    /// Requires an output that matches the pattern, where `*` matches anything.
    pub fn output_like(self, pattern: &'static str) -> Self {
        self.output_text(Text::Like(pattern))
    }

    /// Requires that the run fails with this code.
    pub fn fails(mut self, code: Code) -> Self {
        self.end = End::Fails(code);
        self.stdout = Text::Any;
        self
    }

    /// Requires this text on standard output.
    pub fn stdout(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdout = Text::Exactly(text.into());
        self
    }

    /// Requires standard output to match the pattern, where `*` matches anything.
    pub fn stdout_like(mut self, pattern: &'static str) -> Self {
        self.stdout = Text::Like(pattern);
        self
    }

    /// Requires standard error to match the pattern; otherwise it is not compared.
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

    /// Writes a value to the global tier before the run.
    pub fn with_value(mut self, key: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.before.values.push((key, bytes.into()));
        self
    }

    /// Writes a list to the global tier before the run.
    pub fn with_list(mut self, key: &'static str, elements: &[&[u8]]) -> Self {
        let elements = elements.iter().map(|element| element.to_vec()).collect();
        self.before.lists.push((key, elements));
        self
    }

    /// Adds a shared file of the cluster, which functions read as `faasm://PATH`. No other case may share different
    /// content under the same path.
    pub fn with_file(mut self, path: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.before.files.push((path, bytes.into()));
        self
    }

    /// Requires this value in the global tier after the run.
    pub fn leaves(mut self, key: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.after.push(After::Value(key, bytes.into()));
        self
    }

    /// Requires that the global tier has no such value after the run.
    pub fn leaves_no(mut self, key: &'static str) -> Self {
        self.after.push(After::Missing(key));
        self
    }

    /// Requires this list in the global tier after the run; `bytes` are the concatenated elements.
    pub fn leaves_list(mut self, key: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.after.push(After::List(key, bytes.into()));
        self
    }

    /// Restricts the case to these columns. State the reason where you use it.
    pub fn only(mut self, columns: &'static [&'static str]) -> Self {
        self.only = columns;
        self
    }

    /// Requires this error code in columns that cannot run the case; the matrix shows a limit. `docs/conformance.md`
    /// gives the reason.
    pub fn limit(self, columns: &'static [&'static str], code: Code) -> Self {
        // A function that is not loaded leaves no state.
        let leaves = code != Code::CannotLoad;
        self.limited(Limit { columns, instead: Instead::Fails(code), leaves, reason: "" })
    }

    pub fn limited(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// The requirement for a column: the case itself, or its variant according to a limit, which is returned too.
    pub fn in_column(&self, column: &str) -> (Self, Option<&Limit>) {
        let limit = self.limits.iter().find(|limit| is_among(column, limit.columns));
        let Some(limit) = limit else { return (self.clone(), None) };
        let mut case = self.clone();
        // Standard error up to the failure is not compared.
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

    /// Whether the case runs in a column.
    pub fn is_for(&self, column: &str) -> bool {
        let places_calls = is_among(column, &["pool", "auto"]);
        (self.only.is_empty() || is_among(column, self.only)) && (self.chains() || !places_calls)
    }

    /// Whether its input is a script of commands.
    pub fn is_script(&self) -> bool {
        ["probe", "files"].contains(&self.function)
    }

    /// All words of its input, including scripts for chained calls.
    pub fn words(&self) -> Vec<String> {
        // Scripts for chained calls escape their line feeds.
        let text = String::from_utf8_lossy(&self.input).replace("\\n", "\n");
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.map(str::to_owned).collect()
    }

    /// The commands of its script, without those of scripts for chained calls.
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

    /// Whether its function may chain calls.
    fn chains(&self) -> bool {
        let groups = ["chain/", "cpp/", "exceptions/", "start/"];
        groups.iter().any(|group| self.name.starts_with(group))
            || self.input.windows(5).any(|word| word == b"chain")
    }

    /// Limits its calls to [`crate::test_bed::SHORT_TIMEOUT`].
    pub fn short_timeout(mut self) -> Self {
        self.short_timeout = true;
        self
    }

    /// Names a toolchain that not every machine has and that its function needs.
    pub fn needs(mut self, what: &'static str) -> Self {
        self.needs = Some(what);
        self
    }
}
