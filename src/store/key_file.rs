//! The key file (S22): 32 random bytes, or 64 while keys are rotated (the new key, then the old one).
//!
//! It is ours or root's, readable by nobody else, and changed only as a whole: a draft beside it is written, synced
//! and put in its place. Whatever instant the process dies at, what lies at its path is one whole key file.

use super::StoreError;
use super::seal::{KEY_LENGTH, Seal};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn fail<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::File { action, path: path.to_owned(), source }
}

/// Reads the key file; `None` if there is none.
pub(super) fn load(path: &Path) -> Result<Option<Seal>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail("open the key file", path)(e)),
    };
    // Of the opened file, not of the path: nobody can change it for another in between.
    let meta = file.metadata().map_err(fail("examine the key file", path))?;
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::KeyReadable { path: path.to_owned(), mode });
    }
    if !is_trusted(meta.uid()) {
        return Err(StoreError::KeyForeign { path: path.to_owned(), owner: meta.uid() });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 * KEY_LENGTH));
    file.take(2 * KEY_LENGTH as u64 + 1).read_to_end(&mut bytes).map_err(fail("read the key file", path))?;
    match Seal::from_bytes(&bytes) {
        None => Err(StoreError::KeyMalformed { path: path.to_owned(), length: bytes.len() }),
        seal => Ok(seal),
    }
}

/// Root can read and write everything anyway.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

/// Makes a new key file, readable by us alone; an existing one is never replaced.
pub(super) fn create(path: &Path) -> Result<Seal, StoreError> {
    const ACTION: &str = "make the key file (key_file says where)";
    let seal = Seal::random()?;
    // A link, not a renaming: it fails where there is a file already.
    let placed = draft(path, &seal).and_then(|draft| {
        let linked = fs::hard_link(&draft, path);
        linked.and(fs::remove_file(&draft))
    });
    placed.and_then(|()| sync_directory(path)).map_err(fail(ACTION, path))?;
    Ok(seal)
}

/// Puts other keys in the place of those in the file.
pub(super) fn replace(path: &Path, seal: &Seal) -> Result<(), StoreError> {
    // What a link points at is replaced, not the link.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    draft(&place, seal)
        .and_then(|draft| fs::rename(draft, &place))
        .and_then(|()| sync_directory(&place))
        .map_err(fail("replace the key file", path))
}

/// Removes what a process that died while it made or replaced the key file has left: there are keys in it. Only the
/// holder of the store's lock may.
pub(super) fn tidy(path: &Path) {
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::remove_file(draft_of(&place)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %draft_of(&place).display(), "a leftover with keys in it cannot be removed");
        }
        _ => {}
    }
}

/// Writes a draft, on disk when this returns.
fn draft(path: &Path, seal: &Seal) -> io::Result<PathBuf> {
    let draft = draft_of(path);
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&seal.to_bytes())?;
    file.sync_all()?;
    Ok(draft)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
