//! State: writes a value, has a call in the cluster change it, and reads it again.
//!
//! The input is the key. The value has 16 bytes: two little-endian 64-bit numbers, a number of
//! steps and a sum. `main` writes the whole value first, so that the result does not depend on an
//! earlier value.

use faasm_host::{State, chain_ptr, input, set_output};

const VALUE_LEN: usize = 16;

struct Value {
    steps: u64,
    sum: u64,
}

impl Value {
    fn pull(state: &State) -> Value {
        state.pull(VALUE_LEN);
        let mut bytes = [0; VALUE_LEN];
        state.read_at(VALUE_LEN, 0, &mut bytes);
        let bits = u128::from_le_bytes(bytes);
        Value { steps: bits as u64, sum: (bits >> 64) as u64 }
    }

    fn push(&self, state: &State) {
        state.write(&[self.steps.to_le_bytes(), self.sum.to_le_bytes()].concat());
        state.push();
    }
}

/// Runs in the cluster. Pulls first, since its host may have an older copy.
extern "C" fn step() -> i32 {
    let state = State::new(input());
    let mut value = Value::pull(&state);
    value.steps = value.steps.wrapping_add(1);
    value.sum = value.sum.wrapping_mul(3).wrapping_add(value.steps);
    value.push(&state);
    value.steps as i32
}

fn main() {
    let input = input();
    // Keys end at a NUL byte.
    let key = input.split(|&byte| byte == 0).next().unwrap_or_default();
    let key = if key.is_empty() { b"counter" } else { key };
    let state = State::new(key);

    Value { steps: 1, sum: 40 }.push(&state);
    let returned = chain_ptr(step, key).wait();
    let Value { steps, sum } = Value::pull(&state);

    let rest = format!(": steps {steps}, sum {sum}, callee returned {returned}");
    set_output(&[key, rest.as_bytes()].concat());
    std::process::exit((sum % 251) as i32);
}
