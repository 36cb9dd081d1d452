//! Joins a policy written as a plain type to the entry points of the component.

use crate::bindings::Guest;
use crate::{Contribution, Description, Facts, Failure};

/// What `ruleward_sdk::export_policy!` needs of the generated code.
#[doc(hidden)]
pub mod bindings_for_export {
    pub use crate::bindings::*;
}

/// A policy.
pub trait Policy {
    /// Says what this policy is. Must not depend on anything.
    fn describe() -> Description;

    /// Computes what the node should have, from `facts` and the settings (JSON that fits the schema of the
    /// description). The same input must give the same answer.
    ///
    /// # Errors
    /// Why there is no contribution; the last good one then stays in force.
    fn evaluate(facts: &Facts, settings: &str) -> Result<Contribution, Failure>;
}

/// The component around a policy.
#[doc(hidden)]
#[derive(Debug)]
pub struct Component<P>(core::marker::PhantomData<P>);

impl<P: Policy> Guest for Component<P> {
    fn describe() -> Description {
        install_panic_hook();
        P::describe()
    }

    fn evaluate(facts: Facts, settings: String) -> Result<Contribution, Failure> {
        install_panic_hook();
        P::evaluate(&facts, &settings)
    }
}

/// A panic ends the evaluation with a trap, which carries no text: what it was goes to the log first.
#[doc(hidden)]
pub fn install_panic_hook() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|info| crate::log::error(info.to_string())));
}

/// Makes a type with the trait [`Policy`] the component's policy. Once in a crate of type `cdylib`.
#[macro_export]
macro_rules! export_policy {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, unused_qualifications, reason = "entry points made by wit-bindgen")]
        const _: () = {
            type Exported = $crate::Component<$policy>;
    $crate::bindings_for_export::export_component!(Exported with_types_in $crate::bindings_for_export);
        };
    };
}
