//! Reading and writing modules: bounds, features, imports, sections, and the initial memory and tables of a module.

pub(crate) mod bounds;
pub(crate) mod encode;
pub mod features;
pub(crate) mod guest_calls;
pub(crate) mod imports;
pub(crate) mod layout;
pub(crate) mod provider;
pub(crate) mod references;
