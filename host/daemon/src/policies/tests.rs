//! Policies that do their worst, and what the host says then.

mod contract;
mod conversion;
mod hostile;
mod schema;
mod storage;
