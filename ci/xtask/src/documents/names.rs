//! Identifiers in code spans of a document, `Type::member` and `snake_case`: each must exist in the code.

use std::collections::HashSet;

use super::markdown::Document;

/// Extensions of files whose identifiers are collected.
const ENDINGS: [&str; 12] =
    [".rs", ".js", ".ts", ".wat", ".lua", ".c", ".cpp", ".h", ".json", ".toml", ".yaml", ".sh"];

/// Suffixes that the metrics library adds to names: the unit, and `_total` for counters.
const METRIC_ENDINGS: [&str; 3] = ["_total", "_seconds", "_bytes"];

/// Every word of the code that may be an identifier.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Collects the words of a file, if it is code.
    pub(super) fn add(&mut self, path: &str, text: &str) {
        if ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            self.0.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }

    /// Identifiers in a document that do not exist in the code.
    pub(super) fn check(&self, document: &Document) -> Vec<String> {
        let spans = document.spans.iter();
        let missing = spans.filter_map(|span| Some((span, self.missing(&span.text)?)));
        missing
            .map(|(span, name)| {
                format!("{}:{}: `{name}` does not exist in the code", document.path, span.line)
            })
            .collect()
    }

    fn missing<'a>(&self, span: &'a str) -> Option<&'a str> {
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let parts: Vec<&str> = span.split("::").collect();
        let is_identifier = parts.iter().all(|part| is_name(part));
        let is_snake_case = span.contains('_')
            && span.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_identifier || (parts.len() == 1 && !is_snake_case) {
            return None;
        }
        if parts[0] == "clippy" {
            return None;
        }
        let without_ending = |part: &str| {
            METRIC_ENDINGS
                .iter()
                .find_map(|ending| part.strip_suffix(ending).map(|name| self.0.contains(name)))
        };
        let is_known = |part: &str| self.0.contains(part) || without_ending(part) == Some(true);
        parts.into_iter().find(|part| !is_known(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_code_has_is_found() {
        let mut names = Names::default();
        names.add("a.rs", "impl Guest { fn begin(&self) { take_dirty() } } const CALLS: &str = \"calls_started\";");
        names.add("a.md", "Veil");
        let problems = |text: &str| names.check(&Document::parse("a.md", text)).join("\n");
        let good = "`Guest::begin`, `take_dirty`, `WebAssembly`, `a_b.c`, `NOT_OURS`, `a::`, `clippy::all`, `calls_started_total`";
        assert_eq!(problems(good), "");
        assert_eq!(problems("\n`Guest::handle`"), "a.md:2: `handle` does not exist in the code");
        assert_eq!(problems("`Veil::begin` `put_back`").lines().count(), 2);
    }
}
