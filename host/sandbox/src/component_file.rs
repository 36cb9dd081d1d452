//! Reads a component's file and tells from its outer shape whether it can be one, so that the commonest mistakes (a
//! core module, a broken download, text) are named as what they are. Whether it is valid inside, the compiler says.

use std::path::Path;

use thiserror::Error;

use ruleward_files::digest;
use ruleward_files::regular::{self, NotRead};

/// Largest component, bytes.
pub const LARGEST: u64 = 64 << 20;

const MAGIC: &[u8] = b"\0asm";
/// Version 13, layer 1: the component model's binary format.
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];
/// Version 1, layer 0.
const CORE_MODULE: &[u8] = &[1, 0, 0, 0];

/// Why a file is no component.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A folder, socket or device.
    #[error("is not a regular file")]
    NotAFile,
    /// Over [`LARGEST`].
    #[error("is larger than {} MiB, the most that is loaded; build it without debug information", LARGEST >> 20)]
    TooLarge,
    /// No bytes.
    #[error("is empty")]
    Empty,
    /// WebAssembly's text format.
    #[error("is WebAssembly text; turn it into a binary component first (`wasm-tools parse`)")]
    Text,
    /// Something else.
    #[error("is not WebAssembly: it begins with {0:02x?} instead of 00 61 73 6d")]
    NotWasm(Vec<u8>),
    /// A module without the component around it.
    #[error("is a core WebAssembly module, not a component; make it one: `ruleward policy build MODULE.wasm`")]
    CoreModule,
    /// Another version of the format.
    #[error("is WebAssembly of the unknown binary version {0:02x?}; build it with current tools")]
    UnknownVersion(Vec<u8>),
    /// It ends inside a section.
    #[error("is truncated: a section that begins at byte {at} ends {missing} bytes after the file; copy it again")]
    Truncated {
        /// Where the section begins.
        at: usize,
        /// How much is missing at least.
        missing: u64,
    },
}

/// What a component's file holds.
#[derive(Debug)]
pub struct ComponentBytes {
    /// All of it.
    pub bytes: Vec<u8>,
    /// `sha256:...`
    pub digest: String,
}

impl ComponentBytes {
    /// Reads the component at `path`.
    ///
    /// # Errors
    /// [`FileError`] says what the file is instead.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        read(path).map(Self::from)
    }
}

impl From<Vec<u8>> for ComponentBytes {
    fn from(bytes: Vec<u8>) -> Self {
        let digest = digest::sha256(&bytes);
        Self { bytes, digest }
    }
}

/// Reads the component at `path`.
///
/// # Errors
/// [`FileError`] says what the file is instead.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = regular::read(path, LARGEST).map_err(|error| match error {
        NotRead::Io(error) => FileError::from(error),
        NotRead::NotAFile => FileError::NotAFile,
        NotRead::TooLong(_) => FileError::TooLarge,
    })?;
    check(&bytes)?;
    Ok(bytes)
}

/// Judges the outer shape.
///
/// # Errors
/// As [`read`].
pub fn check(bytes: &[u8]) -> Result<(), FileError> {
    if bytes.is_empty() {
        return Err(FileError::Empty);
    }
    let start = |bytes: &[u8]| bytes.iter().take(4).copied().collect();
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        let text = bytes.trim_ascii_start();
        let is_text = text.starts_with(b"(component") || text.starts_with(b"(module") || text.starts_with(b";;");
        return Err(if is_text { FileError::Text } else { FileError::NotWasm(start(bytes)) });
    };
    if rest.starts_with(CORE_MODULE) {
        return Err(FileError::CoreModule);
    }
    match rest.strip_prefix(COMPONENT) {
        Some(sections) => check_sections(sections, bytes.len() - sections.len()),
        None if rest.len() < COMPONENT.len() => Err(FileError::Truncated { at: 0, missing: 4 - rest.len() as u64 }),
        None => Err(FileError::UnknownVersion(start(rest))),
    }
}

/// Goes from section to section: each has a number, its length as LEB128, and so many bytes.
fn check_sections(mut bytes: &[u8], mut at: usize) -> Result<(), FileError> {
    while let Some((_, after_number)) = bytes.split_first() {
        let Some((length, body)) = leb128(after_number) else {
            // An overlong length is for the compiler to refuse; a length without an end is cut off.
            let cut = after_number.len() < 5;
            return if cut { Err(FileError::Truncated { at, missing: 1 }) } else { Ok(()) };
        };
        let missing = u64::from(length).saturating_sub(body.len() as u64);
        if missing > 0 {
            return Err(FileError::Truncated { at, missing });
        }
        let next = body.get(length as usize..).unwrap_or_default();
        at += bytes.len() - next.len();
        bytes = next;
    }
    Ok(())
}

fn leb128(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_its_own_message() {
        let message = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
        assert_eq!(message(b""), "is empty");
        assert!(message(b"\x7fELF").contains("not WebAssembly: it begins with [7f, 45, 4c, 46]"));
        assert!(message(b"  (component)").contains("WebAssembly text"));
        assert!(message(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
        assert!(message(b"\0asm\x0e\0\x01\0").contains("unknown binary version [0e, 00, 01, 00]"));
        assert!(message(b"\0asm\x0d").contains("truncated"));
        assert!(message(b"\0asm\x0d\0\x01\0\x00\x05ab").contains("begins at byte 8 ends 3 bytes after"));
        assert!(message(b"\0asm\x0d\0\x01\0\x00\xff\xff").contains("truncated"));
        assert!(check(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn a_folder_and_a_missing_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(FileError::NotAFile)));
        let missing = read(&folder.path().join("none.wasm")).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    #[test]
    fn a_huge_file_is_refused_without_being_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.wasm");
        std::fs::File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLarge)));
    }
}
