//! The host table against the imports of functions made by Faasm's own toolchain: `imports/toolchain.tsv` has each
//! import, with its type, of 258 binaries of 2020 to 2022 and of 15 functions linked with Faasm's C library;
//! `imports/interface.tsv` has the other imports that the toolchain allows.

use faasm_bridge::host::{Available, HostCall, ImportClass, Status, ValType, classify};

const TOOLCHAIN: &str = include_str!("imports/toolchain.tsv");
const INTERFACE: &str = include_str!("imports/interface.tsv");

/// The imports that may be refused, each by name before the run.
fn may_be_refused(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "pthread_create",
        "pthread_join",
        "pthread_cond_wait",
        "pthread_cond_timedwait",
        "dlopen",
        "dlsym",
    ];
    const PREFIXES: [&str; 4] = ["MPI_", "__faasm_s3_", "__faasm_get_py_", "__faasm_chain_py"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_answered(call: HostCall) -> bool {
    let row = call.row();
    row.available == Available::Everywhere && row.status == Status::Ready
}

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.skip(1).map(|line| line.split('\t').collect())
}

fn types(list: &str) -> Vec<ValType> {
    let names = list.trim_matches(['(', ')']).split_whitespace();
    names
        .map(|name| match name {
            "i32" => ValType::I32,
            "i64" => ValType::I64,
            other => panic!("{other}"),
        })
        .collect()
}

#[test]
fn every_import_of_the_toolchain_is_answered_with_its_type() {
    let mut checked = 0;
    for row in rows(TOOLCHAIN) {
        let [module, name, params, result, ..] = row[..] else { panic!("{row:?}") };
        match classify(module, name) {
            ImportClass::Known(call) if is_answered(call) => {
                let fits = call.row().accepts(&types(params), &types(result));
                assert!(fits, "{module}.{name} {params} -> {result}: {:?}", call.row());
            }
            class => assert!(may_be_refused(name), "{module}.{name} is {class:?}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 149);
}

#[test]
fn every_import_that_the_toolchain_allows_is_answered_or_refused_by_name() {
    for row in rows(INTERFACE) {
        let [module, name, becomes] = row[..] else { panic!("{row:?}") };
        let class = classify(module, name);
        let answered = matches!(class, ImportClass::Known(call) if is_answered(call));
        match becomes {
            "answered" => assert!(answered, "{module}.{name} is {class:?}"),
            "refused" => {
                assert!(!answered && class != ImportClass::Unknown, "{module}.{name} is {class:?}");
                assert!(may_be_refused(name), "{name}");
            }
            other => panic!("{other}"),
        }
    }
}
