//! Paths of the checkout in code spans of a document: each must exist.
//!
//! A span is a path if it starts with a folder of the root, or has the extension of a source file: `store/laws.rs`
//! stands for any file whose path ends like this. `*` matches anything except a slash, as does a name in capitals
//! (`wat/NAME.wat`), and `{a,b}` stands for both alternatives.

use std::collections::BTreeSet;

use super::markdown::Document;

/// Extensions of files that must be in the checkout, even without a folder in the path.
const SOURCES: [&str; 3] = [".rs", ".lua", ".wat"];

/// Extensions of files that must be in the checkout if the path has a folder.
const OTHERS: [&str; 6] = [".js", ".ts", ".md", ".toml", ".yaml", ".cpp"];

/// All paths of the checkout.
pub(super) struct Tree<'a> {
    files: Vec<&'a str>,
    folders: BTreeSet<&'a str>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(files: impl Iterator<Item = &'a str>) -> Self {
        let files: Vec<&str> = files.collect();
        let ends = |file: &'a str| file.match_indices('/').map(move |(at, _)| &file[..at]);
        let folders = files.iter().flat_map(|file| ends(file)).collect();
        Self { files, folders }
    }

    /// Whether a file or folder with this path exists.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.folders.contains(path) || self.files.contains(&path)
    }

    /// Paths in a document that do not exist.
    pub(super) fn check(&self, document: &Document) -> Vec<String> {
        let spans = document.spans.iter();
        let missing = spans.filter(|span| self.is_missing(&span.text));
        missing
            .map(|span| format!("{}:{}: `{}` does not exist", document.path, span.line, span.text))
            .collect()
    }

    fn is_missing(&self, span: &str) -> bool {
        let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./*{},".contains(c);
        if span.is_empty()
            || !span.chars().all(is_path)
            || span.starts_with(['/', '-'])
            || span.contains("..")
        {
            return false;
        }
        let path = span.trim_end_matches('/');
        let of_root = path.split_once('/').is_some_and(|(first, _)| self.folders.contains(first));
        let is_source = |endings: &[&str]| {
            endings.iter().any(|ending| path.len() > ending.len() && path.ends_with(ending))
        };
        let by_its_end = is_source(&SOURCES) || path.contains('/') && is_source(&OTHERS);
        if !of_root && !by_its_end {
            return false;
        }
        let found = |path: &str| {
            let exactly = |known: &&str| matches(path, known);
            let at_the_end = |known: &&str| {
                matches(path, known)
                    || known.match_indices('/').any(|(at, _)| matches(path, &known[at + 1..]))
            };
            match by_its_end {
                true => self.files.iter().any(at_the_end),
                false => self.files.iter().any(exactly) || self.folders.iter().any(exactly),
            }
        };
        !expand(path).iter().all(|path| found(path) || found(&placeholders(path)))
    }
}

/// The paths that a pattern with braces stands for.
fn expand(pattern: &str) -> Vec<String> {
    let parts =
        pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (choices, after))) = parts else { return vec![pattern.to_owned()] };
    choices.split(',').flat_map(|choice| expand(&format!("{before}{choice}{after}"))).collect()
}

/// A path with `*` instead of names in capitals.
fn placeholders(path: &str) -> String {
    let part = |part: &str| {
        let (stem, ending) = part.find('.').map_or((part, ""), |at| part.split_at(at));
        let is_placeholder = stem.len() > 1 && stem.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_placeholder { format!("*{ending}") } else { part.to_owned() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Whether a path matches the pattern, in which `*` is anything except a slash.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == path };
    let Some(rest) = path.strip_prefix(before) else { return false };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.take_while(|at| !rest[..*at].contains('/')).any(|at| matches(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_is_a_path_has_to_exist() {
        let tree = Tree::new(
            ["ci/xtask/src/main.rs", "docs/bench-a.md", "server/src/store/laws.rs"].into_iter(),
        );
        for there in [
            "ci/xtask/src",
            "ci/xtask/src/",
            "ci/xtask/src/main.rs",
            "store/laws.rs",
            "laws.rs",
            "docs/bench-*.md",
            "docs/NAME.md",
            "server/src/{store}",
            // Not paths of the checkout.
            "dist/npm",
            "/f/USER/FUNCTION",
            "NAME.json",
            "a b/c.rs",
            "--for",
            "../x.rs",
            "key=a/b.rs",
        ] {
            assert!(!tree.is_missing(there), "{there}");
        }
        for missing in [
            "ci/lib",
            "ci/xtask/src/lib.rs",
            "src/laws.rs",
            "aws.rs",
            "docs/wire-*.md",
            "server/src/{store,net}",
            "runtime/host.js",
        ] {
            assert!(tree.is_missing(missing), "{missing}");
        }
        let document = Document::parse("README.md", "\nSee `ci/lib`.\n");
        assert_eq!(tree.check(&document), ["README.md:2: `ci/lib` does not exist"]);
    }
}
