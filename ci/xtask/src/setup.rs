//! Requirements on the machine: Rust targets and components, browsers, a compiler for C and C++ functions. Installs
//! missing parts if that is safe; otherwise the error says how to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::browsers;
use crate::process::{find_program, run, succeeds};
use crate::workspace::{Workspace, create_folder};

/// The target of functions.
pub(crate) const WASI: &str = "wasm32-wasip1";
/// The target of the browser runtime.
pub(crate) const WEB: &str = "wasm32-unknown-unknown";

/// Debian packages that make `clang-19` able to build C and C++ functions.
pub(crate) const CLANG_PACKAGES: &[&str] = &[
    "clang-19",
    "lld-19",
    "wasi-libc",
    "libclang-rt-19-dev-wasm32",
    "libc++-19-dev-wasm32",
    "libc++abi-19-dev-wasm32",
];

/// A program and the Debian package of the same name.
const REDIS: &str = "redis-server";

/// A Debian package, of which only the library is used.
const FAKETIME: &str = "faketime";

/// A Debian package, whose compiler builds functions with another C library.
const EMSCRIPTEN: &str = "emscripten";

fn sysroot(workspace: &Workspace) -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(workspace.root())
        .output()
        .context("asking rustc for its sysroot")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// LLVM's code generator of Rust's toolchain, installed if missing; `None` without rustup.
pub(crate) fn llc(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let name = format!("llc{}", env::consts::EXE_SUFFIX);
    let rustlib = sysroot(workspace)?.join("lib/rustlib");
    let find = || -> Result<Option<PathBuf>> {
        for host in fs::read_dir(&rustlib).context("listing the parts of Rust's toolchain")? {
            let program = host?.path().join("bin").join(&name);
            if program.is_file() {
                return Ok(Some(program));
            }
        }
        Ok(None)
    };
    if let Some(program) = find()? {
        return Ok(Some(program));
    }
    if find_program(&["rustup"]).is_none() {
        return Ok(None);
    }
    rustup(workspace, &["component", "add", "llvm-tools"])?;
    find()
}

/// Installs missing Rust targets.
pub(crate) fn rust_targets(workspace: &Workspace, targets: &[&str]) -> Result<()> {
    let sysroot = sysroot(workspace)?;
    for target in targets {
        if !sysroot.join("lib/rustlib").join(target).join("lib").is_dir() {
            rustup(workspace, &["target", "add", target])?;
        }
    }
    Ok(())
}

/// Installs rustfmt and clippy if they are missing.
pub(crate) fn rust_components(workspace: &Workspace) -> Result<()> {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !succeeds(workspace.cargo().args([subcommand, "--version"])) {
            rustup(workspace, &["component", "add", component])?;
        }
    }
    Ok(())
}

fn rustup(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    if find_program(&["rustup"]).is_none() {
        bail!(
            "rustup, which is needed for `rustup {}`, is not installed: install it from \
             https://rustup.rs, or install the same part with your system's Rust packages",
            arguments.join(" ")
        );
    }
    run(Command::new("rustup").args(arguments).current_dir(workspace.root()))
}

/// Installs everything that the tests need besides Rust, on Debian and Ubuntu as root; elsewhere returns an error that
/// says what is missing.
pub(crate) fn test_packages(workspace: &Workspace) -> Result<()> {
    require_node()?;
    let mut packages = browsers::missing_packages();
    if Clang::find(workspace)?.is_none() {
        packages.extend(CLANG_PACKAGES);
    }
    if find_program(&[REDIS]).is_none() {
        packages.push(REDIS);
    }
    // Makes clocks jump in the chaos test.
    if find_program(&[FAKETIME]).is_none() {
        packages.push(FAKETIME);
    }
    if find_program(&["emcc"]).is_none() {
        packages.push(EMSCRIPTEN);
    }
    if !packages.is_empty() {
        install(&packages)?;
        if Clang::find(workspace)?.is_none() {
            bail!("clang-19 is installed and still cannot build for wasm32-wasi with sysroot /usr");
        }
    }
    browsers::geckodriver(workspace)
}

/// Installs the web server that the relay is compared with.
pub(crate) fn nginx() -> Result<()> {
    if find_program(&["nginx"]).is_none() {
        install(&["nginx-light"])?;
    }
    Ok(())
}

/// Installs the store of several relays.
pub(crate) fn redis() -> Result<()> {
    if find_program(&[REDIS]).is_none() {
        install(&[REDIS])?;
    }
    Ok(())
}

/// Installs Python with venv, for the checks of the HTTP routes.
pub(crate) fn python() -> Result<()> {
    if !succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        install(&["python3", "python3-venv"])?;
    }
    Ok(())
}

/// Installs Debian packages, or returns an error that names them.
fn install(packages: &[&str]) -> Result<()> {
    let install = ["install", "-y", "--no-install-recommends"];
    if !Path::new("/etc/debian_version").is_file() || find_program(&["apt-get"]).is_none() {
        bail!(
            "the tests need Chromium with chromedriver, Firefox, WebKitGTK with WebKitWebDriver, Xvfb, \
             Python with venv, redis-server, faketime, emcc of Emscripten, and a clang that builds for wasm32-wasi (set WASI_SDK_PATH to a WASI SDK); the missing ones \
             are in these packages of Debian: {}",
            packages.join(" ")
        );
    }
    if !is_root() {
        bail!(
            "the tests need packages that only root can install: `sudo apt-get update && \
             sudo apt-get {} {}`, then run this again",
            install.join(" "),
            packages.join(" ")
        );
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt_get().arg("update"))?;
    run(apt_get().args(install).args(packages))
}

/// Returns an error that says how to get Node.js, unless it is new enough for Vite and has npm.
///
/// Not installed here: Debian's version is too old, and developers have their own ways to install a newer one.
fn require_node() -> Result<()> {
    let new_enough = "const [major, minor] = process.versions.node.split('.').map(Number); \
         process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)";
    let has_node = succeeds(Command::new("node").args(["-e", new_enough]));
    if !has_node || !succeeds(Command::new("npm").arg("--version")) {
        bail!(
            "the tests of the npm package need Node.js 20.19, or 22.12 or newer, with npm on the PATH: \
             https://nodejs.org"
        );
    }
    Ok(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A clang that builds C and C++ functions.
pub(crate) struct Clang {
    program: PathBuf,
    sysroot: PathBuf,
    target: &'static str,
}

impl Clang {
    /// The first of these that links a C++ program: the clang of `WASI_SDK_PATH`; `clang-19`; `clang`; the last two
    /// with Debian's library paths. Fails if `WASI_SDK_PATH` is set but does not work.
    pub(crate) fn find(workspace: &Workspace) -> Result<Option<Clang>> {
        if let Some(sdk) = env::var_os("WASI_SDK_PATH").map(PathBuf::from) {
            let program = sdk.join("bin").join(format!("clang{}", env::consts::EXE_SUFFIX));
            let clang = Clang { program, sysroot: sdk.join("share/wasi-sysroot"), target: WASI };
            if !clang.works(workspace)? {
                bail!(
                    "WASI_SDK_PATH is {}, where bin/clang does not build for {WASI}: correct the \
                     path, or unset it to use the system's clang",
                    sdk.display()
                );
            }
            return Ok(Some(clang));
        }
        for name in ["clang-19", "clang"] {
            if let Some(program) = find_program(&[name]) {
                let clang = Clang { program, sysroot: "/usr".into(), target: "wasm32-wasi" };
                if clang.works(workspace)? {
                    return Ok(Some(clang));
                }
            }
        }
        Ok(None)
    }

    /// The compiler driver; the C++ driver also links the C++ library.
    pub(crate) fn command(&self, cpp: bool) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("--target={}", self.target));
        command.arg(format!("--sysroot={}", self.sysroot.display()));
        if cpp {
            command.arg("--driver-mode=g++");
        }
        command
    }

    fn works(&self, workspace: &Workspace) -> Result<bool> {
        let folder = workspace.target().join("functions");
        create_folder(&folder)?;
        let source = folder.join("probe.cpp");
        let program =
            "#include <string>\nint main(int n, char **) { return std::to_string(n).size(); }\n";
        fs::write(&source, program).with_context(|| format!("writing {}", source.display()))?;
        let output = folder.join("probe.wasm");
        Ok(succeeds(self.command(true).arg("-fno-exceptions").arg(&source).arg("-o").arg(output)))
    }
}
