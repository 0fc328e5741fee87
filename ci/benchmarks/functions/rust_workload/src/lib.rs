//! A workload in Rust: documents are read with `serde_json` from a `dyn` source, go through a pipeline of `dyn` stages, and
//! are written again. In form A the source is memory; in form B it is a state value, and each read of it a host call that
//! may block, below all of the parser.
//!
//! The rounds, the timing and what is printed are as in `c/bench.h`.

mod documents;
mod pipeline;

use documents::{Document, generate};
use std::io::{BufReader, Read, Write};
use std::time::Instant;

/// Where the text comes from. Its size never changes.
pub trait Source {
    /// Keeps the text that is to be read.
    fn store(&mut self, text: &[u8]);
    /// Fills `part` from `offset`.
    fn read_at(&self, offset: usize, part: &mut [u8]);
}

const DOCUMENTS: u32 = 2000;
/// Of one read.
const CHUNK_BYTES: usize = 512;

/// Runs the rounds that the command line asks for.
pub fn main(mut source: Box<dyn Source>) {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    // Whatever it answers: there need be no such function.
    faasm_host::chain_name("nobody", &[]).wait();
    let text = serde_json::to_vec(&generate(DOCUMENTS)).expect("documents become JSON");
    source.store(&text);
    let mut checksum = None;
    for round in 0..rounds {
        let start = Instant::now();
        let sum = run_round(&*source, text.len());
        println!("round {}", start.elapsed().as_nanos());
        assert_eq!(*checksum.get_or_insert(sum), sum, "round {round} differs");
    }
    println!("checksum {:016x}", checksum.unwrap_or_default());
}

fn run_round(source: &dyn Source, len: usize) -> u64 {
    let reader = BufReader::with_capacity(CHUNK_BYTES, Text { source, at: 0, len });
    let documents: Vec<Document> =
        serde_json::from_reader(reader).expect("the text is that of documents");
    let documents = pipeline::run(documents);
    let mut hash = Hash(14695981039346656037);
    serde_json::to_writer(&mut hash, &documents).expect("a hash takes everything");
    hash.0
}

/// A source as a stream.
struct Text<'a> {
    source: &'a dyn Source,
    at: usize,
    len: usize,
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.len - self.at);
        self.source.read_at(self.at, &mut buffer[..count]);
        self.at += count;
        Ok(count)
    }
}

/// FNV-1a of what is written.
struct Hash(u64);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = bytes
            .iter()
            .fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(1099511628211));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
