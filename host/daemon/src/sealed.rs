//! A value as a file that tells by itself whether it is whole: JSON with the number of its format and the digest of its
//! contents. What is kept in the state directory one value a file is kept so.

use std::fs::File;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::digest;
use crate::regular::{self, NotRead};

/// Why a file does not hold what was sealed.
#[derive(Debug)]
pub enum Broken {
    /// It can't be read.
    Unreadable(io::Error),
    /// It was written by another version of this program: the number of its format.
    OtherFormat(u32),
    /// It is not what was written, and how that is known.
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    sha256: String,
    #[serde(borrow)]
    contents: &'a RawValue,
}

/// The bytes of a file that holds `value` in the format of this number.
///
/// # Errors
/// When it can't be written as JSON.
pub fn seal(format: u32, value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let contents = to_raw_value(value)?;
    let sha256 = digest::hex_of(contents.get().as_bytes());
    serde_json::to_vec(&Envelope { version: format, sha256, contents: &contents })
}

/// The value in `file`, which has at most `largest` bytes.
///
/// # Errors
/// [`Broken`] says why there is none.
pub fn open<T: DeserializeOwned>(format: u32, file: File, largest: u64) -> Result<T, Broken> {
    let metadata = file.metadata().map_err(Broken::Unreadable)?;
    let bytes = regular::bytes_of(file, &metadata, largest).map_err(|error| match error {
        NotRead::Io(error) => Broken::Unreadable(error),
        NotRead::NotAFile | NotRead::TooLong(_) => Broken::Damaged(format!("it is larger than {} MiB", largest >> 20)),
    })?;
    let damaged = |error: serde_json::Error| Broken::Damaged(error.to_string());
    let envelope: Envelope<'_> = serde_json::from_slice(&bytes).map_err(damaged)?;
    if envelope.version != format {
        return Err(Broken::OtherFormat(envelope.version));
    }
    if digest::hex_of(envelope.contents.get().as_bytes()) != envelope.sha256 {
        return Err(Broken::Damaged("its digest differs".to_owned()));
    }
    serde_json::from_str(envelope.contents.get()).map_err(damaged)
}
