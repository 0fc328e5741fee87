//! A function as its toolchain made it, which was never built: it runs where the browser can suspend it by itself.

mod binary;
mod code;
mod normalise;
mod reader;

use crate::error::{Code, FaasmError, describe};
use binary::{Binary, Import, Imported, Limits, Signature};
use faasm_bridge::host::{Available, HostCall, ImportClass, ValType, classify};
use faasm_bridge::manifest::Entry;
use js_sys::{Object, Promise, Reflect, Uint8Array, WebAssembly};
use reader::Problem;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// What to do about an original that does not run as it is.
const BUILD_IT: &str = "build it with `faasm-asyncify build`, and load the manifest";

/// What is known of an original.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) module: WebAssembly::Module,
    pub(super) entry: Entry,
    /// Imports that only a cluster answers.
    pub(super) cluster_only: Vec<String>,
    pub(super) storage: Vec<Storage>,
}

/// A memory or table that a module wants to be given.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) module: String,
    pub(crate) name: String,
    is_table: bool,
    limits: Limits,
}

impl Storage {
    /// A fresh one: a function is instantiated alone.
    pub(crate) fn make(&self) -> Result<JsValue, JsValue> {
        let Limits { initial, maximum } = self.limits;
        let options = Object::new();
        let set = |name: &str, value: JsValue| Reflect::set(&options, &name.into(), &value);
        set("initial", initial.into())?;
        if let Some(maximum) = maximum {
            set("maximum", maximum.into())?;
        }
        if self.is_table {
            set("element", "anyfunc".into())?;
            return WebAssembly::Table::new(&options).map(Into::into);
        }
        WebAssembly::Memory::new(&options).map(Into::into)
    }
}

/// Reads and compiles an original.
///
/// # Errors
/// [`Code::CannotLoad`], with what to do.
pub(super) async fn read(bytes: &[u8], from: &str) -> Result<Original, FaasmError> {
    let cannot = |why: &str| {
        let message = format!("cannot run {from} as it is: {why}; {BUILD_IT}");
        FaasmError::new(Code::CannotLoad, message)
    };
    let binary = Binary::read(bytes).map_err(|problem| cannot(&problem))?;
    if let Some(ours) = binary.exports.iter().find(|export| export.name.starts_with("faasm:")) {
        return Err(cannot(&format!("it exports `{}`, a name of the rewriter's", ours.name)));
    }
    let Imports { cluster_only, storage } = imports(&binary).map_err(|problem| cannot(&problem))?;
    let (entry, exports) = normalise::normalise(&binary).map_err(|problem| cannot(&problem))?;
    let bytes = Uint8Array::from(binary.with_exports(&exports).as_slice());
    let compiling: Promise = WebAssembly::compile(&bytes.into());
    let module = JsFuture::from(compiling).await;
    let module = module
        .map_err(|thrown| cannot(&format!("this browser refuses it ({})", describe(&thrown))))?
        .unchecked_into();
    Ok(Original { module, entry, cluster_only, storage })
}

#[derive(Default)]
struct Imports {
    cluster_only: Vec<String>,
    storage: Vec<Storage>,
}

fn imports(binary: &Binary<'_>) -> Result<Imports, Problem> {
    let mut found = Imports::default();
    for Import { module, name, what } in &binary.imports {
        if *module == crate::host::BRIDGE {
            return Err(
                "it is built already: its manifest, which ends in .json, is what to load".into()
            );
        }
        match *what {
            Imported::Function(ty) => {
                let is_cluster_s = match classify(module, name) {
                    ImportClass::Known(call) => {
                        check(call, binary.signature_of_type(ty)?)?;
                        call.row().available == Available::Cluster
                    }
                    ImportClass::Family(_) => true,
                    ImportClass::Unknown => false,
                };
                if is_cluster_s {
                    found.cluster_only.push(format!("{module}.{name}"));
                }
            }
            Imported::Memory(limits) | Imported::Table(limits) => {
                let is_table = matches!(what, Imported::Table(_));
                let (module, name) = ((*module).to_owned(), (*name).to_owned());
                found.storage.push(Storage { module, name, is_table, limits });
            }
            Imported::Other => {
                return Err(format!("it imports `{module}.{name}`, which is no function"));
            }
        }
    }
    Ok(found)
}

/// Checks that an import is declared as the host interface has it.
fn check(call: HostCall, signature: &Signature) -> Result<(), Problem> {
    let types =
        |bytes: &[u8]| bytes.iter().map(|byte| value_type(*byte)).collect::<Option<Vec<_>>>();
    match (types(&signature.params), types(&signature.results)) {
        (Some(params), Some(results)) if call.row().accepts(&params, &results) => Ok(()),
        _ => Err(format!("it imports `{call}` with another signature than it has")),
    }
}

fn value_type(byte: u8) -> Option<ValType> {
    match byte {
        0x7f => Some(ValType::I32),
        0x7e => Some(ValType::I64),
        0x7c => Some(ValType::F64),
        _ => None,
    }
}
