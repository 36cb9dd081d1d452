//! What reads bytes of others, for the targets in `fuzz/`: behind a feature.

use std::path::Path;

use crate::documents;

/// A file of resources: as YAML and as JSON.
pub fn resources(bytes: &[u8]) {
    documents::from_bytes(Path::new("resources.yaml"), bytes);
    documents::from_bytes(Path::new("resources.json"), bytes);
}
