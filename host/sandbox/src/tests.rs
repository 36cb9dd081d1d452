//! Policies that do their worst, and what the host says then.

mod attacks;
mod contract;
mod corpus;
mod hostile;
mod repeat;
mod schema;
mod storage;
mod teaching;
