//! Fuzzes the rewriter and all decoders of external bytes. `cargo xtask fuzz` runs it.
//!
//! * [`differential`]: functions with many host calls ([`generate`]) run as the original, shimmed and instrumented
//!   ([`run`]), under a host whose behaviour depends on a seed ([`scenario`]); everything that the host observes must be
//!   equal ([`compare`]).
//! * [`mutate`]: damaged modules of every proposal, which must not crash the rewriter.
//! * [`decoders`]: damaged frames, tokens, settings and documents, which must neither crash their decoders nor change
//!   their meaning.
//!
//! A finding can be reproduced and reduced ([`single`], [`reduce`]). A run is worth keeping if it has new coverage
//! ([`sites`]); the small ones form the [`corpus`].

pub mod campaign;
pub mod compare;
pub mod corpus;
pub mod decoders;
pub mod differential;
pub mod figures;
pub mod finding;
pub mod generate;
pub mod mutate;
pub mod random;
pub mod reduce;
pub mod refusal;
pub mod run;
pub mod scenario;
pub mod single;
pub mod sites;
