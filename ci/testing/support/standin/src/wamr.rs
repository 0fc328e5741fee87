//! Modules that WAMR, as Faasm 0.29 builds it, cannot compile.

use wasmparser::{ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

/// Module of the WASI calls.
const WASI: &str = "wasi_snapshot_preview1";

/// Why WAMR rejects a module; `None` if it loads it.
pub(crate) fn refuses(wasm: &[u8]) -> Option<String> {
    // No tail calls, exceptions, typed references, 64-bit or multiple memories, threads, or relaxed SIMD.
    let mut validator = Validator::new_with_features(WasmFeatures::WASM2);
    if let Err(error) = validator.validate_all(wasm) {
        return Some(error.to_string());
    }
    let mut facts = Facts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Err(error) = payload.and_then(|payload| facts.read(payload)) {
            return Some(error.to_string());
        }
    }
    if facts.imports_wasi && facts.imports_memory {
        return Some("a module with WASI calls imports its memory".into());
    }
    (facts.has_memory && !facts.exports_memory)
        .then(|| "its memory is not exported as `memory`".into())
}

#[derive(Default)]
struct Facts {
    imports_wasi: bool,
    imports_memory: bool,
    has_memory: bool,
    exports_memory: bool,
}

impl Facts {
    fn read(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.imports_wasi |= import.module == WASI;
                    self.imports_memory |= matches!(import.ty, TypeRef::Memory(_));
                }
            }
            Payload::MemorySection(memories) => self.has_memory |= memories.count() > 0,
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.exports_memory |=
                        export.kind == ExternalKind::Memory && export.name == "memory";
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_cannot_compile_is_refused() {
        let refused = [
            r#"(module (memory (export "memory") 1) (func $f) (func (export "_start") return_call $f))"#,
            r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                (memory (import "env" "memory") 1) (export "memory" (memory 0)))"#,
            r#"(module (memory 1) (func (export "_start")))"#,
            r#"(module (memory (export "mem") 1) (func (export "_start")))"#,
            r#"(module (memory (export "memory") 1) (tag $t) (func (export "_start") (throw $t)))"#,
            r#"(module (memory (export "memory") 1) (type $s (struct)) (func (drop (ref.null $s))))"#,
            r#"(module (memory (export "memory") i64 1))"#,
            r#"(module (memory (export "memory") 1) (memory 1))"#,
            r#"(module (memory (export "memory") 1 1 shared))"#,
            r#"(module (memory (export "memory") 1) (func (param v128) (result v128)
                (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))"#,
        ];
        for wat in refused {
            assert!(refuses(&wat::parse_str(wat).unwrap()).is_some(), "{wat}");
        }
        assert!(refuses(b"").is_some() && refuses(b"no wasm").is_some());
    }

    #[test]
    fn what_it_can_compile_is_taken() {
        let taken = [
            "(module)",
            r#"(module (memory (import "env" "memory") 1))"#,
            r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
                (memory (export "memory") 1) (func (export "_start")))"#,
            r#"(module (memory (export "memory") 1) (func (param v128) (result v128)
                (i8x16.add (local.get 0) (local.get 0)))
                (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))))"#,
        ];
        for wat in taken {
            assert_eq!(refuses(&wat::parse_str(wat).unwrap()), None, "{wat}");
        }
    }
}
