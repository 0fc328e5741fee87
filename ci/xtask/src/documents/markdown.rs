//! A parser for the parts of Markdown that the checks need: inline code, links, headings and fenced code, each with its
//! line.

/// A part of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) line: usize,
    pub(super) text: String,
}

/// A parsed document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) path: String,
    /// Text between backticks.
    pub(super) spans: Vec<Piece>,
    /// Targets of links.
    pub(super) links: Vec<Piece>,
    /// Anchors of headings, as GitHub generates them.
    pub(super) anchors: Vec<String>,
    /// Lines of fenced code; a line that ends in a backslash is joined with the next one.
    pub(super) code: Vec<Piece>,
}

impl Document {
    pub(super) fn parse(path: &str, text: &str) -> Document {
        let mut document = Document {
            path: path.to_owned(),
            spans: Vec::new(),
            links: Vec::new(),
            anchors: Vec::new(),
            code: Vec::new(),
        };
        let mut in_code = false;
        // Spans and links may continue on the next line.
        let mut paragraph: Vec<(usize, &str)> = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line)) {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
                document.take(&mut paragraph);
                continue;
            }
            if in_code {
                document.add_code(number, line);
                continue;
            }
            if line.trim().is_empty() {
                document.take(&mut paragraph);
                continue;
            }
            if let Some(heading) = line.strip_prefix('#') {
                let anchor = anchor(heading.trim_start_matches('#').trim());
                let before = document.anchors.iter().filter(|other| **other == anchor).count();
                document.anchors.push(if before == 0 {
                    anchor
                } else {
                    format!("{anchor}-{before}")
                });
            }
            paragraph.push((number, line));
        }
        document.take(&mut paragraph);
        document
    }

    /// The comments of a Rust source, with their original line numbers.
    pub(super) fn of_comments(path: &str, source: &str) -> Document {
        let comment = |line: &str| {
            let line = line.trim_start();
            let text = ["//!", "///", "//"].iter().find_map(|start| line.strip_prefix(start));
            text.unwrap_or_default().trim_start().to_owned()
        };
        let text: Vec<String> = source.lines().map(comment).collect();
        Document::parse(path, &text.join("\n"))
    }

    fn add_code(&mut self, number: usize, line: &str) {
        match self.code.last_mut() {
            Some(last) if last.text.ends_with('\\') => {
                last.text.pop();
                last.text.push_str(line.trim_start());
            }
            _ => self.code.push(Piece { line: number, text: line.to_owned() }),
        }
    }

    /// Finds spans and links in the lines of a paragraph.
    fn take(&mut self, paragraph: &mut Vec<(usize, &str)>) {
        let Some(first) = paragraph.first().map(|(number, _)| *number) else { return };
        let joined = paragraph.drain(..).map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        let line_at = |at: usize| first + joined[..at].matches('\n').count();
        let piece = |at: usize, text: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            Piece { line: line_at(at), text: words.join(" ") }
        };
        let mut prose = String::new();
        let mut rest = 0;
        while let Some(open) = joined[rest..].find('`').map(|at| rest + at) {
            let ticks = joined[open..].bytes().take_while(|byte| *byte == b'`').count();
            let begin = open + ticks;
            let Some(close) = joined[begin..].find(&"`".repeat(ticks)).map(|at| begin + at) else {
                break;
            };
            self.spans.push(piece(open, &joined[begin..close]));
            prose.push_str(&joined[rest..open]);
            // Keeps the link if its text is code.
            prose.extend(
                joined[open..close + ticks].chars().map(|c| if c == '\n' { c } else { '_' }),
            );
            rest = close + ticks;
        }
        prose.push_str(&joined[rest..]);
        let mut at = 0;
        while let Some(found) = prose[at..].find("](").map(|found| at + found) {
            let begin = found + 2;
            let Some(length) = prose[begin..].find(')') else { break };
            let line = first + prose[..found].matches('\n').count();
            self.links.push(Piece { line, text: prose[begin..begin + length].to_owned() });
            at = begin + length;
        }
    }
}

/// The anchor that GitHub generates for a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_a_document() {
        let source =
            "//! See `a.rs`.\n\nlet x = \"`b.rs`\"; // not at the line's begin\n    /// `c.rs`\n";
        let document = Document::of_comments("x.rs", source);
        let spans: Vec<_> = document.spans.iter().map(|p| (p.line, p.text.as_str())).collect();
        assert_eq!(spans, [(1, "a.rs"), (4, "c.rs")]);
    }

    #[test]
    fn pieces_have_their_lines() {
        let text = "# One, `two`\n\nA `span`, a [link](a.md#b), and a `long\nspan`.\n\n```sh\ncargo a \\\n  --b\n# c\n```\n## One, two\n";
        let document = Document::parse("x.md", text);
        let pieces =
            |pieces: &[Piece]| pieces.iter().map(|p| (p.line, p.text.clone())).collect::<Vec<_>>();
        let expected =
            [(1, "two"), (3, "span"), (3, "long span")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(pieces(&document.spans), expected);
        assert_eq!(pieces(&document.links), [(3, "a.md#b".to_owned())]);
        assert_eq!(pieces(&document.code), [(7, "cargo a --b".to_owned()), (9, "# c".to_owned())]);
        assert_eq!(document.anchors, ["one-two", "one-two-1"]);
    }
}
