//! Form B: the text is a state value, and every read of it may block.

use faasm_bench_functions::Source;
use faasm_host::State;

const TOTAL: usize = 8 << 20;

struct Pulled(State);

impl Source for Pulled {
    fn store(&mut self, text: &[u8]) {
        self.0.write_at(TOTAL, 0, text);
    }

    fn read_at(&self, offset: usize, part: &mut [u8]) {
        self.0.read_at(TOTAL, offset, part);
    }
}

fn main() {
    faasm_bench_functions::main(Box::new(Pulled(State::new("source"))));
}
