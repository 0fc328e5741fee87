//! The imports of a function, compared with the host-interface table.

use crate::module::layout::signature;
use crate::{BRIDGE_MODULE, Error};
use faasm_bridge::host::{self, Available, ImportClass, Returns, Row, Status, Suspends};
use faasm_bridge::manifest::Imports;
use std::collections::BTreeMap;
use walrus::{FunctionId, ImportId, ImportKind, Module};
use wasmparser::{FuncType, ValType};

/// One imported function.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) function: FunctionId,
    /// Where it is in the module.
    pub(crate) id: ImportId,
    pub(crate) class: ImportClass,
    /// `module.name`.
    pub(crate) name: String,
}

impl Import {
    /// Whether the rewriter added it.
    pub(crate) fn is_of_bridge(&self) -> bool {
        self.name.strip_prefix(BRIDGE_MODULE).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether the call can block the function.
    pub(crate) fn suspends(&self) -> Suspends {
        match self.class {
            ImportClass::Known(call) => call.row().suspends,
            ImportClass::Family(_) | ImportClass::Unknown => Suspends::Never,
        }
    }
}

/// Every imported function, in the order of the module.
///
/// # Errors
/// An import that is not a function. Signatures are checked with the header ([`crate::stages::input`]).
pub(crate) fn list(module: &Module) -> Result<Vec<Import>, Error> {
    let mut list = Vec::new();
    for import in module.imports.iter() {
        let name = format!("{}.{}", import.module, import.name);
        let foreign = |kind| Err(Error::ForeignImport { import: name.clone(), kind });
        let function = match import.kind {
            ImportKind::Function(function) => function,
            ImportKind::Global(_) => return foreign("global"),
            ImportKind::Tag(_) => return foreign("tag"),
            ImportKind::Table(_) => return foreign("table"),
            ImportKind::Memory(_) => return foreign("memory"),
        };
        let class = host::classify(&import.module, &import.name);
        list.push(Import { function, id: import.id(), class, name });
    }
    Ok(list)
}

/// Groups imports by class, without duplicates.
pub(crate) fn summarise(imports: &[Import]) -> Imports {
    let mut sorted = Imports::default();
    let unique: BTreeMap<&str, &Import> =
        imports.iter().rev().map(|import| (import.name.as_str(), import)).collect();
    for (name, import) in unique {
        let list = match import.class {
            ImportClass::Unknown => &mut sorted.unknown,
            ImportClass::Family(_) => &mut sorted.cluster_only,
            ImportClass::Known(call) => match call.row() {
                Row { available: Available::Cluster, .. } => &mut sorted.cluster_only,
                Row { status: Status::Planned(_), .. } => &mut sorted.planned,
                Row { suspends: Suspends::May | Suspends::Calls, .. } => &mut sorted.suspending,
                _ => &mut sorted.immediate,
            },
        };
        list.push(name.to_owned());
    }
    sorted
}

/// Checks the type of an imported function that is in the host interface.
///
/// # Errors
/// [`Error::Signature`] with both types.
pub(crate) fn check_signature(module: &str, name: &str, ty: &FuncType) -> Result<(), Error> {
    let ImportClass::Known(call) = host::classify(module, name) else { return Ok(()) };
    let fits = match (host_types(ty.params()), host_types(ty.results())) {
        (Some(params), Some(results)) => call.row().accepts(&params, &results),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(Error::Signature {
        import: format!("{module}.{name}"),
        found: signature(ty.params(), ty.results()),
        expected: row_signature(call.row()),
    })
}

/// The types in the table's representation; `None` if the table never uses one of them.
fn host_types(types: &[ValType]) -> Option<Vec<host::ValType>> {
    types
        .iter()
        .map(|ty| match ty {
            ValType::I32 => Some(host::ValType::I32),
            ValType::I64 => Some(host::ValType::I64),
            ValType::F64 => Some(host::ValType::F64),
            _ => None,
        })
        .collect()
}

fn row_signature(row: &Row) -> String {
    let names = |types: &[host::ValType]| {
        let names: Vec<&str> = types.iter().map(|ty| ty.name()).collect();
        names.join(", ")
    };
    let (params, fewer) = (names(row.params), names(&row.params[..row.required]));
    let results = match row.returns {
        Returns::Nothing => "nothing",
        Returns::I32 => "i32",
        Returns::I32OrNothing => "i32 or nothing",
        Returns::F64 => "f64",
    };
    if row.required < row.params.len() {
        return format!("({fewer}) or ({params}) -> {results}");
    }
    format!("({params}) -> {results}")
}
