//! A value as a file that tells by itself whether it is whole: JSON with the number of its format and the digest of its
//! contents. What is kept in the state directory one value a file is kept so.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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

#[derive(Deserialize)]
struct Envelope<'a> {
    version: u32,
    sha256: String,
    #[serde(borrow)]
    contents: &'a RawValue,
}

/// A value ready to be written.
pub struct Sealed<'a, T> {
    format: u32,
    sha256: String,
    contents: &'a T,
}

/// `value` in the format of this number.
///
/// # Errors
/// When it can't be written as JSON.
pub fn seal<T: Serialize>(format: u32, contents: &T) -> serde_json::Result<Sealed<'_, T>> {
    let (digest, _) = digest::measure_json(contents)?;
    let sha256 = digest::digits(&digest).unwrap_or_default().to_owned();
    Ok(Sealed { format, sha256, contents })
}

impl<T: Serialize> Sealed<'_, T> {
    /// Writes the file that holds it. Nothing of it is held as a whole meanwhile.
    ///
    /// # Errors
    /// Those of `file`.
    pub fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        let Self { format, sha256, contents } = self;
        let mut file = BufWriter::new(file);
        write!(file, "{{\"version\":{format},\"sha256\":\"{sha256}\",\"contents\":")?;
        serde_json::to_writer(&mut file, contents)?;
        file.write_all(b"}")?;
        file.flush()
    }
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
