//! Reads the facts.
