use std::path::Path;

use super::no_env;
use crate::Pipeline;

#[track_caller]
fn shipped(name: &str) -> Pipeline {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines").join(name);
    let bytes = std::fs::read(&path).unwrap();
    Pipeline::parse(name, &bytes, &no_env).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn every_shipped_pipeline_is_valid() {
    for name in ["access-log.yaml", "flights.yaml", "orders.yaml"] {
        let pipeline = shipped(name);
        assert_eq!(format!("{}.yaml", pipeline.name), name);
    }
}
