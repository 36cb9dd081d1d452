//! The generated Rust side of `wit/policy.wit`, package `ruleward:policy@0.1.0`. Nothing outside this
//! folder knows these types: they are converted once, at the border.

#![allow(missing_docs, unused_qualifications, clippy::all, reason = "generated from wit/policy.wit, which explains it")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "policy",
    ownership: Borrowing { duplicate_if_necessary: true },
});
