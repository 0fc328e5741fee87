//! Relative links: the target file and heading must exist.

use super::markdown::Document;
use super::paths::Tree;

/// Broken links of a document. `other` returns a document by its path.
pub(super) fn check(
    document: &Document,
    other: impl Fn(&str) -> Option<Document>,
    tree: &Tree<'_>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for link in &document.links {
        let is_elsewhere = link.text.contains("://") || link.text.starts_with("mailto:");
        if is_elsewhere || link.text.starts_with('<') {
            continue;
        }
        let (target, anchor) = match link.text.split_once('#') {
            Some((target, anchor)) => (target, Some(anchor)),
            None => (link.text.as_str(), None),
        };
        let problem = |what: String| format!("{}:{}: {what}", document.path, link.line);
        let path = match target {
            "" => document.path.clone(),
            target => match resolve(&document.path, target) {
                Some(path) if tree.has(&path) => path,
                _ => {
                    problems
                        .push(problem(format!("the link leads to {target}, which does not exist")));
                    continue;
                }
            },
        };
        let Some(anchor) = anchor else { continue };
        let has = |document: &Document| document.anchors.iter().any(|known| known == anchor);
        let found = if path == document.path {
            has(document)
        } else {
            other(&path).is_some_and(|other| has(&other))
        };
        if !found {
            problems.push(problem(format!(
                "the link leads to #{anchor}, and {path} has no such heading"
            )));
        }
    }
    problems
}

/// The path from the root for a path relative to a document's folder; `None` if it is outside of the checkout.
fn resolve(document: &str, target: &str) -> Option<String> {
    let mut folders: Vec<&str> = document.split('/').collect();
    folders.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(folders.pop()?),
            part => folders.push(part),
        }
    }
    Some(folders.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() {
        let tree = Tree::new(["README.md", "docs/a.md", "docs/errors/trap.md"].into_iter());
        let other = |path: &str| (path == "README.md").then(|| Document::parse(path, "# Try it\n"));
        let problems =
            |text: &str| check(&Document::parse("docs/a.md", text), other, &tree).join("\n");
        let good = "# Here\n[a](../README.md#try-it) [b](errors/trap.md) [c](#here) [d](https://x.org/y) [e](errors) [f](../docs/)";
        assert_eq!(problems(good), "");
        for (bad, what) in [
            ("\n[a](../b.md)", "docs/a.md:2: the link leads to ../b.md, which does not exist"),
            ("[a](../README.md#try)", "the link leads to #try, and README.md has no such heading"),
            ("[a](#there)", "docs/a.md has no such heading"),
            ("[a](../x.md)", "which does not exist"),
        ] {
            assert!(problems(bad).contains(what), "{}", problems(bad));
        }
    }
}
