//! `faasm-asyncify inspect`: the views of a function.

use super::{Bench, WAITING};

#[test]
fn originals_and_artefacts_are_shown_as_text() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    let show = |path: &std::path::Path| {
        let outcome = bench.run("inspect", path, &["--wat"]);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        wat::parse_str(&outcome.stdout).unwrap();
        outcome.stdout
    };
    let original = show(&input);
    assert!(original.contains("(import \"env\" \"__faasm_await_call\""), "{original}");
    assert_eq!(bench.run("build", &input, &[]).status, 0);
    let jspi = show(&bench.out().join("chain.wasm"));
    assert!(jspi.contains("(import \"faasm_bridge\" \"suspend\""), "{jspi}");
    let asyncify = show(&bench.out().join("chain.asyncify.wasm"));
    assert!(asyncify.contains("(export \"asyncify_start_unwind\""), "{asyncify}");
}

#[test]
fn a_file_that_is_not_webassembly_has_no_text() {
    let bench = Bench::new();
    let outcome = bench.run("inspect", &bench.file("text.wasm", b"(module)"), &["--wat"]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.stderr.contains("text.wasm: this is WebAssembly text"), "{}", outcome.stderr);
}

/// `suspends` calls a blocking import, `table` the table's slot 1, which nothing overwrites, `pointer` any slot;
/// `quiet` and its callees cannot suspend.
const CALLS: &str = r#"(module
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (memory (export "memory") 1)
  (table 3 funcref)
  (elem (i32.const 1) $suspends $pure)
  (func $suspends (param i32) (drop (call $await (local.get 0))))
  (func $pure (param i32))
  (func $table (call_indirect (param i32) (i32.const 7) (i32.const 1)))
  (func $pointer (param i32) (call_indirect (param i32) (i32.const 7) (local.get 0)))
  (func $quiet (call $pure (i32.const 1)))
  (func $"odd \"name\"" (export "_start")
    (call $table) (call $pointer (i32.const 2)) (call $quiet)))"#;

#[test]
fn the_call_graph_shows_what_can_suspend() {
    let bench = Bench::new();
    let input = bench.wat("calls.wasm", CALLS);
    let graph = |more: &[&str]| {
        let outcome = bench.run("inspect", &input, more);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        assert!(outcome.stdout.starts_with("digraph \"calls\" {\n"), "{}", outcome.stdout);
        assert!(outcome.stdout.ends_with("}\n"), "{}", outcome.stdout);
        Graph(outcome.stdout)
    };
    let part = graph(&["--callgraph"]);
    assert!(part.line("faasm_bridge.suspend").contains("doubleoctagon"), "{}", part.0);
    assert!(part.line("suspends").contains("filled"), "{}", part.0);
    assert_eq!(part.edge("suspends", "await"), Some(""));
    assert_eq!(part.edge("table", "suspends"), Some(" [style=dotted]"));
    assert_eq!(
        part.edge("pointer", "suspends"),
        Some(r#" [style=dashed, label="(i32) -> nothing"]"#)
    );
    assert_eq!(part.edge(r#"odd \"name\""#, "table"), Some(""));
    assert!(!part.0.contains("quiet") && !part.0.contains("pure"), "{}", part.0);

    let all = graph(&["--callgraph", "--all"]);
    assert!(!all.line("quiet").contains("filled"), "{}", all.0);
    assert_eq!(all.edge("quiet", "pure"), Some(""));
    assert!(all.edge("pointer", "pure").is_some_and(|style| style.contains("dashed")));
    assert_eq!(all.edge("table", "pure"), None);
}

/// The output of `--callgraph`.
struct Graph(String);

impl Graph {
    /// The line of the function with this label.
    fn line(&self, label: &str) -> &str {
        let label = format!("[label=\"{label}\"");
        self.0.lines().find(|line| line.contains(&label)).unwrap_or_else(|| panic!("{}", self.0))
    }

    fn node(&self, label: &str) -> &str {
        self.line(label).trim().split(' ').next().unwrap()
    }

    /// The attributes of an edge, if there is one.
    fn edge(&self, from: &str, to: &str) -> Option<&str> {
        let start = format!("{} -> {}", self.node(from), self.node(to));
        let rest = self.0.lines().find_map(|line| {
            let rest = line.trim().strip_prefix(&start)?;
            rest.starts_with([' ', ';']).then_some(rest)
        });
        rest.map(|rest| rest.trim_end_matches(';'))
    }
}

#[test]
fn views_exclude_each_other() {
    let bench = Bench::new();
    let input = bench.wat("chain.wasm", WAITING);
    for more in [&["--wat", "--json"][..], &["--callgraph", "--wat"], &["--all"]] {
        assert_eq!(bench.run("inspect", &input, more).status, 2, "{more:?}");
    }
}
