//! Programs that belong together are installed side by side.

use std::path::{Path, PathBuf};

/// What to start as `name`: the program in the folder of this one, so that two versions on one
/// machine do not mix. Where it is not there, the name alone, which is looked up in `PATH`.
pub fn sibling(name: &str) -> PathBuf {
    std::env::current_exe().map_or_else(|_| name.into(), |own| beside(&own, name))
}

fn beside(own: &Path, name: &str) -> PathBuf {
    Some(own.with_file_name(name)).filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_beside_this_program_is_looked_up_in_path() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("own"), folder.path().join("other"));
        assert_eq!(beside(&own, "other"), Path::new("other"));
        std::fs::create_dir(&other).unwrap();
        assert_eq!(beside(&own, "other"), Path::new("other"), "a folder is no program");
        std::fs::remove_dir(&other).unwrap();
        std::fs::write(&other, "").unwrap();
        assert_eq!(beside(&own, "other"), other);
    }
}
