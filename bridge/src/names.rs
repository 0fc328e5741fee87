//! Source names of functions, kept beside the artefacts instead of in them, and their insertion into stack traces.
//!
//! A JSON document that a page fetches only when it has a stack trace to show. If a module has no names, engines show
//! its functions by index, as `wasm-function[12]`.

use crate::sorted_map::SortedMap;
use serde::{Deserialize, Serialize};

/// Names by function index.
pub type Functions = SortedMap<u32, String>;

/// How engines show a function without a name, up to its index.
const UNNAMED: &str = "wasm-function[";

/// The names of both artefacts; rewriting gives their functions different indices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Names {
    pub jspi: Functions,
    pub asyncify: Functions,
}

/// Inserts the names of the trapped module's functions into a stack trace.
///
/// All other frames are the runtime's, and their addresses contain `runtime`. The module's own address does not
/// identify its frames: Chromium compiles the same bytes once, and shows the address from which it loaded them first.
/// WebKit shows no address; there, the frames above the first frame of another kind are the module's.
pub fn name_frames(stack: &str, runtime: &str, functions: &Functions) -> String {
    let mut below = false;
    let name = |line: &str| {
        let is_guest = if line.contains("://") { !line.contains(runtime) } else { !below };
        below |= line.contains('@') && !line.contains(UNNAMED);
        if is_guest { name_line(line, functions) } else { line.to_owned() }
    };
    stack.split('\n').map(name).collect::<Vec<_>>().join("\n")
}

/// Replaces function indices in one line by names.
fn name_line(line: &str, functions: &Functions) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, from)) = rest.split_once(UNNAMED) {
        out.push_str(before);
        let known = from
            .split_once(']')
            .and_then(|(index, after)| Some((functions.get(&index.parse().ok()?)?, after)));
        match known {
            Some((name, after)) => {
                out.push_str(name);
                rest = after;
            }
            None => {
                out.push_str(UNNAMED);
                rest = from;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(stack: &str) -> String {
        let functions = [(1, "main"), (12, "std::vector<int>::at(unsigned long)")]
            .map(|(i, n)| (i, n.to_owned()));
        name_frames(stack, "faasm_runtime", &functions.into())
    }

    #[test]
    fn frames_outside_the_runtime_get_names() {
        let chromium = "RuntimeError: unreachable
    at http://host/f/a.asyncify.wasm:wasm-function[12]:0x1a3
    at http://host/f/a.asyncify.wasm:wasm-function[99]:0x5
    at http://host/runtime/faasm_runtime_bg.wasm:wasm-function[1]:0x7
    at run (http://host/runtime/faasm_runtime.js:12:3)
    at http://host/f/a.asyncify.wasm:wasm-function[1]:0x8";
        let expected = chromium
            .replace("wasm-function[12]", "std::vector<int>::at(unsigned long)")
            .replace("a.asyncify.wasm:wasm-function[1]", "a.asyncify.wasm:main");
        assert_eq!(named(chromium), expected);
        let firefox =
            "@http://host/f/a.asyncify.wasm:wasm-function[1]:0x1a3\nrun@http://host/r.js:1:2";
        assert_eq!(named(firefox), firefox.replace("wasm-function[1]", "main"));
    }

    #[test]
    fn frames_without_a_module_are_those_above_the_first_other() {
        let webkit = "wasm-function[1]@[wasm code]\nwasm-function[12]@[wasm code]\nwasm-stub@[wasm code]\n\
                      run@http://host/r.js:1:2\nwasm-function[1]@[wasm code]";
        let named = named(webkit);
        assert!(
            named.starts_with("main@[wasm code]\nstd::vector<int>::at(unsigned long)@"),
            "{named}"
        );
        assert!(named.ends_with("wasm-function[1]@[wasm code]"), "{named}");
    }

    #[test]
    fn text_without_an_index_is_unchanged() {
        for text in
            ["", "wasm-function[", "wasm-function[x]", "wasm-function[1", "wasm-function[7]"]
        {
            assert_eq!(named(text), text);
        }
    }
}
