//! What a running daemon shows: metrics that move with their causes, the page, the screen of `status`, traces, their
//! documented form; and that looking at it costs the node nothing.

mod documented;
mod load;
mod metrics;
mod page;
mod screen;
mod traces;
