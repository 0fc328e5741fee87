//! Building blocks of browser tests: a real browser, a real relay, and functions built for the test.

mod browser;
mod chromium;
mod driver;
mod firefox;
mod page;
mod relay;
mod site;
mod webkit;

pub use browser::{Browser, Kind};
pub use page::{Finished, Page, Place, Run};
pub use relay::{Relay, program};
pub use site::{Site, copy_folder};
