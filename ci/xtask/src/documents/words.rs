//! Replaced words, which must not return.

use anyhow::{Context as _, Result, ensure};

/// The list: `WORD → REPLACEMENT` or `WORD @ FOLDER → REPLACEMENT` on each line.
pub(super) const LIST: &str = "ci/xtask/removed-words.txt";

/// Extensions of the files that are checked.
const ENDINGS: [&str; 12] =
    [".rs", ".md", ".js", ".ts", ".toml", ".wat", ".lua", ".html", ".yaml", ".yml", ".c", ".cpp"];

/// Files that may contain the words: the list, and those that describe the past.
const EXEMPT: [&str; 2] = [LIST, super::HISTORY];

struct Removed {
    word: String,
    /// The folder or file in which the word is forbidden.
    folder: String,
    replacement: String,
}

/// The list of removed words.
pub(super) struct Words(Vec<Removed>);

impl Words {
    pub(super) fn parse(list: &str) -> Result<Words> {
        let lines = list.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let rows = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let removed = rows.map(|(number, row)| {
            let context = || format!("{LIST}:{number}: write it as `WORD → REPLACEMENT` or `WORD @ FOLDER → REPLACEMENT`");
            let (word, replacement) = row.split_once('→').with_context(context)?;
            let (word, folder) = word.split_once(" @ ").unwrap_or((word, ""));
            let [word, folder, replacement] = [word, folder, replacement].map(|part| part.trim().to_owned());
            ensure!(!word.is_empty() && !replacement.is_empty(), context());
            Ok(Removed { word, folder, replacement })
        });
        removed.collect::<Result<_>>().map(Words)
    }

    /// Whether a file is checked.
    pub(super) fn apply_to(&self, path: &str) -> bool {
        !EXEMPT.contains(&path) && ENDINGS.iter().any(|ending| path.ends_with(ending))
    }

    /// Occurrences of the words in a file.
    pub(super) fn check(&self, path: &str, text: &str) -> Vec<String> {
        let here: Vec<_> = self.0.iter().filter(|removed| is_in(path, &removed.folder)).collect();
        let mut problems = Vec::new();
        for (number, line) in text.lines().enumerate() {
            for removed in here.iter().filter(|removed| has_word(line, &removed.word)) {
                let (word, replacement) = (&removed.word, &removed.replacement);
                problems
                    .push(format!("{path}:{}: `{word}` was removed: {replacement}", number + 1));
            }
        }
        problems
    }
}

/// Whether a path is this folder or file, or below it.
fn is_in(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder.trim_end_matches('/'));
    folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a line contains the word as a whole, not as part of a longer word or identifier.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (begins, ends) = (word.starts_with(is_part), word.ends_with(is_part));
    line.match_indices(word).any(|(at, found)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + found.len()..].chars().next().is_some_and(is_part);
        !(begins && before || ends && after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_word_is_found_where_it_may_not_be() {
        let list = "# a comment\n\nVeil → Outlined\nslot @ server/src/store → database handle\nsign of life → heartbeat\n.veil( → .outline(\n";
        let words = Words::parse(list).unwrap();
        let problems = |path: &str, text: &str| words.check(path, text).join("\n");
        assert_eq!(problems("a.rs", "x\nVeil::over()"), "a.rs:2: `Veil` was removed: Outlined");
        assert_eq!(
            problems("a.md", "no sign of life."),
            "a.md:1: `sign of life` was removed: heartbeat"
        );
        assert!(problems("server/src/store/a.rs", "a slot").contains("database handle"));
        assert!(problems("a.rs", "x.veil(1)").contains("`.veil(`"));
        for (path, text) in [
            ("a.rs", "Veiled, unVeil, Veil_x"),
            ("server/src/storeroom/a.rs", "a slot"),
            ("bridge/a.rs", "a slot"),
        ] {
            assert_eq!(problems(path, text), "");
        }
        assert!(words.apply_to("a.rs") && !words.apply_to("a.wasm") && !words.apply_to(LIST));
    }

    #[test]
    fn a_line_that_is_no_pair_is_an_error() {
        let error = Words::parse("ok → fine\nveil\n").err().unwrap();
        assert!(format!("{error:#}").contains("removed-words.txt:2: write it as"), "{error:#}");
    }
}
