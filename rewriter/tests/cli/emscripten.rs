//! Emscripten's standalone programs, if its compiler is installed: their sleep is recognised however they were
//! optimised.

use super::Bench;
use std::process::Command;

const SLEEPS: &str = r#"
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    struct timespec time = {0, 1000000};
    CALL;
    return puts("awake") < 0;
}
"#;

#[test]
fn each_sleep_of_a_standalone_program_can_suspend() {
    if Command::new("emcc").arg("--version").output().is_err() {
        let in_ci = std::env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"));
        assert!(!in_ci, "emcc is not installed; in Debian it is in the package emscripten");
        eprintln!("skipped: emcc is not installed");
        return;
    }
    let bench = Bench::new();
    for (level, call) in [
        ("-O0", "usleep(1000)"),
        ("-O1", "sleep(1)"),
        ("-O2", "nanosleep(&time, NULL)"),
        ("-O3", "usleep(1000)"),
        ("-Os", "usleep(1000)"),
    ] {
        let source = bench.file("sleeps.c", SLEEPS.replace("CALL", call).as_bytes());
        let wasm = bench.folder.path().join("sleeps.wasm");
        let compiled = Command::new("emcc")
            .args([level, "-sSTANDALONE_WASM"])
            .arg(&source)
            .arg("-o")
            .arg(&wasm)
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let inspected = bench.run("inspect", &wasm, &["--json"]);
        let report: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
        let functions = report["reach"]["functions"].as_array().unwrap();
        assert!(!functions.is_empty(), "{level}: {}", inspected.stdout);
    }
}
