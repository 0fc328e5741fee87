//! The page of each error code: its text, which `explain` prints, and its address, with which messages end.
//!
//! Not compiled for wasm: the bundle of a web page carries codes only.

use crate::error_code::{BuildCode, ErrorCode};
use std::fmt::Display;

/// Where the pages are published, up to the code.
const ADDRESS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/errors/");

/// Every code with the text of its page: those of runs, then those of builds.
pub fn pages() -> impl Iterator<Item = (&'static str, &'static str)> {
    let runs = ErrorCode::ALL.iter().map(|code| (code.as_str(), code.page()));
    runs.chain(BuildCode::ALL.iter().map(|code| (code.as_str(), code.page())))
}

/// The text of a code's page, or an error message that lists the codes.
pub fn explain(code: &str) -> Result<&'static str, String> {
    let code = code.trim();
    if let Some((_, page)) = pages().find(|(known, _)| *known == code) {
        return Ok(page);
    }
    let codes: Vec<&str> = pages().map(|(known, _)| known).collect();
    Err(format!("there is no error code `{code}`; give one of: {}", codes.join(", ")))
}

/// The address of a code's page, for codes that have one.
pub fn link(code: &str) -> Option<String> {
    pages().any(|(known, _)| known == code).then(|| format!("{ADDRESS}{code}.md"))
}

/// A message for people, which ends with the address of its code's page.
pub fn with_link(message: impl Display, code: &str) -> String {
    match link(code) {
        Some(link) => format!("{message}; see {link}"),
        None => message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// What each page answers, in this order.
    const SECTIONS: [&str; 3] =
        ["\n## What happened\n", "\n## How to fix it\n", "\n## Common causes\n"];

    fn codes() -> Vec<&'static str> {
        pages().map(|(code, _)| code).collect()
    }

    #[test]
    fn codes_have_pages_and_pages_have_codes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names =
            names.map(|name| name.into_string().unwrap()).filter(|name| name != "README.md");
        let found: BTreeSet<String> = names.collect();
        let expected: BTreeSet<String> = codes().iter().map(|code| format!("{code}.md")).collect();
        let without_page: Vec<_> = expected.difference(&found).collect();
        assert!(
            without_page.is_empty(),
            "codes whose page is missing in docs/errors: {without_page:?}"
        );
        let without_code: Vec<_> = found.difference(&expected).collect();
        assert!(without_code.is_empty(), "pages in docs/errors that no code has: {without_code:?}");
    }

    #[test]
    fn every_page_says_what_happened_how_to_fix_it_and_why() {
        for (code, page) in pages() {
            assert!(page.starts_with(&format!("# `{code}`\n")), "{code}: the heading");
            let places: Vec<_> = SECTIONS.iter().map(|section| page.find(section)).collect();
            assert!(
                places.iter().all(Option::is_some) && places.is_sorted(),
                "{code}: the sections {SECTIONS:?}"
            );
        }
    }

    #[test]
    fn the_index_lists_every_code_with_its_meaning() {
        let index = include_str!("../../docs/errors/README.md");
        let runs = ErrorCode::ALL.iter().map(|code| (code.as_str(), code.meaning()));
        let builds = BuildCode::ALL.iter().map(|code| (code.as_str(), code.meaning()));
        for (code, meaning) in runs.chain(builds) {
            let row = format!("| [`{code}`]({code}.md) | {meaning} |");
            assert!(index.contains(&row), "docs/errors/README.md lacks the row\n{row}");
        }
    }

    #[test]
    fn codes_are_unique_and_in_order() {
        for list in [
            ErrorCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
            BuildCode::ALL.iter().map(|code| code.as_str()).collect(),
        ] {
            assert!(list.is_sorted(), "{list:?}");
        }
        assert_eq!(codes().iter().collect::<BTreeSet<_>>().len(), codes().len());
        assert!(
            codes()
                .iter()
                .all(|code| ErrorCode::named(code).as_str() == *code || explain(code).is_ok())
        );
        assert_eq!(ErrorCode::named("of-a-later-version"), ErrorCode::Internal);
    }

    #[test]
    fn a_message_ends_with_the_address_of_its_page() {
        let expected = "trap: unreachable; see https://github.com/faasm/faasm-browser/blob/main/docs/errors/trap.md";
        assert_eq!(with_link("trap: unreachable", "trap"), expected);
        assert_eq!(
            with_link("a code of another version", "unheard-of"),
            "a code of another version"
        );
    }

    #[test]
    fn explain_prints_the_page_or_lists_the_codes() {
        assert!(explain("trap").unwrap().starts_with("# `trap`\n"));
        let error = explain("trp").unwrap_err();
        assert!(error.contains("no error code `trp`") && error.contains("timeout"), "{error}");
    }
}
