//! Fuzzes the rewriter, and everything that decodes bytes from outside. `cargo xtask fuzz` runs it.
//!
//! * [`differential`]: functions full of host calls ([`generate`]) run as the original, shimmed and instrumented ([`run`]),
//!   under a host that decides by a seed ([`scenario`]); all that the host sees has to be the same ([`compare`]).
//! * [`mutate`]: damaged modules of every proposal; nothing may crash.
//! * [`decoders`]: damaged frames, tokens, settings and documents; none may crash what reads it, or mean something else.
//!
//! A finding can be seen again, and made smaller ([`single`], [`reduce`]). A run is worth keeping if it met something new
//! ([`sites`]); the small ones are the [`corpus`].

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
