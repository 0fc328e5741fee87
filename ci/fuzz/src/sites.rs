//! The coverage of a suspension: the calls on the stack, and the code around each of them.
//!
//! A stack identifies each call by its offset in the module. Validating the function again yields the kind of call, its
//! enclosing block, and the operands below its arguments.

use crate::refusal::variant;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    BinaryReaderError, BlockType, FrameKind, FuncToValidate, FuncValidatorAllocations,
    FunctionBody, Operator, Parser, ValType, ValidPayload, Validator, ValidatorResources,
};

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// One call in a module.
#[derive(Clone, Debug)]
struct Site {
    kind: &'static str,
    /// The innermost block, loop or arm, and whether it has a result.
    inside: String,
    in_loop: bool,
    /// Types of the values on the stack, including arguments.
    operands: Vec<ValType>,
    /// Number of arguments of the call.
    arguments: usize,
    before: String,
    after: String,
}

/// The coverage of one run.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// The features that distinguish runs, as text.
    pub features: BTreeSet<String>,
    /// Maximum number of the guest's functions on the stack at a suspension.
    pub deepest: usize,
    /// Whether a call on such a stack was indirect, inside a loop, or had other operands below its arguments.
    pub indirect: bool,
    pub in_loop: bool,
    pub operands: bool,
}

/// Looks up stacks in their shimmed module.
///
/// # Errors
/// The module is not valid.
pub fn coverage(shimmed: &[u8], stacks: &[Vec<(u32, usize)>]) -> Result<Coverage> {
    let mut coverage = Coverage::default();
    let wanted = stacks.iter().flatten().map(|(function, _)| *function).collect();
    let sites = sites(shimmed, &wanted)?;
    for stack in stacks {
        // The innermost frame is the shim's function, which is always the same.
        let calls = stack.get(1..).unwrap_or_default();
        coverage.deepest = coverage.deepest.max(calls.len());
        coverage.features.insert(format!("depth {}", bucket(calls.len())));
        for (function, offset) in calls {
            let site = sites.get(function).and_then(|calls| calls.range(..=*offset).next_back());
            if let Some((_, site)) = site {
                coverage.add(site);
            }
        }
    }
    Ok(coverage)
}

/// Numbers in one bucket count as equal.
pub fn bucket(number: usize) -> usize {
    if number < 4 { number } else { number.next_power_of_two() }
}

impl Coverage {
    fn add(&mut self, site: &Site) {
        let waiting = &site.operands[..site.operands.len().saturating_sub(site.arguments)];
        self.indirect |= site.kind != "call";
        self.in_loop |= site.in_loop;
        self.operands |= !waiting.is_empty();
        let Site { kind, inside, before, after, .. } = site;
        let count = bucket(waiting.len());
        self.features.insert(format!("{kind} in {inside} with {count} waiting"));
        self.features.insert(format!("{before} before"));
        self.features.insert(format!("{after} after"));
        self.features.extend(waiting.iter().map(|ty| format!("{ty} waits")));
    }
}

/// The calls of some functions of a module, by function and offset.
fn sites(wasm: &[u8], wanted: &BTreeSet<u32>) -> Result<BTreeMap<u32, BTreeMap<usize, Site>>> {
    let mut validator = Validator::new();
    let mut allocations = FuncValidatorAllocations::default();
    let mut sites = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)?
            && wanted.contains(&function.index)
        {
            let index = function.index;
            let calls;
            (calls, allocations) = calls_of(function, &body, allocations)?;
            sites.insert(index, calls);
        }
    }
    Ok(sites)
}

fn calls_of(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    allocations: FuncValidatorAllocations,
) -> Result<(BTreeMap<usize, Site>, FuncValidatorAllocations)> {
    let mut validator = function.into_validator(allocations);
    let mut locals = body.get_binary_reader();
    validator.read_locals(&mut locals)?;
    let mut reader = body.get_operators_reader()?;
    let mut sites = BTreeMap::<usize, Site>::new();
    let (mut before, mut last_call) = ("nothing".to_owned(), None);
    while !reader.eof() {
        let offset = reader.original_position();
        let operator = reader.read()?;
        let name = variant(&operator);
        if let Some(site) = last_call.take().and_then(|call| sites.get_mut(&call)) {
            site.after.clone_from(&name);
        }
        let kind = match operator {
            Operator::Call { .. } => Some("call"),
            Operator::CallIndirect { .. } => Some("call_indirect"),
            Operator::CallRef { .. } => Some("call_ref"),
            _ => None,
        };
        let height = validator.operand_stack_height() as usize;
        if let Some(kind) = kind {
            let operands = (0..height)
                .rev()
                .filter_map(|depth| validator.get_operand_type(depth).flatten())
                .collect();
            let frames = (0..).map_while(|depth| validator.get_control_frame(depth));
            let in_loop = frames.clone().any(|frame| frame.kind == FrameKind::Loop);
            // The outermost frame is the function itself.
            let mut frames = frames.take(validator.control_stack_height() as usize - 1);
            let inside = frames.next().map(|frame| show(frame.kind, frame.block_type));
            let inside = inside.unwrap_or_else(|| "Function".to_owned());
            let before = before.clone();
            let (arguments, after) = (0, String::new());
            let site = Site { kind, inside, in_loop, operands, arguments, before, after };
            sites.insert(offset, site);
            last_call = Some(offset);
        }
        validator.op(offset, &operator)?;
        if let Some(site) = last_call.and_then(|call| sites.get_mut(&call)) {
            let results = results(&operator, &validator);
            let left = (validator.operand_stack_height() as usize).saturating_sub(results);
            site.arguments = height.saturating_sub(left);
        }
        before = name;
    }
    Ok((sites, validator.into_allocations()))
}

/// Number of results of the call that was just validated.
fn results(
    operator: &Operator<'_>,
    validator: &wasmparser::FuncValidator<ValidatorResources>,
) -> usize {
    use wasmparser::WasmModuleResources as _;
    let resources = validator.resources();
    let ty = match operator {
        Operator::Call { function_index } => resources.type_index_of_function(*function_index),
        Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
            Some(*type_index)
        }
        _ => None,
    };
    let ty = ty.and_then(|ty| resources.sub_type_at(ty));
    ty.map_or(0, |ty| ty.unwrap_func().results().len())
}

fn show(kind: FrameKind, ty: BlockType) -> String {
    let shape = match ty {
        BlockType::Empty => "",
        BlockType::Type(_) => " with a result",
        BlockType::FuncType(_) => " with a type",
    };
    format!("{kind:?}{shape}")
}
