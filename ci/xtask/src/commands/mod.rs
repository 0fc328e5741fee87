//! One file per subcommand, each with its arguments and `run`.

pub(crate) mod api;
pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod chaos;
pub(crate) mod conformance;
pub(crate) mod demo;
pub(crate) mod docs;
pub(crate) mod functions;
pub(crate) mod fuzz;
pub(crate) mod lint;
pub(crate) mod package;
pub(crate) mod test;
