//! Input, output and chaining.

use super::{
    Allocation, Args, CallId, CallResult, Context, Fault, Flow, Guest, GuestMemoryExt, Operation,
    Stream, Target,
};
use crate::host::HostCall;

/// Return value of an awaited call that failed, or that the guest may not await.
const FAILED: i32 = 1;

impl Guest {
    /// `__faasm_read_input(buf, len) -> n`
    pub(super) fn read_input(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        let input = &self.invocation.input;
        let length = args.u32(1) as usize;
        if length == 0 {
            return Ok(Flow::Return(input.len() as i32));
        }
        let count = length.min(input.len());
        cx.host.write(args.u32(0), &input[..count])?;
        Ok(Flow::Return(count as i32))
    }

    /// `__faasm_write_output(ptr, len)`
    pub(super) fn write_output(
        &mut self,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        self.output = cx.host.read(args.u32(0), args.u32(1))?;
        Ok(Flow::Return(0))
    }

    /// `__faasm_chain_name(name, in, in_len) -> call_id`
    pub(super) fn chain_name(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        let name = cx.host.read_string(args.u32(0))?;
        self.chain(Target::Function(name), args, cx)
    }

    /// `__faasm_chain_ptr(fn_ptr, in, in_len) -> call_id`
    pub(super) fn chain_ptr(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        self.chain(Target::Pointer(args.u32(0)), args, cx)
    }

    /// `__faasm_chain_this(idx, in, in_len) -> call_id`
    pub(super) fn chain_this(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        self.chain(Target::Index(args.u32(0)), args, cx)
    }

    fn chain(&mut self, target: Target, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        let input = cx.host.read(args.u32(1), args.u32(2))?;
        let id = CallId(self.calls.len() as u32 + 1);
        self.calls.insert(id, true);
        cx.host.start_call(id, target, input);
        Ok(Flow::Return(id.0 as i32))
    }

    /// `__faasm_await_call(call_id) -> i32`, and `__faasm_await_call_output`.
    ///
    /// An id that was never returned, or was awaited before, results in 1.
    pub(super) fn await_call(
        &mut self,
        call: HostCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        let id = CallId(args.u32(0));
        match self.calls.get_mut(&id) {
            Some(open) if *open => *open = false,
            _ => {
                let result = CallResult { return_value: FAILED, output: Vec::new() };
                return self.awaited(call, args, result, cx);
            }
        }
        match cx.host.take_finished(id) {
            Some(result) => self.awaited(call, args, result, cx),
            None => Ok(Flow::Wait(Operation::AwaitCall(id))),
        }
    }

    pub(super) fn awaited(
        &mut self,
        call: HostCall,
        args: &Args,
        result: CallResult,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        match call {
            HostCall::AwaitCallOutput if result.output.is_empty() => {
                Ok(Flow::Return(self.deliver_output(args, &result, 0, cx)?))
            }
            HostCall::AwaitCallOutput => Ok(Flow::Allocate(Allocation::Output(result))),
            _ => Ok(Flow::Return(result.return_value)),
        }
    }

    /// Writes an output to memory allocated by the guest's `malloc`, and pointer and length to the addresses the guest
    /// gave.
    pub(super) fn deliver_output(
        &mut self,
        args: &Args,
        result: &CallResult,
        pointer: u32,
        cx: &mut Context<'_>,
    ) -> Result<i32, Fault> {
        cx.host.write(pointer, &result.output)?;
        cx.host.write_u32(args.u32(1), pointer)?;
        cx.host.write_u32(args.u32(2), result.output.len() as u32)?;
        Ok(result.return_value)
    }
}

/// `__faasm_backtrace(depth)`: prints at most `depth` frames, or all if it is 0 or less.
pub(super) fn backtrace(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let depth = match args.u32(0) as i32 {
        depth if depth <= 0 => usize::MAX,
        depth => depth as usize,
    };
    let trace = cx.host.backtrace();
    let mut text = String::from("------ Faasm backtrace ------\n");
    for line in trace.lines().take(depth) {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("-----------------------------\n");
    cx.host.print(Stream::Stderr, text.as_bytes());
    Ok(Flow::Return(0))
}

/// `__faasm_migrate_point(fn_ptr, arg)`: the function is not migrated; prints that it could have been.
pub(super) fn migrate_point(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let text = format!("migration point {}({}): stays here\n", args.u32(0), args.u32(1) as i32);
    cx.host.print(Stream::Stderr, text.as_bytes());
    Ok(Flow::Return(0))
}

/// `__faasm_conf_flag(key) -> i32`
pub(super) fn conf_flag(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = cx.host.read_string(args.u32(0))?;
    Ok(Flow::Return(i32::from(key == "ALWAYS_ON")))
}
