//! Reads `ruleward.toml` and the files of `conf.d` beside it. Nothing is interpreted here; a file that can't be read
//! is a problem, the others are read all the same.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::problem::{ConfigError, Problem, Source, unreadable};
use ruleward_files::regular::{self, NotRead};

/// Longest configuration file in bytes: 16 MiB.
pub const MAX_FILE_SIZE: u64 = 16 << 20;

/// The texts of `file` and of `conf.d/*.toml` beside it, in the order in which they count.
pub(super) fn read_all(file: &Path, problems: &mut ConfigError) -> Vec<Source> {
    let mut files = vec![file.to_owned()];
    let directory = file.parent().unwrap_or(Path::new("")).join("conf.d");
    match additional_files(&directory) {
        Ok(more) => files.extend(more),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => problems.add(|| io_problem(&directory, &error)),
    }
    let mut sources = Vec::new();
    for path in files {
        match read(&path) {
            Ok(text) => sources.push(Source { file: path, text }),
            Err(problem) => problems.add(|| problem),
        }
    }
    sources
}

/// `*.toml` in name order; dot-files are left out, as a shell would.
fn additional_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, Problem> {
    let bytes = regular::read(path, MAX_FILE_SIZE).map_err(|error| match error {
        NotRead::Io(error) => io_problem(path, &error),
        NotRead::NotAFile if path.is_dir() => {
            unreadable(path, "is a directory; name the file in it, such as ruleward.toml")
        }
        NotRead::NotAFile => unreadable(path, "is not a regular file"),
        NotRead::TooLong(_) => unreadable(path, "is longer than 16 MiB; split its policies over files in conf.d"),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        unreadable(path, format!("is not UTF-8: line {line} holds other bytes; save the file as UTF-8"))
    })
}

fn io_problem(path: &Path, error: &io::Error) -> Problem {
    let reason = match error.kind() {
        ErrorKind::NotFound => {
            "does not exist; create it (an empty file is a valid configuration) or name another one with --config"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            "can't be read: permission denied; run as root, or let this user read it".to_owned()
        }
        ErrorKind::NotADirectory => "can't be read: a part of the path is a file, not a directory".to_owned(),
        _ => format!("can't be read: {error}"),
    };
    Problem::Unreadable { file: path.to_owned(), reason, denied: error.kind() == ErrorKind::PermissionDenied }
}
