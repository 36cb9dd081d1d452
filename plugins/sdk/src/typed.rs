//! A policy as one function over typed settings: [`policy!`](crate::policy).

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Contribution, Description, Facts, Failure, json};

/// What [`policy!`](crate::policy) takes as `evaluate`.
pub type Evaluate<S> = fn(&Facts, S) -> Result<Contribution, Failure>;

/// Settings for a policy that has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Reads settings as a `T`.
///
/// # Errors
/// [`Failure::Settings`] with the JSON pointer of the value that does not fit.
pub fn read_settings<'a, T: Deserialize<'a>>(settings: &'a str) -> Result<T, Failure> {
    json::read(settings).map_err(|problem| Failure::in_settings(problem.pointer(), problem.message))
}

/// The JSON Schema (2020-12) of a type, as [`Description::schema`] takes it. Doc comments become descriptions.
pub fn schema_of<S: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<S>().to_value().to_string()
}

/// The description with the schema of the settings that `evaluate` takes.
#[doc(hidden)]
pub fn describe<S: JsonSchema>(description: Description, _evaluate: Evaluate<S>) -> Description {
    description.schema(schema_of::<S>())
}

/// Reads the settings and calls `evaluate`.
#[doc(hidden)]
pub fn evaluate<S: DeserializeOwned>(
    evaluate: Evaluate<S>,
    facts: &Facts,
    settings: &str,
) -> Result<Contribution, Failure> {
    evaluate(facts, read_settings(settings)?)
}

/// Makes one function a policy: a type with the trait [`Policy`](crate::Policy), and the component's entry points.
/// Once in a crate of type `cdylib`.
///
/// The function takes the facts and the settings. The type of the settings says what the operator may write: it is read
/// with serde, and its JSON Schema is what the host checks settings against before the policy is asked.
///
/// ```
/// use ruleward_sdk::settings::Network;
/// use ruleward_sdk::{
///     Attachment, Chain, Contribution, Description, Facts, Failure, Hook, Ownership, Placement, Rule, Table, protocol,
/// };
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     /// Who may reach the web server.
///     clients: Vec<Network>,
/// }
///
/// fn open(_facts: &Facts, settings: Settings) -> Result<Contribution, Failure> {
///     let mut contribution = Contribution::new();
///     for family in [ruleward_sdk::Family::Ipv4, ruleward_sdk::Family::Ipv6] {
///         let clients = settings.clients.iter().filter(|network| network.family() == family);
///         let rules = clients.map(|network| {
///             Rule::new().source(*network).protocol(protocol::TCP).destination_port(443).accept()
///         });
///         contribution = contribution.chain(Chain::new(Table::Filter, "web-in").families(family).rules(rules));
///     }
///     let jump = Rule::new().jump("web-in");
///     Ok(contribution.attachment(Attachment::new(Table::Filter, Hook::Input, Placement::First, jump)))
/// }
///
/// ruleward_sdk::policy! {
///     /// Opens the web server's port to some networks.
///     pub struct Web;
///     description: Description::new("web", "1.0.0", "Opens the web server's port to some networks.")
///         .wanting(Ownership::in_tables([Table::Filter]).chains(["web-*"]));
///     evaluate: open;
/// }
///
/// # fn main() {
/// use ruleward_sdk::Policy;
/// assert!(Web::describe().settings_schema.contains("Who may reach the web server."));
/// # }
/// ```
#[macro_export]
macro_rules! policy {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident;
        description: $description:expr;
        evaluate: $evaluate:expr;
    ) => {
        $(#[$attribute])*
        #[derive(Debug)]
        $visibility struct $name;

        impl $crate::Policy for $name {
            fn describe() -> $crate::Description {
                $crate::typed::describe($description, $evaluate)
            }

            fn evaluate(
                facts: &$crate::Facts,
                settings: &str,
            ) -> ::core::result::Result<$crate::Contribution, $crate::Failure> {
                $crate::typed::evaluate($evaluate, facts, settings)
            }
        }

        $crate::export_policy!($name);
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Settings {
        /// What to open.
        open_ports: Vec<u16>,
    }

    fn nothing(_: &Facts, settings: Settings) -> Result<Contribution, Failure> {
        if settings.open_ports.is_empty() {
            return Err(Failure::in_settings("/open-ports", "is empty"));
        }
        Ok(Contribution::new())
    }

    crate::policy! {
        struct Typed;
        description: Description::new("typed", "1.0.0", "For this test.");
        evaluate: nothing;
    }

    #[test]
    fn the_schema_is_that_of_the_settings() {
        let schema: serde_json::Value = serde_json::from_str(&Typed::describe().settings_schema).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["open-ports"]["description"], "What to open.");
        assert_eq!(schema["required"][0], "open-ports");
    }

    #[test]
    fn a_setting_that_does_not_fit_is_named_by_its_pointer() {
        let place = |settings: &str| match read_settings::<Settings>(settings) {
            Err(Failure::Settings(problem)) => (problem.where_, problem.message),
            other => panic!("{other:?}"),
        };
        let (at, message) = place(r#"{"open-ports":[1,"x"]}"#);
        assert_eq!(at, "/open-ports/1");
        assert!(message.contains("expected u16") && !message.contains("line"), "{message}");
        assert!(place(r#"{"open-portz":[]}"#).1.contains("unknown field `open-portz`"));
    }
}
