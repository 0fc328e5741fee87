//! What browser tests are made of: a real browser, a real relay, and functions built for the test.

mod chromium;
mod page;
mod relay;
mod site;

pub use chromium::Chromium;
pub use page::{Finished, Page, Place, Run};
pub use relay::{Relay, program};
pub use site::{Site, copy_folder};
