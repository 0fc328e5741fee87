//! Form A: the text is in memory, and only `main` blocks.

use faasm_bench_functions::Source;

struct Memory(Vec<u8>);

impl Source for Memory {
    fn store(&mut self, text: &[u8]) {
        self.0 = text.to_vec();
    }

    fn read_at(&self, offset: usize, part: &mut [u8]) {
        part.copy_from_slice(&self.0[offset..offset + part.len()]);
    }
}

fn main() {
    faasm_bench_functions::main(Box::new(Memory(Vec::new())));
}
