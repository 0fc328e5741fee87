//! The conformance suite: one table of cases, each run in every place a function can run, and compared with its
//! required result.
//!
//! * [`cases`]: the table. A case is a function with its input, and its required return value, output and final state.
//! * [`column`]: the places. A column runs a case and reports the result.
//! * [`test_bed`]: shared by the columns: relays with embedded clusters in this process, and their stores.
//! * [`matrix`]: every case in every column, and the differences.
//! * `page`: a page without a browser.
//! * [`functions`]: the suite's functions, from source text to the files that pages load.

pub mod case;
pub mod cases;
pub mod column;
pub mod coverage;
pub mod functions;
pub mod matrix;
pub mod outcome;
mod page;
pub mod test_bed;
