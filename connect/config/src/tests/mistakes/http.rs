use super::*;

/// A mistake in an `http` sink with these keys.
#[track_caller]
fn check_http(code: &str, keys: &str) -> Diagnostic {
    check_json(code, &format!("sinks:\n  hook:\n    http: {{{keys}}}\n"))
}

#[test]
fn a_url_leads_to_a_host_that_the_file_names() {
    let url = |text: &str| check_http("E-PATH-01", &format!("url: {text}"));
    url("«shop.example/in»");
    url("«ftp://shop.example/in»");
    url("«http://»");
    url("«http:///in»");
    url("«http://shop.example:many/»");
    url("«http://shop.example:70000/»");
    url("«http://shop.example/a b»");
    url("«http://shop.example/ä»");
    url("«\"http://shop.example/#top\"»");
    let found = url("«\"http://{region}.example/\"»");
    assert!(found.message.contains("the host of `url` has a column in it"), "{found:?}");
    url("«\"http://shop.example{region}\"»");
    let found = url("«http://me:secret@shop.example/»");
    assert!(found.help.contains("authorization"), "{found:?}");
    assert!(!found.message.contains("secret"), "{found:?}");
    check_json("E-KEY-03", "sinks: {s: {«http»: {}}}\n");
}

#[test]
fn columns_in_braces_are_columns() {
    let found = check_http("E-COL-01", "url: \"http://x/{«regoin»}\"");
    assert!(found.help.contains("did you mean `region`?"), "{found:?}");
    check_http("E-COL-01", "url: http://x/, headers: {x-id: \"no {«ids»}\"}");
    check_http("E-TEMPLATE-01", "url: \"http://x/«{»id\"");
    check_http("E-TEMPLATE-01", "url: \"http://x/id«}»\"");
    let found = check_http("E-TEMPLATE-01", "url: http://x/, headers: {x-id: \"a «}» b\"}");
    assert!(found.help.contains("`}}`"), "{found:?}");
}

#[test]
fn headers_are_headers() {
    let headers = |code, text: &str| check_http(code, &format!("url: http://x/, headers: {text}"));
    headers("E-NAME-01", "{«x id»: a}");
    headers("E-NAME-02", "{«Idempotency-Key»: a}");
    headers("E-NAME-02", "{«Content-Length»: a}");
    headers("E-NAME-02", "{x-a: a, «X-A»: b}");
    headers("E-RANGE-01", "{x-a: «\"a\\nb\"»}");
}

#[test]
fn settings_of_http_go_together() {
    let conflict = |keys: &str| check_http("E-KEY-04", &format!("url: http://x/, {keys}"));
    conflict("«batch»: {rows: 5}");
    conflict("body: raw, «batch»: {rows: 5}");
    conflict("body: raw, «columns»: [id]");
    check_http("E-RANGE-01", "url: http://x/, columns: «[]»");
    check_http("E-TYPE-02", "url: http://x/, method: «GET»");
    check_http("E-RANGE-01", "url: http://x/, body: ndjson, batch: {rows: «0»}");
    check_http("E-KEY-03", "url: http://x/, «tls»: {}");
    check_http("E-KEY-01", "url: http://x/, «auth»: {bearer: x}");
    let exactly = "sinks: {s: {http: {url: http://x/}, delivery: «exactly_once»}}\n";
    let found = check_json("E-DELIVERY-01", exactly);
    assert!(found.message.starts_with("the http sink cannot promise exactly_once"), "{found:?}");
    assert!(found.help.contains("`Idempotency-Key`"), "{found:?}");
}

#[test]
fn the_first_pause_is_no_longer_than_the_longest() {
    let sink =
        |retry: &str| format!("sinks: {{s: {{blackhole: {{}}, on_error: {{retry: {retry}}}}}}}\n");
    check_json("E-RANGE-01", &sink("{initial: «1m»}"));
    check_json("E-RANGE-01", &sink("{max: «50ms»}"));
    check_json("E-UNIT-01", &sink("{max_elapsed: «5»}"));
    check_json("E-KEY-01", &sink("{«factor»: 3}"));
}
