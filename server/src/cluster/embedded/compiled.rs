//! Cache of compiled code on disk, so that a restarted relay does not recompile functions.
//!
//! Loading compiled code executes it: write access to these files means arbitrary code execution as this relay. So the
//! cache is read only from a folder that this user owns and no other user can write to. Each file carries a hash of its
//! content, so that a file truncated by a power failure is compiled again.

use super::making::Made;
use sha2::{Digest, Sha256};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::Engine;

/// Limits of the cache: files and bytes. The least recently used files are removed first.
const MAX_FILES: usize = 512;
const MAX_BYTES: u64 = 4 << 30;

const HASH_BYTES: usize = 32;

/// The cache folder, if any.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    folder: Option<PathBuf>,
}

impl Compiled {
    /// A subfolder for exactly this program and engine configuration; others do not read it.
    pub(super) fn open(engine: &Engine, below: Option<&Path>) -> Self {
        let Some(below) = below else { return Self::default() };
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let Some(program) = this_program() else { return Self::default() };
        program.hash(&mut hasher);
        let folder = below.join(format!("{:016x}", hasher.finish()));
        match private(below).and_then(|()| private(&folder)) {
            Ok(()) => Self { folder: Some(folder) },
            Err(error) => {
                tracing::warn!(%error, folder = %below.display(), "compiled functions are not cached");
                Self::default()
            }
        }
    }

    /// The cached code of this original.
    pub(super) fn load(&self, original: &[u8]) -> Option<Made> {
        let folder = self.folder.as_ref()?;
        Made::read(load(&folder.join(hex(&Sha256::digest(original))))?)
    }

    /// Stores the code of this original.
    pub(super) fn keep(&self, original: &[u8], made: &Made) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(hex(&Sha256::digest(original)));
        let kept = made.bytes().and_then(|bytes| keep(&path, &bytes));
        if let Err(error) = kept.and_then(|()| make_room(folder, MAX_FILES, MAX_BYTES)) {
            tracing::warn!(%error, path = %path.display(), "a compiled function is not cached");
        }
    }
}

/// Identifies this program: only the program that wrote a file reads it, because another version may prepare functions
/// differently.
fn this_program() -> Option<(u64, SystemTime)> {
    let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some((program.len(), program.modified().ok()?))
}

/// Creates a folder that only this user can access, or checks that an existing one is private.
fn private(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).recursive(false).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    // The creator of the folder owns the files in it.
    let probe = tempfile::tempfile_in(folder)?.metadata()?;
    let is_ours = found.is_dir() && found.uid() == probe.uid();
    if is_ours && found.permissions().mode() & 0o022 == 0 {
        return Ok(());
    }
    let message = "it is owned by another user or writable by others; delete it";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of a file if its hash matches.
fn load(path: &Path) -> Option<Vec<u8>> {
    let mut file = fs::read(path).ok()?;
    let (hash, content) = file.split_at_checked(HASH_BYTES)?;
    if hash != Sha256::digest(content).as_slice() {
        return None;
    }
    // Marks the file as recently used, for `make_room`.
    let now = fs::File::options().append(true).open(path).ok()?;
    let _ = now.set_modified(SystemTime::now());
    file.drain(..HASH_BYTES);
    Some(file)
}

/// Writes a file atomically.
fn keep(path: &Path, code: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Removes the least recently used files until both limits are met.
fn make_room(folder: &Path, most_files: usize, most_bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += metadata.len();
        files.push((metadata.modified()?, entry.path(), metadata.len()));
    }
    files.sort();
    let mut count = files.len();
    for (_, path, length) in files {
        if count <= most_files && bytes <= most_bytes {
            break;
        }
        fs::remove_file(path)?;
        (count, bytes) = (count - 1, bytes - length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let inner = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_was_compiled_is_loaded_and_what_was_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("compiled");
        let engine = Engine::default();
        let wasm = wat::parse_str("(module (memory 1) (func (export \"_start\")))").unwrap();
        let compiled = Compiled::open(&engine, Some(&below));
        assert!(compiled.load(&wasm).is_none());
        let made = Made::of(&engine, &wasm).unwrap();
        compiled.keep(&wasm, &made);
        let [path] = &files(&below)[..] else { panic!("one file") };
        let whole = fs::read(path).unwrap();
        assert!(load(path).is_some());
        // Testing every byte would take too long.
        for damaged in [0, HASH_BYTES, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 1;
            fs::write(path, &bytes).unwrap();
            assert!(load(path).is_none());
            fs::write(path, &whole[..damaged]).unwrap();
            assert!(load(path).is_none());
        }
        let compiled = Compiled::open(&engine, Some(&below));
        compiled.keep(&wasm, &made);
        assert_eq!(fs::read(path).unwrap(), whole);
        let again = compiled.load(&wasm).unwrap();
        assert_eq!((again.head, again.code), (made.head, made.code));
    }

    #[test]
    fn the_files_used_longest_ago_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let begun = SystemTime::UNIX_EPOCH;
        for (age, name) in ["a", "b", "c", "d"].iter().enumerate() {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(begun + Duration::from_secs(age as u64)).unwrap();
        }
        let left = || {
            let names = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        make_room(folder.path(), 4, 400).unwrap();
        assert_eq!(left(), ["a", "b", "c", "d"]);
        make_room(folder.path(), 3, 400).unwrap();
        assert_eq!(left(), ["b", "c", "d"]);
        make_room(folder.path(), 3, 299).unwrap();
        assert_eq!(left(), ["c", "d"]);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("compiled");
        fs::create_dir(&below).unwrap();
        fs::set_permissions(&below, fs::Permissions::from_mode(0o777)).unwrap();
        let engine = Engine::default();
        assert!(Compiled::open(&engine, Some(&below)).folder.is_none());
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
    }
}
