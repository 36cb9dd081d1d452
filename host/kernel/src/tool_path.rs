//! Where the tools are: in the absolute directories of `PATH`, then in the system's. A relative directory is never
//! searched, so nobody can slip in a tool by the folder in which the daemon was started.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::tool_error::ToolError;

/// Where administration tools live, searched after `PATH`: ordinary users don't have them in theirs.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The directories that are searched, as a value for `PATH`.
pub(super) fn search_path() -> OsString {
    directories(std::env::var_os("PATH").as_deref())
}

/// The absolute directories of `path`, then the system's.
fn directories(path: Option<&OsStr>) -> OsString {
    let given = path.map(std::env::split_paths).into_iter().flatten().filter(|directory| directory.is_absolute());
    let mut directories: Vec<PathBuf> = Vec::new();
    for directory in given.chain(SYSTEM_DIRECTORIES.map(PathBuf::from)) {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    std::env::join_paths(directories).unwrap_or_else(|_| SYSTEM_DIRECTORIES.join(":").into())
}

/// Where `program` is.
pub(super) fn find(program: &str, package: &'static str, search: &OsStr) -> Result<PathBuf, ToolError> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        std::env::split_paths(search).map(|directory| directory.join(program)).collect()
    };
    let is_file = |path: &&PathBuf| path.is_file();
    if let Some(path) = candidates.iter().filter(is_file).find(|path| is_executable(path)) {
        return Ok(path.clone());
    }
    Err(match candidates.iter().find(is_file) {
        Some(path) => ToolError::NotExecutable { program: program.to_owned(), path: path.clone() },
        None => ToolError::NotFound { program: program.to_owned(), package },
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// Whether `program` is installed where [`super::process::Invocation::run`] would look for it.
pub(super) fn is_installed(program: &str) -> bool {
    find(program, "", &search_path()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_executable_is_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = find(file.path().to_str().unwrap(), "x", OsStr::new("")).unwrap_err();
        assert!(matches!(error, ToolError::NotExecutable { .. }), "{error}");
    }

    #[test]
    fn relative_directories_are_not_searched() {
        assert_eq!(directories(Some(OsStr::new(":.:bin:/opt/x:/sbin"))), "/opt/x:/sbin:/usr/sbin:/usr/local/sbin");
    }
}
