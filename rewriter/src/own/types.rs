//! The types of a module, those of the input and those that the rewriting appends.

use crate::Error;
use std::collections::HashMap;
use wasmparser::types::{CoreTypeId, TypesRef};
use wasmparser::{BlockType, FuncType, HeapType, PackedIndex, RefType, UnpackedIndex, ValType};

/// Function types by index. Nothing is ever taken out, so an index keeps its meaning.
pub(super) struct Types {
    all: Vec<FuncType>,
    /// How many the input has.
    original: usize,
    /// Index of each appended or known type by its parameters and results.
    known: HashMap<FuncType, u32>,
    /// The validator's number of a type, to its index.
    indices: HashMap<CoreTypeId, u32>,
    /// Whether locals may have references to functions of one type.
    typed_references: bool,
}

impl Types {
    /// Without `typed_references`, a module has only references to functions of any type, though the validator knows better.
    pub(super) fn new(
        all: Vec<FuncType>,
        validated: Option<TypesRef<'_>>,
        typed_references: bool,
    ) -> Self {
        let mut indices = HashMap::new();
        let mut known = HashMap::new();
        for (index, ty) in (0..).zip(&all) {
            if let Some(validated) = &validated {
                indices.entry(validated.core_type_at_in_module(index)).or_insert(index);
            }
            known.entry(ty.clone()).or_insert(index);
        }
        Self { original: all.len(), all, known, indices, typed_references }
    }

    pub(super) fn get(&self, index: u32) -> Result<&FuncType, Error> {
        self.all.get(index as usize).ok_or_else(|| inconsistent("a type that is not there"))
    }

    /// The index of a function type, which is appended if it is new.
    pub(super) fn add(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let ty = FuncType::new(params.iter().copied(), results.iter().copied());
        if let Some(index) = self.known.get(&ty) {
            return *index;
        }
        // A module has at most a million types.
        let index = self.all.len() as u32;
        self.all.push(ty.clone());
        self.known.insert(ty, index);
        index
    }

    pub(super) fn appended(&self) -> &[FuncType] {
        &self.all[self.original..]
    }

    /// Parameters and results of a block.
    pub(super) fn of_block(&self, ty: BlockType) -> Result<(Vec<ValType>, Vec<ValType>), Error> {
        Ok(match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(one) => (Vec::new(), vec![one]),
            BlockType::FuncType(index) => {
                let ty = self.get(index)?;
                (ty.params().to_vec(), ty.results().to_vec())
            }
        })
    }

    /// A type as the module writes it: the validator numbers types in its own way.
    pub(super) fn written(&self, ty: ValType) -> Result<ValType, Error> {
        let ValType::Ref(reference) = ty else { return Ok(ty) };
        let id = match reference.heap_type() {
            // Those of one type are all of functions: nothing is garbage collected.
            HeapType::Concrete(_) | HeapType::Exact(_) if !self.typed_references => {
                return Ok(ValType::FUNCREF);
            }
            HeapType::Concrete(UnpackedIndex::Id(id)) | HeapType::Exact(UnpackedIndex::Id(id)) => {
                id
            }
            _ => return Ok(ty),
        };
        let index = self.indices.get(&id).copied().and_then(PackedIndex::from_module_index);
        let index = index.ok_or_else(|| inconsistent("a reference of unknown type"))?;
        Ok(ValType::Ref(RefType::concrete(reference.is_nullable(), index)))
    }
}

/// The type of a local that can hold a value: a reference is null at first.
pub(super) fn storable(ty: ValType) -> ValType {
    match ty {
        ValType::Ref(reference) => ValType::Ref(reference.nullable()),
        number => number,
    }
}

/// Whether a value of the type has to be there from the beginning.
pub(super) fn is_never_null(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(reference) if !reference.is_nullable())
}

/// What the analysis, the validator and this pass know of a module does not fit together.
pub(super) fn inconsistent(what: &str) -> Error {
    Error::Rewrite { message: format!("the Asyncify pass met {what}") }
}
