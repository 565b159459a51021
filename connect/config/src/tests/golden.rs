use super::no_env;
use crate::Pipeline;

#[track_caller]
fn check(file: &str, text: &str, expected: &str) {
    let report = Pipeline::parse(file, text.as_bytes(), &no_env).expect_err("mistakes");
    assert_eq!(report.to_string(), expected);
}

#[test]
fn a_report_looks_like_this() {
    check("orders.yaml", include_str!("golden/orders.yaml"), include_str!("golden/orders.txt"));
}
