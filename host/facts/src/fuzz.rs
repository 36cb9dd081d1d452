//! What reads bytes of others, for the targets in `fuzz/`: behind a feature.

use std::path::Path;

use crate::{resources, rtnetlink};

/// What the kernel says of a link, and of an address.
pub fn interfaces(body: &[u8]) {
    rtnetlink::read_any(body);
}

/// A file of resources: as YAML and as JSON.
pub fn resources(bytes: &[u8]) {
    resources::from_bytes(Path::new("resources.yaml"), bytes);
    resources::from_bytes(Path::new("resources.json"), bytes);
}
