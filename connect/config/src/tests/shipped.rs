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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let pipeline = shipped(&name);
        assert_eq!(format!("{}.yaml", pipeline.name), name);
        assert!(!pipeline.tests.is_empty(), "{name} has no tests");
        names.push(name);
    }
    assert!(names.len() >= 9, "{names:?}");
}

#[track_caller]
fn check_access_line(line: &str, whole: bool) {
    let pipeline = shipped("access-log.yaml");
    let mut decoder = pipeline.decode.decoder(&pipeline.schema.columns).unwrap();
    assert_eq!(decoder.check(line.as_bytes()).is_ok(), whole, "{line}");
}

#[test]
fn the_access_log_pattern_reads_what_servers_write() {
    let head = r#"192.0.2.7 - - [17/May/2015:10:05:03 +0000]"#;
    check_access_line(&format!(r#"{head} "GET / HTTP/1.1" 200 512 "-" "curl/7""#), true);
    check_access_line(&format!(r#"{head} "GET / HTTP/1.1" 304 - "-" "-""#), true);
    check_access_line(&format!(r#"{head} "-" 408 - "-" "-""#), true);
    check_access_line(&format!(r#"{head} "GET /\"x\" HTTP/1.1" 404 0 "a \" b" "c""#), true);
    check_access_line(&format!(r#"{head} "GET / HTTP/1.1" 200 512 "-" "curl/7"#), false);
    check_access_line(&format!(r#"{head} "GET / HTTP/1.1" 200 many "-" "curl/7""#), false);
    check_access_line("", false);
}
