//! The conformance suite: one table of cases, run in every place a function can run, against what each must give.
//!
//! * [`cases`]: the table. A case is a function with its input, and what it returns, writes and leaves behind.
//! * [`column`]: the places. A column runs a case and tells what happened.
//! * [`bed`]: what columns share: a relay with an embedded cluster in this process, and its stores.
//! * [`matrix`]: every case in every column, and the differences.
//! * `page`: a page without a browser.
//! * [`functions`]: the suite's functions, from text to what pages load.

pub mod case;
pub mod cases;
pub mod column;
pub mod coverage;
pub mod functions;
pub mod matrix;
pub mod outcome;
mod page;
pub mod test_bed;
