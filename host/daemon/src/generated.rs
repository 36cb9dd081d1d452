//! Files of the documentation that are made from the code. For each there is a test that says whether it is current;
//! `cargo xtask generate` writes them.

use std::path::{Path, PathBuf};

/// Set, it has the files written instead of compared.
const WRITE: &str = "RULEWARD_GENERATE";

/// A file of the documentation.
pub fn documentation(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Fails if the file does not hold this text.
#[track_caller]
pub fn assert_current(name: &str, text: &str) {
    let file = documentation(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "docs/{name} is not what the code says; write it anew with `cargo xtask generate`");
}

/// `text` with what is between `<!-- NAME -->` and `<!-- end -->` replaced.
#[track_caller]
pub fn with_part(text: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), "<!-- end -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("{begin} has no end"));
    format!("{before}{begin}{part}{end}{after}")
}

mod status {
    use std::time::SystemTime;

    use schemars::generate::SchemaSettings;

    use ruleward_report::status::Status;

    fn schema() -> String {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<Status>();
        schema.insert("title".to_owned(), "The JSON of `ruleward status`, and of /status.json".into());
        serde_json::to_string_pretty(&schema).unwrap() + "\n"
    }

    #[test]
    fn the_schema_is_current() {
        super::assert_current("schema/status.json", &schema());
    }

    #[test]
    fn a_status_with_everything_in_it_fits_its_schema() {
        let schema = serde_json::from_str(&schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let store = crate::status_store::tests::store();
        for status in [store.status(), store.brief()] {
            let json = serde_json::to_value(&status).unwrap();
            let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        store.checked(&ruleward_report::Report::default(), SystemTime::now());
        let mut wrong = serde_json::to_value(store.status()).unwrap();
        wrong["policies"] = "many".into();
        assert!(!validator.is_valid(&wrong), "the schema allows anything");
    }
}
