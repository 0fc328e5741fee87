//! A workload in Rust: `serde_json` parses documents from a `dyn` source; they pass through a pipeline of `dyn` stages,
//! and are serialised again. In form A the source is memory; in form B it is a state value, and each read of it is a
//! host call that may block, below the whole parser.
//!
//! The rounds, the timing and the output are as in `c/bench.h`.

mod documents;
mod pipeline;

use documents::{Document, generate};
use std::io::{BufReader, Read, Write};
use std::time::Instant;

/// Where the text is stored. Its size never changes.
pub trait Source {
    /// Stores the text to parse.
    fn store(&mut self, text: &[u8]);
    /// Fills `part` from `offset`.
    fn read_at(&self, offset: usize, part: &mut [u8]);
}

const DOCUMENTS: u32 = 2000;
/// Number of bytes of one read.
const CHUNK_BYTES: usize = 512;

/// Runs the number of rounds that the command line gives.
pub fn main(mut source: Box<dyn Source>) {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    // The result does not matter: the function need not exist.
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
        serde_json::from_reader(reader).expect("the text was generated from documents");
    let documents = pipeline::run(documents);
    let mut hash = Hash(14695981039346656037);
    serde_json::to_writer(&mut hash, &documents).expect("writing to a hash cannot fail");
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

/// FNV-1a of the written bytes.
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
