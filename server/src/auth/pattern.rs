//! Patterns of function names with `*`.

/// Matches names; `*` matches any sequence of characters, also an empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// Takes at most as many steps as the product of both lengths, for every pattern.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut of) = (0, 0);
        // For the last `*`: the position after it in the pattern, and the end of its match in the name.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match pattern.get(of) {
                Some(b'*') => {
                    of += 1;
                    star = Some((of, at));
                }
                Some(byte) if *byte == name[at] => {
                    of += 1;
                    at += 1;
                }
                _ => {
                    let Some((after, taken)) = star else { return false };
                    star = Some((after, taken + 1));
                    (of, at) = (after, taken + 1);
                }
            }
        }
        pattern[of..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("f", "f", true),
            ("f", "ff", false),
            ("f", "", false),
            ("", "", true),
            ("", "f", false),
            ("*", "", true),
            ("*", "anything", true),
            ("report-*", "report-", true),
            ("report-*", "report-2026", true),
            ("report-*", "report", false),
            ("*-report", "a-report", true),
            ("*-report", "a-report-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*ab", "aab", true),
            ("**", "x", true),
        ] {
            assert_eq!(Pattern::new(pattern.into()).matches(name), expected, "{pattern} {name}");
        }
        // Exponential with naive backtracking.
        let pattern = Pattern::new("*a".repeat(2000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(128))));
    }
}
