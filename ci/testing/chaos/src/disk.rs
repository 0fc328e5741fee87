//! A small disk of its own for the relay, which can be filled up.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Its size as an option of `mount`: several times what a run writes.
const SIZE: &str = "size=96m";

/// Number of bytes of each write that fills the disk.
const PIECE_BYTES: usize = 64 * 1024;

/// A mounted tmpfs; dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// `None` if mounting is not permitted: it requires root.
    pub fn mount(folder: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "faasm-chaos"]).arg(folder);
        let mounted = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        Ok(is_mounted.then(|| Self { folder: folder.to_owned() }))
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Fills the disk completely.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.ballast()).context("filling the disk")?;
        let piece = vec![0x5a; PIECE_BYTES];
        // Stops at the error that says that the disk is full.
        while file.write_all(&piece).is_ok() {}
        while file.write_all(&[0x5a; 512]).is_ok() {}
        Ok(())
    }

    /// Frees the filled space.
    pub fn empty(&self) -> Result<()> {
        std::fs::remove_file(self.ballast()).context("freeing space on the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _ = umount.arg("--lazy").arg(&self.folder).stderr(Stdio::null()).status();
    }
}
