//! The last configuration that was right, kept in the state directory. A daemon that is started with a wrong one works with
//! that, so that a slip of the pen and a boot do not leave a node without its rules.

use std::path::{Path, PathBuf};

use ruleward_state::configuration::{self, KeepError, Texts};

use super::problem::{ConfigError, Source};
use super::{Config, DEFAULT_STATE_DIRECTORY, decode, files};

impl Config {
    /// Keeps the files that this configuration was made of, as they are now, unless they have become wrong meanwhile.
    ///
    /// # Errors
    /// [`KeepError`]; what was kept before is still there then.
    pub fn keep(&self) -> Result<(), KeepError> {
        let mut problems = ConfigError::default();
        let sources = files::read_all(&self.file, &mut problems);
        if decode::decode(&self.file, &sources, problems).is_err() {
            return Ok(());
        }
        let sources = sources.into_iter().map(|source| (source.file, source.text)).collect();
        configuration::keep(&self.state_directory, &Texts { file: self.file.clone(), sources })
    }

    /// Whether a configuration is kept in this state directory.
    pub fn is_kept(state_directory: &Path) -> bool {
        configuration::is_kept(state_directory)
    }

    /// What was kept of the configuration in `file`, if it is whole, and still right for this version of the program.
    pub fn kept(file: &Path) -> Option<Self> {
        let file = std::path::absolute(file).ok()?;
        let default = || PathBuf::from(DEFAULT_STATE_DIRECTORY);
        let state_directory = Self::directory_in(&file, "state-directory").unwrap_or_else(default);
        let kept = configuration::kept(&state_directory).filter(|kept| kept.file == file)?;
        let sources: Vec<Source> = kept.sources.into_iter().map(|(file, text)| Source { file, text }).collect();
        Self::parse(&file, &sources).ok().filter(|config| config.state_directory == state_directory)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_right_comes_back_when_the_files_are_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ruleward.toml");
        let state = directory.path().join("state").display().to_string();
        let right = format!("state-directory = {state:?}\nnode-name = \"one\"\n");
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        let more = directory.path().join("conf.d/more.toml");
        fs::write(&file, &right).unwrap();
        fs::write(&more, "refresh-interval = \"7s\"\n").unwrap();
        assert_eq!(Config::kept(&file), None, "nothing was kept yet");
        let config = Config::load(&file).unwrap();
        config.keep().unwrap();
        fs::write(&more, "refresh-intervall = \"7s\"\n").unwrap();
        Config::load(&file).unwrap_err();
        config.keep().unwrap(); // what is wrong is not kept
        assert_eq!(Config::kept(&file), Some(config.clone()));
        assert_eq!(Config::kept(&directory.path().join("other.toml")), None);
        // Where the state is can be read from a file that is wrong elsewhere, or not at all.
        fs::write(&file, "nonsense").unwrap();
        assert_eq!(Config::kept(&file), None);
        fs::write(&file, &right).unwrap();
        let kept = directory.path().join("state/configuration/configuration.json");
        let text = fs::read_to_string(&kept).unwrap().replace("7s", "8s");
        fs::write(&kept, text).unwrap();
        assert_eq!(Config::kept(&file), None, "it was damaged");
    }
}
