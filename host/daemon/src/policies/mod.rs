//! Runs policies in their sandbox.
