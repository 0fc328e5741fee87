//! Initial values that are references. The initial functions of tables and globals have to be known, or a call through
//! a table could reach a function that the analysis does not see.
//!
//! A value is one function or null. WebAssembly without garbage collection has no other references except imported
//! ones, which are rejected. [`check`] verifies it, so that a proposal accepted later cannot break it silently.

use crate::Error;
use walrus::{ConstExpr, ConstOp, ElementItems, FunctionId, GlobalKind, Module, ValType};

/// The function of an initial reference; `None` for null, and for a value that is not a reference.
///
/// # Errors
/// For any other reference.
fn read(value: &ConstExpr) -> Result<Option<FunctionId>, ()> {
    match value {
        ConstExpr::RefFunc(id) => Ok(Some(*id)),
        ConstExpr::RefNull(_) => Ok(None),
        ConstExpr::Extended(operations) => match operations.as_slice() {
            [ConstOp::RefFunc(id)] => Ok(Some(*id)),
            [ConstOp::RefNull(_)] => Ok(None),
            _ => Err(()),
        },
        ConstExpr::Value(_) | ConstExpr::Global(_) => Err(()),
    }
}

/// [`read`], for a module that was checked.
#[cfg(any(feature = "cli", test))]
pub(crate) fn function_of(value: &ConstExpr) -> Option<FunctionId> {
    read(value).ok().flatten()
}

/// Rejects initial values whose functions are unknown.
///
/// # Errors
/// [`Error::Unsupported`] with their positions.
pub(crate) fn check(module: &Module) -> Result<(), Error> {
    let mut places = Vec::new();
    for (index, global) in module.globals.iter().enumerate() {
        if let (ValType::Ref(_), GlobalKind::Local(value)) = (global.ty, &global.kind)
            && read(value).is_err()
        {
            places.push(format!("global {index}"));
        }
    }
    for (index, table) in module.tables.iter().enumerate() {
        if table.init.as_ref().is_some_and(|value| read(value).is_err()) {
            places.push(format!("table {index}"));
        }
    }
    for (index, element) in module.elements.iter().enumerate() {
        if let ElementItems::Expressions(_, values) = &element.items
            && values.iter().any(|value| read(value).is_err())
        {
            places.push(format!("element segment {index}"));
        }
    }
    match places.is_empty() {
        true => Ok(()),
        false => Err(Error::Unsupported {
            what: "references whose function is unknown before the module runs,",
            functions: places.join(", "),
            advice: "initialise globals, tables and element segments with functions or null",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrus::{ElementKind, RefType, TableId};

    const MODULE: &str = r#"(module
      (type $f (func)) (func $a (type $f)) (func $b (type $f))
      (table $t 4 funcref)
      (global $g funcref (ref.func $a))
      (global $n i32 (i32.add (i32.const 1) (i32.const 2)))
      (global $e externref (ref.null extern))
      (elem (i32.const 0) funcref (ref.func $b) (ref.null func))
      (memory 1) (data (offset (i32.const 7)) "x"))"#;

    fn module() -> Module {
        crate::stages::normalise::parse(&wat::parse_str(MODULE).unwrap()).unwrap()
    }

    /// The module with an additional initial value in an element segment.
    fn with(value: impl Fn(&Module) -> ConstExpr) -> Module {
        let mut module = module();
        let value = value(&module);
        let table: TableId = module.tables.iter().next().unwrap().id();
        let offset = ConstExpr::Value(walrus::ir::Value::I32(2));
        let items = ElementItems::Expressions(RefType::FUNCREF, vec![value]);
        module.elements.add(ElementKind::Active { table, offset }, items);
        module
    }

    #[test]
    fn functions_and_null_are_recognised() {
        assert!(check(&module()).is_ok());
        let first = |module: &Module| module.funcs.iter().next().unwrap().id();
        let extended = |module: &Module| ConstExpr::Extended(vec![ConstOp::RefFunc(first(module))]);
        let module = with(extended);
        assert!(check(&module).is_ok());
        assert_eq!(function_of(&extended(&module)), Some(first(&module)));
        let null = ConstExpr::Extended(vec![ConstOp::RefNull(RefType::FUNCREF)]);
        assert_eq!(function_of(&null), None);
    }

    #[test]
    fn an_unknown_reference_is_an_error() {
        let global = |module: &Module| module.globals.iter().next().unwrap().id();
        let first = |module: &Module| module.funcs.iter().next().unwrap().id();
        let refused = |module: Module| check(&module).unwrap_err().to_string();
        for error in [
            refused(with(|module| ConstExpr::Global(global(module)))),
            refused(with(|module| ConstExpr::Extended(vec![ConstOp::GlobalGet(global(module))]))),
            // The first function of several is not the one.
            refused(with(|module| {
                let function = ConstOp::RefFunc(first(module));
                ConstExpr::Extended(vec![function, ConstOp::RefNull(RefType::FUNCREF)])
            })),
        ] {
            assert!(error.contains("element segment 1"), "{error}");
        }
        let mut other = module();
        let value = ConstExpr::Global(global(&other));
        other.globals.add_local(ValType::Ref(RefType::FUNCREF), false, false, value.clone());
        other.tables.iter_mut().next().unwrap().init = Some(value);
        let error = refused(other);
        assert!(error.contains("global 3, table 0"), "{error}");
    }
}
