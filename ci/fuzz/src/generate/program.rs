//! A whole function: the bodies of its functions, its entry, its names and exports.

use super::bounds;
use super::code::{Coder, Habits};
use super::smith::Profile;
use super::world::{World, export_free, is_number};
use crate::random::Rng;
use walrus::ir::{BinaryOp, Block, Instr, InstrSeqId, InstrSeqType, Visitor, dfs_in_order};
use walrus::{
    ConstExpr, FunctionBuilder, FunctionId, GlobalId, LocalFunction, LocalId, Module, ModuleConfig,
    ValType, ir::Value,
};

/// Turns a module with a memory and without imports into a function.
pub(super) fn weave(base: &[u8], profile: &Profile, rng: &mut Rng) -> Option<Vec<u8>> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse(base).ok()?;
    let given: Vec<FunctionId> = module.funcs.iter_local().map(|(id, _)| id).collect();
    let world = World::settle(&mut module, profile, rng)?;
    for function in given {
        for _ in 0..rng.below(profile.statements + 1) {
            let place = place(module.funcs.get(function).kind.unwrap_local(), rng);
            write(&mut module, &world, function, place, 30, rng, |coder| coder.statements(2));
        }
    }
    for (position, function) in world.unwritten.iter().enumerate() {
        let habits = match position {
            0 => Habits::of_last(rng),
            _ if rng.chance(25) => Habits::of_leaf(),
            _ => Habits::random(rng),
        };
        body(&mut module, &world, *function, habits, rng);
    }
    entry(&mut module, &world, rng);
    for function in module.funcs.iter_local().map(|(id, _)| id).collect::<Vec<_>>() {
        bounds::limit(&mut module, function, world.budget);
    }
    if rng.chance(40) {
        allocator(&mut module);
    }
    export_globals(&mut module, rng);
    name_functions(&mut module, rng);
    Some(module.emit_wasm())
}

/// Some position in some sequence of a function.
fn place(function: &LocalFunction, rng: &mut Rng) -> (InstrSeqId, usize) {
    struct Places(Vec<(InstrSeqId, usize)>);
    impl<'instr> Visitor<'instr> for Places {
        fn start_instr_seq(&mut self, seq: &'instr walrus::ir::InstrSeq) {
            self.0.extend((0..=seq.instrs.len()).map(|position| (seq.id(), position)));
        }
    }
    let mut places = Places(Vec::new());
    dfs_in_order(&mut places, function, function.entry_block());
    // A position after a branch is unreachable.
    places.0.retain(|(seq, position)| {
        let instrs = &function.block(*seq).instrs[..*position];
        !instrs.iter().any(|(instr, _)| {
            matches!(
                instr,
                Instr::Br(_) | Instr::BrTable(_) | Instr::Return(_) | Instr::Unreachable(_)
            )
        })
    });
    rng.pick(&places.0).copied().unwrap_or((function.entry_block(), 0))
}

/// Writes code into a new block at a position of a function.
fn write(
    module: &mut Module,
    world: &World,
    function: FunctionId,
    (seq, position): (InstrSeqId, usize),
    room: usize,
    rng: &mut Rng,
    code: impl FnOnce(&mut Coder<'_>),
) {
    let results = module.types.results(module.funcs.get(function).ty()).to_vec();
    let local = module.funcs.get_mut(function).kind.unwrap_local_mut();
    let variables = arguments(&local.args, &module.locals);
    let function = local.builder_mut();
    let inside = function.dangling_instr_seq(InstrSeqType::Simple(None)).id();
    let habits = Habits::random(rng);
    let mut coder = Coder {
        function,
        at: inside,
        locals: &mut module.locals,
        types: &mut module.types,
        rng,
        world,
        variables,
        results,
        room,
        habits,
    };
    code(&mut coder);
    coder.function.instr_seq(seq).instr_at(position, Block { seq: inside });
}

fn arguments(args: &[LocalId], locals: &walrus::ModuleLocals) -> Vec<(LocalId, ValType)> {
    let typed = args.iter().map(|local| (*local, locals.get(*local).ty()));
    typed.filter(|(_, ty)| is_number(ty)).collect()
}

/// Writes the body of a declared function: statements, and its results.
fn body(module: &mut Module, world: &World, function: FunctionId, habits: Habits, rng: &mut Rng) {
    let results = module.types.results(module.funcs.get(function).ty()).to_vec();
    let local = module.funcs.get_mut(function).kind.unwrap_local_mut();
    let (at, variables) = (local.entry_block(), arguments(&local.args, &module.locals));
    let mut coder = Coder {
        function: local.builder_mut(),
        at,
        locals: &mut module.locals,
        types: &mut module.types,
        room: 10 + rng.below(30),
        rng,
        world,
        variables,
        results: results.clone(),
        habits,
    };
    if habits.calls > 0 {
        coder.call_and_mix();
    }
    coder.statements(world.profile.statements);
    for result in results {
        coder.value(result);
    }
}

/// `_start`, or `main` and what may come before it; sometimes a start function.
fn entry(module: &mut Module, world: &World, rng: &mut Rng) {
    if module.start.is_none() && rng.chance(10) {
        module.start = Some(plain(module, world, 1, rng));
    }
    let calls = 3 + rng.below(2 * world.profile.statements);
    if !world.profile.legacy {
        let start = plain(module, world, calls, rng);
        return export_free(module, "_start", start);
    }
    if rng.chance(30) {
        let zygote = plain(module, world, 1, rng);
        export_free(module, "_faasm_zygote", zygote);
    }
    let params: &[ValType] = if rng.chance(50) { &[ValType::I32, ValType::I32] } else { &[] };
    let main = FunctionBuilder::new(&mut module.types, params, &[ValType::I32]);
    let arguments = params.iter().map(|ty| module.locals.add(*ty)).collect();
    let main = main.finish(arguments, &mut module.funcs);
    body(module, world, main, Habits::of_entry(rng), rng);
    export_free(module, "main", main);
}

/// A function without parameters or results, which mostly calls the module's own.
fn plain(module: &mut Module, world: &World, calls: usize, rng: &mut Rng) -> FunctionId {
    let function = FunctionBuilder::new(&mut module.types, &[], &[]);
    let function = function.finish(Vec::new(), &mut module.funcs);
    let local = module.funcs.get_mut(function).kind.unwrap_local_mut();
    let at = local.entry_block();
    let habits = Habits::of_entry(rng);
    let mut coder = Coder {
        function: local.builder_mut(),
        at,
        locals: &mut module.locals,
        types: &mut module.types,
        rng,
        world,
        variables: Vec::new(),
        results: Vec::new(),
        room: 12 * calls,
        habits,
    };
    for _ in 0..calls {
        coder.call_and_mix();
    }
    coder.statements(2);
    function
}

/// The guest's `malloc`, for host calls that allocate memory: it never suspends and never frees.
fn allocator(module: &mut Module) {
    let next = ConstExpr::Value(Value::I32(0x6000));
    let next: GlobalId = module.globals.add_local(ValType::I32, true, false, next);
    let size = module.locals.add(ValType::I32);
    let mut malloc = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
    malloc
        .func_body()
        .global_get(next)
        .global_get(next)
        .local_get(size)
        .binop(BinaryOp::I32Add)
        .i32_const(0x7fff)
        .binop(BinaryOp::I32And)
        .global_set(next);
    let malloc = malloc.finish(vec![size], &mut module.funcs);
    export_free(module, "malloc", malloc);
}

/// Exports globals, so that the host sees the results of the module's own instructions.
fn export_globals(module: &mut Module, rng: &mut Rng) {
    if rng.chance(30) {
        return;
    }
    for (position, global) in
        module.globals.iter().map(walrus::Global::id).collect::<Vec<_>>().into_iter().enumerate()
    {
        export_free(module, &format!("global {position}"), global);
    }
}

/// Names as in real sources: missing, duplicate, and with a meaning for Binaryen.
fn name_functions(module: &mut Module, rng: &mut Rng) {
    const NAMES: [&str; 10] = [
        "f",
        "f",
        "a,b",
        "*",
        "faasm0",
        "",
        "std::vec<T, U>",
        "é\n",
        "asyncify_start_unwind",
        "@f",
    ];
    if rng.chance(40) {
        return;
    }
    for function in module.funcs.iter_mut() {
        if rng.chance(50) {
            function.name = Some(NAMES[rng.below(NAMES.len())].to_owned());
        }
    }
}
