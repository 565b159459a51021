//! Pipelines that our pages show are accepted as they stand.

use std::path::Path;

use millrace_config::Pipeline;

/// Pages with whole pipelines in them.
const PAGES: [&str; 4] = [
    "sinks/files/README.md",
    "sinks/http/README.md",
    "sinks/stdout/README.md",
    "connect/sources/README.md",
];

#[test]
fn pipelines_on_our_pages_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for page in PAGES {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let pipelines: Vec<_> = blocks.filter(|block| block.starts_with("version:")).collect();
        assert!(!pipelines.is_empty(), "{page} has no pipeline");
        for pipeline in pipelines {
            let parsed = Pipeline::parse(page, pipeline.as_bytes(), &|_| Some("set".to_owned()));
            parsed.unwrap_or_else(|report| panic!("{report}"));
        }
    }
}
