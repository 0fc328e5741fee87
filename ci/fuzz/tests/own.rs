//! What our own pass instruments runs as the original does, whenever its host calls wait: the shapes that the rewriter's goldens
//! show, one by one.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use faasm_asyncify::{Binaryen, Bound, DebugInfo, Options, build, normalise};
use faasm_bridge::manifest::Pass;
use faasm_fuzz::compare::{Comparison, compare};
use faasm_fuzz::run::{self, Form};
use faasm_fuzz::scenario::Scenario;
use std::path::Path;

/// Hosts that a function meets; in half of them, every call waits.
const SCENARIOS: u64 = 60;

/// Builds a function by our own pass.
fn built(wasm: &[u8]) -> faasm_asyncify::Built {
    let options = Options {
        pass: Pass::Own,
        debug_info: DebugInfo::Strip,
        // Nothing of it is called.
        ..Options::new(Binaryen::of("/nowhere/binaryen"))
    };
    build("own", "own.wasm", wasm, &options, |_| {}).unwrap()
}

#[test]
fn every_shape_runs_as_the_original_does() {
    let engine = run::engine().unwrap();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rewriter/tests/goldens");
    let mut shapes = 0;
    for entry in std::fs::read_dir(goldens).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !(name.starts_with("own-") && name.ends_with(".wat")) {
            continue;
        }
        shapes += 1;
        let wasm = wat::parse_file(&path).unwrap();
        let original = normalise(&wasm).unwrap();
        let built = built(&wasm);
        let asyncify = built.asyncify.as_deref().unwrap();
        let artefact = built.manifest.engines.asyncify.artefact().unwrap();
        let Some(Bound::Bytes(bound)) = built.bound else {
            assert!(matches!(built.bound, Some(Bound::Recursion(_))), "{name}");
            continue;
        };
        let (mut suspensions, mut unwound) = (0, 0);
        for scenario in (0..SCENARIOS).map(Scenario::new) {
            let form = Form { wasm: &original.wasm, entry: &original.entry, buffer: None };
            let expected = run::run(&engine, form, scenario).unwrap();
            let buffer = artefact.buffer.map(|buffer| buffer.bytes);
            let form = Form { wasm: asyncify, entry: &built.manifest.entry, buffer };
            let observed = run::run(&engine, form, scenario).unwrap();
            assert_eq!(compare(&expected, &observed), Comparison::Alike, "{name}: {scenario:?}");
            suspensions += observed.suspensions;
            unwound = unwound.max(observed.unwound as u64);
        }
        assert!(suspensions > 50, "{name}: {suspensions} suspensions");
        assert!(unwound <= bound, "{name}: {unwound} bytes, and the bound is {bound}");
    }
    assert!(shapes >= 8, "{shapes} shapes");
}
