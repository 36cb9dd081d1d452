//! The operator's settings.

use ruleward_sdk::Failure;
use serde::Deserialize;

use crate::parameters::Layer;
use crate::release::Release;

/// JSON Schema of the settings.
pub const SCHEMA: &str = include_str!("settings.schema.json");

/// The settings, read.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Which Calico to equal.
    pub release: Release,
    /// Parameters that Felix gets from its environment.
    pub felix: Layer<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw<'a> {
    calico_version: Option<String>,
    #[serde(borrow, default)]
    felix: Layer<'a>,
}

impl<'a> Settings<'a> {
    /// Reads JSON that fits [`SCHEMA`].
    ///
    /// # Errors
    /// [`Failure::Settings`] when a value can't be used.
    pub fn parse(json: &'a str) -> Result<Self, Failure> {
        let raw: Raw<'a> = serde_json::from_str(json).map_err(|error| Failure::in_settings("", error.to_string()))?;
        let release = raw.calico_version.map_or(Ok(Release::DEFAULT), |version| Release::parse(&version));
        let release = release.map_err(|message| Failure::in_settings("/calico-version", message))?;
        Ok(Self { release, felix: raw.felix })
    }
}
