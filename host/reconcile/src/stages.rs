//! What a step of the reconciler consists of. Each file has one stage, or what belongs to it.

mod beside;
mod cached;
mod clean;
mod give_way;
mod hand_on;
mod handle_events;
mod noted;
mod outcome;
mod prove;
mod retrieve;
mod sets;
mod show;
mod straight;
mod trace;
