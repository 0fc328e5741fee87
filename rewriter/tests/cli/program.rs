//! The program's usage, completions and manual pages.

use super::Bench;
use std::fs;
use std::path::Path;

#[test]
fn a_wrong_command_line_is_status_2() {
    let bench = Bench::new();
    assert_eq!(bench.run("unbuild", Path::new("x.wasm"), &[]).status, 2);
    assert_eq!(bench.run("inspect", Path::new("x.wasm"), &["--nothing"]).status, 2);
}

#[test]
fn completions_have_only_visible_subcommands() {
    let bench = Bench::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = bench.run("completions", Path::new(shell), &[]);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        for word in ["build", "explain", "inspect", "run", "upload", "debug-info", "callgraph"] {
            assert!(outcome.stdout.contains(word), "{shell}: no {word}");
        }
        assert!(!outcome.stdout.contains("__binaryen"), "{shell}: {}", outcome.stdout);
    }
    assert_eq!(bench.run("completions", Path::new("tcsh"), &[]).status, 2);
}

#[test]
fn each_subcommand_has_a_manual_page() {
    let bench = Bench::new();
    assert_eq!(bench.run("man", &bench.out(), &[]).status, 0);
    let pages = ["-build", "-completions", "-explain", "-inspect", "-man", "-run", "-upload", ""];
    let pages = pages.map(|command| format!("faasm-asyncify{command}.1"));
    assert_eq!(bench.files(), pages);
    for page in &pages {
        let text = fs::read_to_string(bench.out().join(page)).unwrap();
        assert!(text.contains(".SH NAME") && !text.contains("__binaryen"), "{page}: {text}");
    }
    let text = fs::read_to_string(bench.out().join("faasm-asyncify-build.1")).unwrap();
    assert!(text.contains("max\\-size\\-growth"), "{text}");
}

#[test]
fn explain_prints_the_page_of_a_code() {
    let bench = Bench::new();
    for code in ["not-wasm", "trap"] {
        let outcome = bench.run("explain", Path::new(code), &[]);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        assert!(outcome.stdout.starts_with(&format!("# `{code}`\n")), "{}", outcome.stdout);
    }
    let outcome = bench.run("explain", Path::new("not-wasn"), &[]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(
        outcome.stderr.contains("no error code `not-wasn`; give one of: "),
        "{}",
        outcome.stderr
    );
}
