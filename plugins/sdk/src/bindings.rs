//! The code that wit-bindgen makes from `wit/policy.wit`. Nothing here is written by hand.

#![allow(
    missing_docs,
    unsafe_code,
    unused_qualifications,
    clippy::all,
    rustdoc::all,
    reason = "generated; the contract is explained in wit/policy.wit"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "policy",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "ruleward_sdk::bindings_for_export",
    additional_derives: [PartialEq],
    generate_unused_types: true,
});
