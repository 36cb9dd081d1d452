//! A policy's own folder: `policy.toml` says how its component is made. What the author's compiler makes is turned into
//! a component here, with the contract and the WASI stub of this program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ruleward_author::Language;
use serde::Deserialize;

use crate::error::AuthorError;

/// The file that makes a folder a policy's.
pub const FILE: &str = "policy.toml";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Project {
    /// The component that is made, from this folder.
    pub component: PathBuf,
    /// What `sh` runs in this folder; it leaves `module`, or else the component itself.
    pub build: String,
    /// The core module that the compiler leaves; `ruleward` makes the component of it.
    pub module: Option<PathBuf>,
    /// Which bindings are written before the build, and where.
    pub bindings: Option<Bindings>,
}

/// Bindings to write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bindings {
    /// For this language.
    pub language: BindingsLanguage,
    /// Into this folder.
    pub folder: PathBuf,
}

/// Languages with bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BindingsLanguage {
    /// A header and a source file
    C,
    /// Packages of a module
    Go,
    /// The contract itself, and its types
    Javascript,
    /// The contract, and the package that a policy inherits from
    Python,
    /// The contract itself, for tools that read WIT (Rust)
    Wit,
}

impl From<BindingsLanguage> for Language {
    fn from(language: BindingsLanguage) -> Self {
        match language {
            BindingsLanguage::C => Self::C,
            BindingsLanguage::Go => Self::Go,
            BindingsLanguage::Javascript => Self::Javascript,
            BindingsLanguage::Python => Self::Python,
            BindingsLanguage::Wit => Self::Wit,
        }
    }
}

impl Project {
    /// Reads `folder`'s file.
    ///
    /// # Errors
    /// [`AuthorError`] when it is not there or wrong.
    pub fn read(folder: &Path) -> Result<Self, AuthorError> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file).map_err(|error| {
            AuthorError::file(&file, format!("can't be read: {error}; `ruleward policy new` makes such a folder"))
        })?;
        toml::from_str(&text).map_err(|error| AuthorError::file(&file, error))
    }

    /// Builds the component, and gives its path. What the build prints goes to the standard error output.
    ///
    /// # Errors
    /// [`AuthorError`] when the build ends otherwise than well, or leaves what can't be a policy.
    pub fn build(&self, folder: &Path) -> Result<PathBuf, AuthorError> {
        if let Some(bindings) = &self.bindings {
            write_bindings(bindings.language.into(), &folder.join(&bindings.folder))?;
        }
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &self.build]).current_dir(folder).stdin(Stdio::null()).stdout(std::io::stderr());
        let status = shell.status().map_err(|error| AuthorError::Other(format!("can't start sh: {error}")))?;
        if !status.success() {
            let place = folder.join(FILE);
            return Err(AuthorError::Other(format!("{}: `{}` ended with {status}", place.display(), self.build)));
        }
        let component = folder.join(&self.component);
        if let Some(module) = &self.module {
            encode(&folder.join(module), &component)?;
        }
        Ok(component)
    }
}

/// Makes a component of a core module.
///
/// # Errors
/// [`AuthorError`] says what the module lacks.
pub fn encode(module: &Path, component: &Path) -> Result<(), AuthorError> {
    let bytes = fs::read(module).map_err(|error| AuthorError::file(module, format!("can't be read: {error}")))?;
    let encoded = ruleward_author::encode(&bytes).map_err(|error| AuthorError::file(module, error))?;
    write(component, &encoded)
}

/// Writes bindings below `folder`.
///
/// # Errors
/// [`AuthorError`] when a file can't be written.
pub fn write_bindings(language: Language, folder: &Path) -> Result<(), AuthorError> {
    ruleward_author::bindings(language).iter().try_for_each(|(name, content)| write(&folder.join(name), content))
}

/// Writes a file and the folders above it. One that has this content already is left alone, so that builds see no change.
///
/// # Errors
/// [`AuthorError`] when it can't be written.
pub fn write(file: &Path, content: &[u8]) -> Result<(), AuthorError> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let wrong = |error: std::io::Error| AuthorError::file(file, format!("can't be written: {error}"));
    file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, content)).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_another_tool_leaves_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "component = \"made.wasm\"\nbuild = \"printf made >made.wasm\"\n").unwrap();
        let component = Project::read(folder.path()).unwrap().build(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(component).unwrap(), "made");
    }
}
