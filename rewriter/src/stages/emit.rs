//! The last step: writes two to five files, all of them or none.
//!
//! Each is written beside its destination under a temporary name, and renamed when all are complete, the manifest last:
//! a reader that finds a manifest finds the files that it describes.

use crate::{Built, Error};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The paths of a function's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub jspi: PathBuf,
    /// If the function can be instrumented.
    pub asyncify: Option<PathBuf>,
    /// If the names of functions go to a file beside the artefacts.
    pub names: Option<PathBuf>,
    /// If a Faasm cluster needs another artefact than the original.
    pub faasm: Option<PathBuf>,
    pub manifest: PathBuf,
}

/// Writes `NAME.wasm`, `NAME.asyncify.wasm` if there is one, `NAME.names.json` if there are names to write,
/// `NAME.cluster.wasm` if there is one, and `NAME.json` into `folder`, which is created if missing.
///
/// # Errors
/// [`Error::File`], with the path.
pub fn emit(built: &Built, folder: &Path) -> Result<Files, Error> {
    std::fs::create_dir_all(folder).map_err(|source| at(folder, source))?;
    let engines = &built.manifest.engines;
    let files = Files {
        jspi: folder.join(&engines.jspi.file),
        asyncify: engines.asyncify.artefact().map(|asyncify| folder.join(&asyncify.artefact.file)),
        names: built.manifest.names.as_ref().map(|names| folder.join(&names.file)),
        faasm: built.manifest.faasm.as_ref().map(|faasm| folder.join(&faasm.artefact.file)),
        manifest: folder.join(format!("{}.json", built.manifest.name)),
    };
    let json = serde_json::to_string_pretty(&built.manifest)
        .map_err(|error| at(&files.manifest, error.into()))?;
    let mut staged = vec![(stage(folder, &built.jspi)?, &files.jspi)];
    let optional = [
        (&built.asyncify, &files.asyncify),
        (&built.names, &files.names),
        (&built.faasm, &files.faasm),
    ];
    for (bytes, path) in optional.iter().filter_map(|(b, p)| b.as_ref().zip(p.as_ref())) {
        staged.push((stage(folder, bytes)?, path));
    }
    staged.push((stage(folder, format!("{json}\n").as_bytes())?, &files.manifest));
    for (file, path) in staged {
        file.persist(path).map_err(|error| at(path, error.error))?;
    }
    Ok(files)
}

fn stage(folder: &Path, bytes: &[u8]) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".faasm-");
    // Temporary files are private by default; a web server has to read these, as far as the umask allows it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|source| at(folder, source))?;
    file.write_all(bytes).map_err(|source| at(file.path(), source))?;
    Ok(file)
}

fn at(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}
