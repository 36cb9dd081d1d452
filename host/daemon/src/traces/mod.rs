//! Traces of checks, sent to an OpenTelemetry collector if the configuration names one: OTLP over
//! HTTP.
//!
//! OpenTelemetry's crates do it (`otlp/`), and the feature of that name brings them. A build
//! without it takes no address of a collector ([`supported`]).

mod endpoint;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(any(test, not(feature = "otlp")))]
mod unsupported;

use std::time::Duration;

pub use endpoint::{Endpoint, Target};
#[cfg(feature = "otlp")]
pub use otlp::Traces;
#[cfg(not(feature = "otlp"))]
pub use unsupported::Traces;

/// How long a daemon that ends waits for its last traces to be taken.
pub const CLOSE_TIME: Duration = Duration::from_secs(2);

/// The collector, if this build can send to one.
///
/// # Errors
/// What to install instead.
pub fn supported(endpoint: Endpoint) -> Result<Endpoint, String> {
    if cfg!(feature = "otlp") { Ok(endpoint) } else { Err(refusal(&endpoint)) }
}

fn refusal(endpoint: &Endpoint) -> String {
    format!(
        "this build sends nothing to {endpoint}; install the Debian package \"ruleward\" or build with `--features otlp`, or \
         set \"off\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status_store::StatusStore;

    #[test]
    fn a_build_without_the_feature_names_the_package_that_has_it() {
        let endpoint = Endpoint::parse("http://127.0.0.1:4318").unwrap();
        let text = refusal(&endpoint);
        assert!(
            text.contains("http://127.0.0.1:4318/v1/traces") && text.contains("Debian package \"ruleward\""),
            "{text}"
        );
        assert_eq!(supported(endpoint.clone()).ok(), cfg!(feature = "otlp").then_some(endpoint));
    }

    #[test]
    fn a_build_without_the_feature_wants_no_traces() {
        let traces = unsupported::Traces::new(StatusStore::new("node", Duration::from_secs(90)));
        traces.configure(Endpoint::parse("http://127.0.0.1:4318").ok().as_ref(), None);
        assert!(!traces.are_wanted() && !unsupported::Traces::none().are_wanted());
        traces.end();
        traces.close(CLOSE_TIME); // at once
    }
}
