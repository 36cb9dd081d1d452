//! Reads `ruleward.toml`.
