//! The browsers of the tests with their WebDriver servers: which are missing, and what installs them.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::process::{find_program, run};
use crate::workspace::Workspace;

/// Alternative programs, and the Debian package that contains one of them.
struct Needed {
    programs: &'static [&'static str],
    package: &'static str,
}

const CHROMIUM: [Needed; 2] = [
    Needed {
        programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
        package: "chromium",
    },
    Needed { programs: &["chromedriver"], package: "chromium-driver" },
];

const OTHERS: [Needed; 3] = [
    Needed { programs: &["firefox-esr", "firefox"], package: "firefox-esr" },
    // The driver's package depends on the browser's.
    Needed { programs: &["WebKitWebDriver"], package: "webkit2gtk-driver" },
    // WebKit has no headless mode.
    Needed { programs: &["Xvfb"], package: "xvfb" },
];

/// No Debian package contains Firefox's WebDriver server.
const GECKODRIVER: (&str, &str) = ("geckodriver", "0.37.1");

/// Returns an error that says how to install a browser, unless one is installed with its driver.
pub(crate) fn require_one() -> Result<()> {
    let packages = missing(&CHROMIUM);
    if packages.is_empty() {
        return Ok(());
    }
    bail!(
        "no Chromium with its WebDriver on the PATH; on Debian: `apt-get install {}`; elsewhere: \
         install Chromium or Chrome, and `chromedriver` of the same version",
        packages.join(" ")
    )
}

/// Debian packages of the browsers that are not installed.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    let mut packages = missing(&CHROMIUM);
    packages.extend(missing(&OTHERS));
    packages
}

fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let missing = needed.iter().filter(|needed| find_program(needed.programs).is_none());
    missing.map(|needed| needed.package).collect()
}

/// Builds geckodriver in the target folder if it is missing; the tests look for it there.
pub(crate) fn geckodriver(workspace: &Workspace) -> Result<()> {
    let (name, version) = GECKODRIVER;
    let tools = workspace.target().join("tools");
    if find_program(&[name]).is_some() || tools.join("bin").join(name).is_file() {
        return Ok(());
    }
    // A separate target folder, because its features differ.
    let build = tools.join("build");
    let mut install = workspace.cargo();
    install.args(["install", name, "--version", version, "--locked", "--root"]).arg(&tools);
    run(install.arg("--target-dir").arg(&build)).context("Firefox's WebDriver server")?;
    fs::remove_dir_all(&build).with_context(|| format!("deleting {}", build.display()))
}
