//! What Felix takes the installed iptables to know. It finds that out by itself, as the host does; the parameter
//! `featureDetectOverride` (`MASQFullyRandom=false,SNATFullyRandom=true`) goes before what was found.

use ruleward_sdk::Failure;

use crate::parameters::Found;

/// Which source translations pick ports at random (`--random-fully`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// MASQUERADE.
    pub masquerade: bool,
    /// SNAT.
    pub source_nat: bool,
}

impl Features {
    /// What was `detected`, but for what the parameter says. Features that no nat rule depends on are left alone.
    ///
    /// # Errors
    /// When the parameter is no list of `NAME=VALUE`, or the value of one of the two is not true or false.
    pub fn read(detected: bool, parameter: Option<Found<'_>>) -> Result<Self, Failure> {
        let mut features = Self { masquerade: detected, source_nat: detected };
        let Some(found) = parameter else { return Ok(features) };
        for pair in found.text()?.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong =
                || found.refuse(format!("{pair:?} is not NAME=true or NAME=false, such as MASQFullyRandom=false"));
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let feature = match name.trim() {
                "MASQFullyRandom" => &mut features.masquerade,
                "SNATFullyRandom" => &mut features.source_nat,
                _ => continue,
            };
            *feature = match value.trim() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                _ => return Err(wrong()),
            };
        }
        Ok(features)
    }
}
