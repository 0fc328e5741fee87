//! A clock that jumps: `libfaketime` is preloaded into the processes and reads the offset from a file. It affects only
//! the time of day, because a monotonic clock does not jump.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Path of the library in Debian's package `faketime`, below the folder of the architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock, and the library that shows it to processes.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock without offset; `None` if `libfaketime` is not installed.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let kinds = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let library = kinds.map(|kind| kind.path().join(LIBRARY)).find(|path| path.is_file());
        let Some(library) = library else { return Ok(None) };
        let clock = Self { library, file: folder.join("clock") };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// Sets the offset of the clock.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // Renamed, so that processes never read a partial file.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}"))
            .and_then(|()| std::fs::rename(&next, &self.file))
            .with_context(|| format!("writing {}", self.file.display()))
    }

    /// Environment variables that make a process see this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Seconds between two reads of the file.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn processes_see_it() {
        let folder = tempfile::tempdir().unwrap();
        let Some(clock) = Clock::find(folder.path()).unwrap() else { return };
        let year = |seconds| {
            clock.set(seconds).unwrap();
            let mut date = Command::new("date");
            let shown = date.arg("+%Y").envs(clock.environment()).output().unwrap();
            String::from_utf8(shown.stdout).unwrap().trim().parse::<i32>().unwrap()
        };
        assert_eq!(year(3 * 365 * 86_400) - year(0), 3);
        assert!(year(-3 * 365 * 86_400) < year(0));
    }
}
