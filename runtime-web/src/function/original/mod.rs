//! Originals: functions that were not built. They run where the browser itself can suspend them.

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

/// The advice in errors about an original.
const BUILD_IT: &str = "build it with `faasm-asyncify build`, and load the manifest";

/// A compiled original.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) module: WebAssembly::Module,
    pub(super) entry: Entry,
    /// Imports that only a Faasm cluster supports.
    pub(super) cluster_only: Vec<String>,
    pub(super) storage: Vec<Storage>,
}

/// A memory or table that a module imports.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) module: String,
    pub(crate) name: String,
    is_table: bool,
    limits: Limits,
}

impl Storage {
    /// Creates the memory or table; each instance gets its own.
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

/// Parses and compiles an original.
///
/// # Errors
/// [`Code::CannotLoad`], with advice.
pub(super) async fn read(bytes: &[u8], from: &str) -> Result<Original, FaasmError> {
    let load_error = |why: &str| {
        let message = format!("cannot run {from} as it is: {why}; {BUILD_IT}");
        FaasmError::new(Code::CannotLoad, message)
    };
    let binary = Binary::read(bytes).map_err(|problem| load_error(&problem))?;
    if let Some(ours) = binary.exports.iter().find(|export| export.name.starts_with("faasm:")) {
        return Err(load_error(&format!("it exports `{}`, a reserved name", ours.name)));
    }
    let Imports { cluster_only, storage } =
        imports(&binary).map_err(|problem| load_error(&problem))?;
    let (entry, exports) = normalise::normalise(&binary).map_err(|problem| load_error(&problem))?;
    let bytes = Uint8Array::from(binary.with_exports(&exports).as_slice());
    let compiling: Promise = WebAssembly::compile(&bytes.into());
    let module = JsFuture::from(compiling).await;
    let module = module
        .map_err(|thrown| load_error(&format!("this browser refuses it ({})", describe(&thrown))))?
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
            return Err("it is built already: load its manifest, which ends in .json".into());
        }
        match *what {
            Imported::Function(ty) => {
                let is_cluster_only = match classify(module, name) {
                    ImportClass::Known(call) => {
                        check(call, binary.signature_of_type(ty)?)?;
                        call.row().available == Available::Cluster
                    }
                    ImportClass::Family(_) => true,
                    ImportClass::Unknown => false,
                };
                if is_cluster_only {
                    found.cluster_only.push(format!("{module}.{name}"));
                }
            }
            Imported::Memory(limits) | Imported::Table(limits) => {
                let is_table = matches!(what, Imported::Table(_));
                let (module, name) = ((*module).to_owned(), (*name).to_owned());
                found.storage.push(Storage { module, name, is_table, limits });
            }
            Imported::Other => {
                return Err(format!("it imports the non-function `{module}.{name}`"));
            }
        }
    }
    Ok(found)
}

/// Checks an import's signature against the host interface.
fn check(call: HostCall, signature: &Signature) -> Result<(), Problem> {
    let types =
        |bytes: &[u8]| bytes.iter().map(|byte| value_type(*byte)).collect::<Option<Vec<_>>>();
    match (types(&signature.params), types(&signature.results)) {
        (Some(params), Some(results)) if call.row().accepts(&params, &results) => Ok(()),
        _ => Err(format!("it imports `{call}` with a wrong signature")),
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
