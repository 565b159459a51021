mod http; // the sink
mod steps; // what happens on the way

use super::{EVERYTHING, parse};
use crate::{Diagnostic, codes, explain};

/// Parses a file in which `«…»` marks what is wrong, and compares code and place. The mark is not
/// part of the file; an empty one marks a place where something is missing.
#[track_caller]
fn check(code: &str, marked: &str) -> Diagnostic {
    let start = marked.find('«').expect("a mark");
    let (line, line_start) = (
        marked[..start].matches('\n').count() + 1,
        marked[..start].rfind('\n').map_or(0, |end| end + 1),
    );
    let column = marked[line_start..start].chars().count() + 1;
    let inside = &marked[start + '«'.len_utf8()..marked.find('»').expect("the mark's end")];
    let len = inside.lines().next().unwrap_or("").chars().count().max(1);
    let report = parse(&marked.replace(['«', '»'], "")).expect_err("a mistake");
    let found: Vec<_> =
        report.diagnostics.iter().map(|d| (d.code, d.line, d.column, d.len)).collect();
    assert!(report.diagnostics.iter().all(|found| !found.help.is_empty()), "{report}");
    assert_eq!(found, [(code, line, column, len)], "{report}");
    report.diagnostics.into_iter().next().unwrap()
}

#[track_caller]
fn check_help(code: &str, marked: &str, help: &str) {
    let found = check(code, marked).help;
    assert!(found.contains(help), "{found}");
}

/// The mistake is in what follows a head that is right, for JSON bodies.
#[track_caller]
fn check_json(code: &str, marked: &str) -> Diagnostic {
    let bare = marked.replace(['«', '»'], "");
    let sinks = if bare.contains("sinks:") { "" } else { "sinks: {lake: {parquet: {to: x}}}\n" };
    let topic = if bare.contains("topic:") { "" } else { "topic: t\n" };
    let schema = if bare.contains("schema:") { "" } else { "schema: {id: int, region: string}\n" };
    check(code, &format!("version: 1\npipeline: p\n{topic}{schema}{sinks}{marked}"))
}

#[track_caller]
fn check_json_help(code: &str, marked: &str, help: &str) {
    let found = check_json(code, marked).help;
    assert!(found.contains(help), "{found}");
}

#[track_caller]
fn check_parquet(code: &str, marked: &str) -> Diagnostic {
    check_json(code, &format!("sinks:\n  lake:\n    parquet:\n      to: x\n      {marked}\n"))
}

#[test]
fn an_unknown_key_is_found_at_every_level() {
    // Before each key of the file stands another one, at the same level; then all keys of all
    // maps in braces get one.
    let mut levels = 0;
    for (number, line) in EVERYTHING.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim_start().trim_start_matches("- ");
        let user_named = ["kind:", "double_id:", "day:", "next_day:", "lake:"];
        if number == 0 || user_named.iter().any(|name| key.starts_with(name)) {
            continue;
        }
        let indent = indent + (line.trim_start().len() - key.len());
        if line.trim_start().starts_with("- ") {
            continue;
        }
        let mut lines: Vec<&str> = EVERYTHING.lines().collect();
        let inserted = format!("{}«zzzzzzz»: 1", " ".repeat(indent));
        lines.insert(number, &inserted);
        let text = lines.join("\n");
        // Where only components can stand, the code is that of components.
        let code = if ["file:", "regex:"].iter().any(|name| key.starts_with(name)) {
            "E-KEY-02"
        } else {
            "E-KEY-01"
        };
        check(code, &text);
        levels += 1;
    }
    assert!(levels > 30, "{levels}");

    for inside in ["types: {", "rotate: {", "row_group: {", "limits: {", "time: {", "on_error: {"] {
        let text = EVERYTHING.replace(inside, &format!("{inside}«zzzzzzz»: 1, "));
        let code = if inside == "types: {" { continue } else { "E-KEY-01" };
        check(code, &text);
    }
    check("E-KEY-01", &EVERYTHING.replace("{where:", "{«zzzzzzz»: 1, where:"));
    check("E-KEY-01", &EVERYTHING.replace("{zstd:", "{«zzzzzzz»: 1, zstd:"));
}

#[test]
fn slips_get_a_suggestion() {
    check_help("E-KEY-01", &EVERYTHING.replacen("steps:", "«step»:", 1), "did you mean `steps`?");
    check_help("E-KEY-01", &EVERYTHING.replace("    once:", "    «onec»:"), "`once`");
    check_help("E-KEY-02", &EVERYTHING.replace("parquet:", "«parket»:"), "`parquet`");
    check_help("E-KEY-02", &EVERYTHING.replace("regex:", "«regexp»:"), "`regex`");
    check_help("E-KEY-01", &EVERYTHING.replace("where: queue", "«were»: queue"), "`where`");
    // A misspelled key is not missing as well.
    check_help("E-KEY-01", &EVERYTHING.replace("version", "«versoin»"), "`version`");
}

#[test]
fn sinks_of_json_lines_have_their_own_keys() {
    let jsonl = |code, marked: &str| {
        check_json(code, &format!("sinks: {{lines: {{jsonl: {{to: x, {marked}}}}}}}\n"))
    };
    assert_eq!(jsonl("E-KEY-01", "«compresion»: gzip").help, "did you mean `compression`?");
    assert_eq!(jsonl("E-TYPE-02", "compression: «gzp»").help, "did you mean `gzip`?");
    jsonl("E-TYPE-02", "compression: «snappy»");
    jsonl("E-KEY-01", "«row_group»: {rows: 5}");
    jsonl("E-RANGE-01", "«rotate»: {size: none, every: none}");
    jsonl("E-COL-01", "partition_by: [«regoin»]");
    check_json_help("E-KEY-02", "sinks: {lines: {«json»: {to: x}}}\n", "did you mean `jsonl`?");
}

#[test]
fn sinks_of_csv_have_their_own_keys() {
    let csv = |code, marked: &str| {
        check_json(code, &format!("sinks: {{c: {{csv: {{to: x, {marked}}}}}}}\n"))
    };
    assert_eq!(csv("E-KEY-01", "«delimeter»: ;").help, "did you mean `delimiter`?");
    assert_eq!(csv("E-TYPE-01", "delimiter: «;;»").help, "for example `delimiter: \";\"`");
    csv("E-TYPE-01", "quote: «ä»");
    csv("E-TYPE-01", "quote: «\"\"»");
    csv("E-TYPE-01", "delimiter: «\"\\n\"»");
    csv("E-TYPE-01", "header: «yes»");
    csv("E-KEY-04", "delimiter: «'\"'»");
    csv("E-KEY-04", "delimiter: ;, quote: «;»");
    csv("E-RANGE-01", "null: «'-,-'»");
    csv("E-RANGE-01", "delimiter: \"-\", null: «a-b»");
    csv("E-KEY-01", "«line_end»: crlf");
}

#[test]
fn sinks_without_files_have_their_own_mistakes() {
    check_json("E-DELIVERY-01", "sinks: {s: {stdout: {}, delivery: «exactly_once»}}\n");
    check_json("E-DELIVERY-01", "sinks: {s: {blackhole: {}, delivery: «exactly_once»}}\n");
    check_json("E-RANGE-01", "sinks: {s: {stdout: {columns: «[]»}}}\n");
    check_json("E-COL-01", "sinks: {s: {stdout: {columns: [«nope»]}}}\n");
    check_json("E-KEY-01", "sinks: {s: {stdout: {«to»: x}}}\n");
    check_json("E-KEY-01", "sinks: {s: {blackhole: {«columns»: [id]}}}\n");
    check_json_help("E-KEY-02", "sinks: {s: {«stdot»: {}}}\n", "did you mean `stdout`?");
}

#[test]
fn an_index_has_a_directory_of_its_own() {
    for other in ["x", "./x", "x/", "./x/.//", "file://x", "file://./x"] {
        let sinks = format!(
            "sinks: {{s: {{index: {{to: x}}}}, o: {{index: {{to: «{other}»}}}}, l: {{jsonl: {{to: x}}}}}}\n"
        );
        let found = check_json("E-KEY-04", &sinks);
        assert!(found.message.contains("the sink `s` has its index"), "{}", found.message);
    }
    for other in ["y", "/x", "../x", "x/y", "X"] {
        let sinks = format!("sinks: {{s: {{index: {{to: x}}}}, o: {{index: {{to: {other}}}}}}}\n");
        let file = format!("version: 1\npipeline: p\ntopic: t\nschema: {{id: int}}\n{sinks}");
        assert!(parse(&file).is_ok(), "{other}");
    }
}

#[test]
fn an_index_has_its_own_mistakes() {
    let index = |code, marked: &str| {
        check_json(code, &format!("sinks: {{s: {{index: {{to: x, {marked}}}}}}}\n"))
    };
    let found = index("E-TYPE-02", "mapping: {id: «keyword»}");
    assert_eq!(found.message, "`id` is of type `int`");
    assert_eq!(found.help, "it can be `number`");
    index("E-TYPE-02", "mapping: {region: «words»}");
    index("E-COL-01", "mapping: {«regio»: text}");
    index("E-COL-03", "mapping: {region: text, «body.region»: keyword}");
    index("E-RANGE-01", "mapping: «{}»");
    index("E-COL-01", "time: «region»");
    index("E-UNIT-01", "keep: «30»");
    index("E-KEY-01", "«partition_by»: [region]");
    let reserved = "schema: {_offset: int, id: int}\nsinks: {s: {index: {«to»: x}}}\n";
    check_json("E-COL-03", reserved);
}

#[test]
fn keys_of_later_versions_are_named() {
    let message = check_json("E-KEY-01", "«include»: []\n").message;
    assert_eq!(message, "`include` is not available at the top level in this version");
    let message = check_json("E-KEY-02", "sinks: {all: {«elasticsearch»: {urls: [x]}}}\n").message;
    assert_eq!(message, "the sink `elasticsearch` is not available in this version");
    check_json("E-KEY-02", "steps:\n  - «lookup»: {on: body.id}\n");
    check_json("E-KEY-01", "sinks: {lake: {parquet: {to: x}, «ordering»: queue}}\n");
    check_json_help("E-KEY-01", "sinks: {lake: {parquet: {to: x, «limits»: {}}}}\n", "top level");
}

#[test]
fn tests_are_about_what_the_pipeline_has() {
    let check_test = |code, marked: &str| {
        let found = check_json(code, &format!("tests:\n  - {{name: a, {marked}}}\n"));
        (found.message, found.help)
    };
    let (message, help) = check_test("E-KEY-01", "given: [], expect: {«laek»: {rows: 1}}");
    assert_eq!(message, "this pipeline has no sink `laek`");
    assert_eq!(help, "did you mean `lake`?");
    check_test("E-KEY-01", "given: [], expect: {«source»: {dlq: 0}}");
    check_test("E-KEY-01", "given: [], expect: {lake: {«row»: 1}}");
    check_test("E-TYPE-01", "given: [], expect: {lake: {rows: [«5»]}}");
    check_test("E-TYPE-01", "given: [], expect: {lake: {rows: «many»}}");
    check_test("E-RANGE-01", "given: [], expect: {lake: {filtered: «-1»}}");
    check_test("E-KEY-03", "given: [«{key: k}»], expect: {}");
    check_test("E-KEY-04", "given: [{body: {}, «raw»: x}], expect: {}");
    check_test("E-NAME-02", "given: [], expect: {}}\n  - {name: «a», given: [], expect: {}");
    check("E-KEY-04", &EVERYTHING.replace("- raw:", "- «body»:"));
    check("E-KEY-04", &EVERYTHING.replace("- raw:", "- «key»: k\n        raw:"));
    check("E-KEY-04", &EVERYTHING.replace("source: {dlq", "source: {«rows»: 0, dlq"));
    check("E-RANGE-01", &EVERYTHING.replace("\"5 a 2026-01-02T03:04:05\"", "«\"5\\n6\"»"));
}

#[test]
fn keys_can_be_missing_or_too_many() {
    check(
        "E-KEY-03",
        &EVERYTHING.replace("version: 1", "«pipeline: every-key»").replacen(
            "\npipeline: every-key",
            "",
            1,
        ),
    );
    check(
        "E-KEY-03",
        &EVERYTHING.replace("parquet:", "«parquet»:").replace("      to: lake\n", ""),
    );
    check(
        "E-KEY-03",
        &EVERYTHING
            .replace("{where: body.id > 0, on_unknown: dlq}", "{on_unknown: dlq}")
            .replace("- filter: {on", "- «filter»: {on"),
    );
    check_json("E-KEY-03", "sinks:\n  «lake»: {delivery: exactly_once}\n");
    check_json("E-KEY-03", "steps:\n  - «{}»\n");
    check_json("E-KEY-04", "steps:\n  - filter: body.id > 1\n    «set»: {a: 1}\n");
    check_json("E-SCHEMA-01", "schema: {}\n".replace("schema", "«schema»").as_str());
}

#[test]
fn values_have_types() {
    check_help(
        "E-TYPE-01",
        &EVERYTHING.replace("queues: 8", "queues: «eight»"),
        "write a number, for example `queues: 8`",
    );
    check("E-TYPE-01", &EVERYTHING.replace("once: true", "once: «yes»"));
    check("E-TYPE-01", &EVERYTHING.replace("queues: 8", "queues: «8.0»"));
    check("E-TYPE-01", &EVERYTHING.replace("queues: 8", "queues: «[8]»"));
    check("E-TYPE-01", &EVERYTHING.replace("queues: 8", "«queues»:"));
    check("E-TYPE-01", &EVERYTHING.replace("queues: 8", "queues: «~»"));
    check_help(
        "E-TYPE-01",
        &EVERYTHING.replace("[\"logs/*.jsonl\"]", "«logs/*.jsonl»"),
        "`include: [logs/*.jsonl]`",
    );
    check_help(
        "E-TYPE-02",
        &EVERYTHING.replace("start: end", "start: «ende»"),
        "did you mean `end`?",
    );
    check("E-TYPE-02", &EVERYTHING.replace("{id: int}", "{id: «integer»}"));
    check("E-TYPE-02", &EVERYTHING.replace("{zstd: 9}", "«lz4»"));
    check_help(
        "E-TYPE-01",
        "version: 1\npipeline: p\ntopic: t\nsource: {file: {include: [a], decode: «lines»}}\n\
         steps: [filter: body.line LIKE 'x%']\nsinks: {lake: {parquet: {to: x}}}\n",
        "`lines: {}`",
    );
}

#[test]
fn durations_and_sizes_need_units() {
    check_help(
        "E-UNIT-01",
        &EVERYTHING.replace("every: 1m", "every: «10»"),
        "write `10s`, `10m` or `10h`",
    );
    check("E-UNIT-01", &EVERYTHING.replace("every: 1m", "every: «1 minute»"));
    check_help(
        "E-UNIT-02",
        &EVERYTHING.replace("read_chunk: 1MiB", "read_chunk: «4096»"),
        "`4096KiB`",
    );
    check("E-UNIT-02", &EVERYTHING.replace("read_chunk: 1MiB", "read_chunk: «1 MiB»"));
}

#[test]
fn values_have_limits() {
    check("E-RANGE-01", &EVERYTHING.replace("version: 1", "version: «2»"));
    check("E-RANGE-01", &EVERYTHING.replace("queues: 8", "queues: «0»"));
    check("E-RANGE-01", &EVERYTHING.replace("queues: 8", "queues: «99999999999999999999»"));
    check("E-RANGE-01", &EVERYTHING.replace("{zstd: 9}", "{zstd: «23»}"));
    check("E-RANGE-01", &EVERYTHING.replace("scan_every: 500ms", "scan_every: «1ms»"));
    check("E-RANGE-01", &EVERYTHING.replace("[\"logs/*.jsonl\"]", "«[]»"));
    check_parquet("E-RANGE-01", "«rotate»: {size: none, every: none}");
    check_parquet("E-RANGE-01", "columns: «[]»");
    check_json_help("E-RANGE-01", "steps: [keep: «[]»]\n", "`keep: [id]`");
    check_parquet("E-RANGE-01", "partition_by: «[id, region]»");
}

#[test]
fn there_may_not_be_too_many_columns() {
    let many = |what: &str| (0..=10_000).map(|n| format!("c{n}: {what}, ")).collect::<String>();
    check_json("E-RANGE-01", &format!("«schema»: {{{}}}\n", many("int")));
    check_json("E-RANGE-01", &format!("steps: [«set»: {{{}}}, filter: c7 = 1]\n", many("1")));
}

#[test]
fn a_report_has_an_end() {
    let keys: String = (0..5000).map(|n| format!("k{n}: 1, ")).collect();
    let report = parse(&format!("{{{keys}}}")).unwrap_err();
    // Beside those keys, four are missing.
    assert_eq!((report.diagnostics.len(), report.count), (100, 5004));
    assert!(report.to_string().contains("5004 errors, of which these are the first 100."));
    let long = parse(&format!("? {}\n: 1\n", "k".repeat(100_000))).unwrap_err();
    assert!(long.diagnostics.iter().all(|found| found.message.len() < 1000));
}

#[test]
fn names_have_a_shape() {
    check("E-NAME-01", &EVERYTHING.replace("every-key", "«Every key»"));
    check("E-NAME-01", &EVERYTHING.replace("  lake:", "  «lake.1»:"));
    check("E-NAME-01", &EVERYTHING.replace("  lake:", "  «x-lake»:"));
    check("E-NAME-02", &EVERYTHING.replace("  lake:", "  «source»:"));
    check("E-NAME-01", &EVERYTHING.replace("name: events", "name: «events.eu»"));
    check("E-NAME-01", &EVERYTHING.replace("name: events", "name: «MILLRACE_STATE»"));
    for reserved in ["SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "rmq_sys_any", "TBW102"] {
        check_json("E-NAME-01", &format!("topic: «{reserved}»\n"));
        check_json("E-NAME-01", &format!("topic: {{name: «{reserved}»}}\n"));
    }
    check_json("E-NAME-01", "steps: [set: {«not»: 1}]\n");
    check_json("E-NAME-01", "steps: [set: {«a.b»: 1}]\n");
    check_json("E-NAME-02", "steps: [set: {«offset»: 1}]\n");
    check_json("E-NAME-02", "topic: {name: t, properties: {«KEYS»: body.id}}\n");
    check_json("E-NAME-02", "topic: {name: t, properties: {«dlq_code»: body.id}}\n");
}

#[test]
fn a_pipeline_does_not_read_its_own_dead_letters() {
    check_json("E-NAME-02", "topic: «'%DLQ%p_lake'»\n");
    check_json("E-NAME-02", "topic: {name: «'%DLQ%p_source'»}\n");
    for others in ["%DLQ%p_other", "%DLQ%q_lake", "%RETRY%p_lake"] {
        let text = format!(
            "version: 1\npipeline: p\ntopic: '{others}'\nschema: {{id: int}}\n\
             sinks: {{lake: {{parquet: {{to: x}}}}}}\n"
        );
        parse(&text).expect(others);
    }
}

#[test]
fn a_sink_needs_a_column() {
    for sink in
        ["parquet: {to: x}", "jsonl: {to: x}", "csv: {to: x}", "index: {to: x}", "stdout: {}"]
    {
        let (name, rest) = sink.split_once(':').expect("a colon");
        for steps in ["drop: [id, body.region]", "set: {a: 1}}, {drop: [a, region, id]"] {
            check_json(
                "E-RANGE-01",
                &format!("steps: [{{{steps}}}]\nsinks: {{s: {{«{name}»:{rest}}}}}\n"),
            );
        }
    }
    for (steps, sink) in [
        ("drop: [id, region]", "blackhole: {}"),
        ("drop: [id, region]", "parquet: {to: x, metadata: offsets}"),
        ("drop: [id]", "parquet: {to: x}"),
        ("drop: [id, region]}, {set: {a: 1}", "parquet: {to: x}"),
    ] {
        let text = format!(
            "version: 1\npipeline: p\ntopic: t\nschema: {{id: int, region: string}}\n\
             steps: [{{{steps}}}]\nsinks: {{s: {{{sink}}}}}\n"
        );
        parse(&text).expect(sink);
    }
    check_json(
        "E-RANGE-01",
        "steps: [drop: [id, region]]\nsinks: {s: {«parquet»: {to: x, metadata: none}}}\n",
    );
    // Where a mistake hides columns, there may be some.
    check_json("E-KEY-02", "steps: [«st»: {a: 1}, drop: [id, region]]\n");
}

#[test]
fn the_environment_can_be_wrong() {
    check("E-ENV-01", &EVERYTHING.replace("to: lake", "to: a/«${env:LAKE}»/b"));
    check("E-ENV-02", &EVERYTHING.replace("to: lake", "to: «${LAKE}»"));
    check("E-SECRET-01", &EVERYTHING.replace("to: lake", "to: \"«${secret:lake}»\""));
    check_json("E-ENV-02", "steps: [filter: \"body.region = '«${env:REGION}»'\"]\n");
}

#[test]
fn expressions_point_into_their_text() {
    check_json("E-SQL-02", "steps:\n  - filter: body.id «=>» 10\n");
    check_json("E-SQL-02", "steps:\n  - filter: 'body.region = ''é'' AND body.id «=>» 10'\n");
    check_json("E-SQL-02", "steps:\n  - filter: \"body.region = '\\u00e9' AND body.id «=>» 10\"\n");
    check_json(
        "E-SQL-02",
        "steps:\n  - filter: >-\n      body.region = 'eu'\n      AND body.id «=>» 10\n",
    );
    check_json(
        "E-SQL-02",
        "steps:\n  - filter: |\n      body.region = 'eu'\n        AND body.id «=>» 10\n",
    );
    check_json("E-SQL-02", "steps:\n  - filter: body.region = 'eu'\n      AND body.id «=>» 10\n");
    check_json("E-SQL-07", "steps:\n  - filter: «body.id + 1»\n");
    check_json(
        "E-SQL-07",
        "schema: {id: int, ok: bool}\nsteps:\n  - set: {a: body.id + «body.ok»}\n",
    );
    check_json("E-TYPE-03", "steps:\n  - set: {a: «NULL»}\n");
    check_json_help("E-SQL-03", "steps:\n  - filter: body.region = «'a» #1'\n", "comment");
}

#[test]
fn columns_must_be_known() {
    check_json_help(
        "E-COL-01",
        "steps: [filter: «body.regoin» = 'eu']\n",
        "did you mean `body.region`? known: id, region",
    );
    check_json_help(
        "E-COL-01",
        "steps: [filter: «region» = 'eu']\n",
        "did you mean `body.region`?",
    );
    check_json_help("E-COL-01", "steps: [filter: «ofset» > 1]\n", "`offset`");
    check_json_help("E-COL-01", "steps: [set: {day: 1}, filter: «dya» = 1]\n", "`day`");
    check_json("E-COL-01", "steps: [set: {a: «b», b: 1}]\n");
    check_json_help("E-COL-01", "steps: [filter: «body» IS NULL]\n", "`body.id`");
    check_json("E-COL-01", "sinks: {lake: {where: «nope» = 1, parquet: {to: x}}}\n");
    check_parquet("E-COL-01", "partition_by: [«regoin»]");
    check_parquet("E-COL-01", "columns: [id, «body.regoin»]");
    check_json_help("E-COL-01", "topic: {name: t, key: «id»}\n", "`body.id`");
    check_json("E-COL-01", "topic: {name: t, key: «store_time»}\n");
}

#[test]
fn a_text_in_double_quotes_is_no_column() {
    check_json_help(
        "E-COL-01",
        "steps: [filter: 'body.region = «\"eu\"»']\n",
        "single quotes: `'eu'`",
    );
    let found = check_json("E-COL-01", "steps: [filter: 'body.region = «eu»']\n").help;
    assert!(!found.contains("quotes"), "{found}");
}

#[test]
fn a_name_that_is_refused_is_not_suggested() {
    for step in ["rename: {region: a b}", "set: {a b: 1}"] {
        let text = format!(
            "version: 1\npipeline: p\ntopic: t\nschema: {{id: int, region: string}}\n\
             steps: [{{{step}}}, {{filter: nope = 1}}, {{drop: [nope]}}, {{filter: '\"a b\" = 1'}}, \
             {{drop: [a b]}}]\nsinks: {{lake: {{parquet: {{to: x}}}}}}\n"
        );
        let report = parse(&text).expect_err(step);
        let found: Vec<_> = report.diagnostics.iter().map(|found| found.code).collect();
        assert_eq!(found, ["E-NAME-01", "E-COL-01", "E-COL-01"], "{report}");
        assert!(report.diagnostics[1..].iter().all(|it| !it.help.contains("a b")), "{report}");
    }
}

#[test]
fn columns_must_be_one_thing() {
    check_json(
        "E-COL-02",
        "topic: {name: t, properties: {kind: body.region}}\nsteps: [set: {kind: 1}, filter: «kind» = 1]\n",
    );
    check_json("E-COL-03", "steps: [set: {«region»: 1}]\n");
    check_parquet("E-COL-03", "partition_by: [id, «body.id»]");
    check_json(
        "E-COL-03",
        "schema: {_offset: int}\nsinks: {lake: {parquet: {to: x, metadata: «offsets»}}}\n",
    );
}

#[test]
fn columns_of_the_body_come_from_one_place() {
    let regex = "source: {file: {include: [a], decode: {regex: {pattern: '^(?<a>.*)$'}}}}\n";
    check_json("E-SCHEMA-01", &format!("«schema»: {{a: string}}\n{regex}"));
    check("E-SCHEMA-01", "version: 1\npipeline: p\n«topic»: t\nsinks: {a: {parquet: {to: x}}}\n");
    check_json("E-SCHEMA-01", "schema: {a: string, «a.b»: string}\n");
    let generate = |schema: &str| {
        format!(
            "schema: {{{schema}}}\nsource: {{generate: {{count: 5, fields: {{a: {{uuid: {{}}}}}}}}}}\n"
        )
    };
    check_json("E-COL-01", &generate("«b»: string"));
    check_json("E-SCHEMA-01", &generate("a: «int»"));
}

#[test]
fn lines_of_csv_have_their_own_keys() {
    let csv = |code, schema: &str, marked: &str| {
        check(
            code,
            &format!(
                "version: 1\npipeline: p\ntopic: t\nsinks: {{a: {{blackhole: {{}}}}}}\n{schema}\
                 source:\n  file:\n    include: [a]\n    decode: {marked}\n"
            ),
        )
    };
    let schema = "schema: {a: int}\n";
    let found = csv("E-KEY-01", schema, "{csv: {«headers»: true}}");
    assert_eq!(found.help, "did you mean `header`?");
    csv("E-TYPE-01", schema, "{csv: {header: «yes»}}");
    csv("E-TYPE-01", schema, "{csv: {delimiter: «;;»}}");
    csv("E-KEY-04", schema, "{csv: {delimiter: ;, quote: «;»}}");
    csv("E-RANGE-01", schema, "{csv: {null: «'-,-'»}}");
    let bare = "version: 1\npipeline: p\ntopic: t\nsinks: {a: {blackhole: {}}}\n\
                source: {file: {include: [a], «decode»: {csv: {}}}}\n";
    let found = check("E-SCHEMA-01", bare).message;
    assert_eq!(found, "bodies are CSV, so their columns must be given");
    csv("E-TYPE-02", "schema: {a: «whole»}\n", "{csv: {}}");
    csv(
        "E-KEY-04",
        "schema: {a: int}\ntests: [{name: n, given: [{«body»: {}}], expect: {}}]\n",
        "{csv: {}}",
    );
}

#[test]
fn patterns_are_tried() {
    let regex = |inside: &str| {
        format!(
            "version: 1\npipeline: p\ntopic: t\nsinks: {{a: {{parquet: {{to: x}}}}}}\nsource:\n  \
             file:\n    include: [a]\n    decode:\n      regex: {{{inside}}}\n"
        )
    };
    check("E-REGEX-01", &regex("pattern: '«(»?<a>'"));
    check("E-REGEX-01", &regex("pattern: «'(a)'»"));
    // What hides the columns is no reason to complain about those that are used.
    let parted = regex("pattern: '«(»?<a>'").replace("{to: x}", "{to: x, partition_by: [a]}");
    assert!(parted.contains("partition_by"), "{parted}");
    check("E-REGEX-01", &parted);
    check("E-COL-01", &regex("pattern: '(?<a>b)', types: {«b»: int}"));
    check("E-COL-01", &regex("pattern: '(?<a>b)', time: {field: «b», format: '%s'}"));
    check("E-REGEX-01", &regex("pattern: '(?<a>b)', time: {field: a, format: «'%Q'»}"));
    check(
        "E-KEY-04",
        &regex("pattern: '(?<a>b)', types: {a: int}, time: {field: «a», format: '%s'}"),
    );
}

#[test]
fn made_up_records_have_limits() {
    let generate = |inside: &str| {
        format!("schema: {{a: double}}\nsource:\n  generate: {{count: 5, {inside}}}\n")
    };
    check_json("E-RANGE-01", &generate("fields: {a: {double: {min: 2, max: «1»}}}"));
    check_json("E-RANGE-01", &generate("fields: {a: {sequence: {}}}, corrupt: {at: [1, «6»]}"));
    check_json("E-KEY-02", &generate("fields: {a: {«sequenc»: {}}}"));
    check_json(
        "E-TYPE-01",
        &generate("fields: {a: {sequence: {}}, b: {time: {start: «today», step: 1s}}}"),
    );
}

#[test]
fn destinations_are_local() {
    check("E-PATH-01", &EVERYTHING.replace("to: lake", "to: «s3://lake»"));
    check("E-PATH-01", &EVERYTHING.replace("to: lake", "to: «\"\"»"));
}

#[test]
fn one_mistake_is_reported_once() {
    // The column of a broken line is known further down, and so is whatever a broken step
    // may have defined.
    check_json(
        "E-SQL-02",
        "steps: [set: {a: body.id «=>» 1, b: a}, filter: a > 1]\nsinks: {l: {parquet: {to: x, partition_by: [a]}}}\n",
    );
    check_json(
        "E-KEY-02",
        "steps: [«sett»: {a: 1}, filter: a > 1]\nsinks: {l: {parquet: {to: x, partition_by: [a]}}}\n",
    );
    check_json("E-TYPE-01", "«schema»:\nsteps: [filter: body.a > 1]\n");
    check_json("E-TYPE-02", "schema: {a: «numeric»}\nsteps: [filter: body.a > 1]\n");
    check_json(
        "E-SQL-02",
        "topic: {name: t, properties: {a: body.id «=>» 1}}\nsteps: [filter: a > 1]\n",
    );
    // A filter defines nothing, so what comes after it is held to account.
    let report = parse("version: 1\npipeline: p\ntopic: t\nschema: {a: int}\nsteps: [filter: body.a => 1, filter: b = 1]\nsinks: {l: {parquet: {to: x}}}\n").unwrap_err();
    let found: Vec<_> = report.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(found, ["E-SQL-02", "E-COL-01"]);
}

#[test]
fn what_is_not_yaml_is_explained() {
    check_help("E-YAML-01", "version: 1\npipeline: «»@a\n", "quotes");
    check_help("E-YAML-01", "version: 1\npipeline: a«»: b\n", "quotes");
    check_help("E-YAML-01", "version: 1\npipeline: a\n  topic«»: b\n", "left");
    check_help("E-YAML-01", "version: 1\npipeline: «»\"abc\ntopic: t\n", "closing quote");
    check_help("E-YAML-01", "version: 1\n«\t»pipeline: a\n", "spaces");
    check_help(
        "E-YAML-01",
        "version: 1\nto: {a: «${env:LAKE}/x», b: 1}\n",
        "write `\"${env:LAKE}/x\"`",
    );
    check_help("E-YAML-01", "version: 1\nto: [a, «${env:LAKE}»]\n", "write `\"${env:LAKE}\"`");
    check("E-YAML-01", "«»");
    check("E-YAML-01", &format!("{EVERYTHING}«---»\nversion: 1\n"));
    check("E-YAML-01", "«[a]»: b\n");
    check("E-YAML-01", "version: 1\npipeline: a«\u{0}»\n");
    check("E-YAML-02", &EVERYTHING.replace("x-note:", "«version»: 1\nx-note:"));
    check("E-YAML-02", &EVERYTHING.replace("to: lake", "to: lake\n      «to»: lake"));
    check("E-YAML-03", &EVERYTHING.replace("queues: 8", "queues: «&x 8»"));
    check("E-YAML-03", &EVERYTHING.replace("queues: 8", "queues: «*x»"));
    check("E-YAML-03", &EVERYTHING.replace("queues: 8", "queues: «!!int 8»"));
    check("E-YAML-03", &EVERYTHING.replace("{memory: 1GiB}", "«!limits {»memory: 1GiB}"));
}

#[test]
fn what_is_too_large_or_no_text_is_refused() {
    let check = |bytes: &[u8], line: usize, column: usize| {
        let report = crate::Pipeline::parse("p.yaml", bytes, &super::no_env).unwrap_err();
        let [found] = &report.diagnostics[..] else { panic!("{report}") };
        assert_eq!((found.code, found.line, found.column), ("E-YAML-01", line, column));
    };
    check(&vec![b'#'; (1 << 20) + 1], 1, 1);
    check(b"version: 1\npipe\xffline: p\n", 2, 5);
    check("[".repeat(300).as_bytes(), 1, 256);
    check(format!("a: {}{}\n", "[".repeat(64), "]".repeat(64)).as_bytes(), 1, 67);
}

#[test]
fn every_code_is_explained() {
    for code in codes() {
        assert!(explain(code).is_some_and(|text| text.len() > 40), "{code}");
    }
    assert_eq!(explain("E-NONE-01"), None);
    assert!(explain("e-key-01").is_some());
}

/// A mistake in the types of groups hides no mistake further down: their names are known.
#[test]
fn columns_of_a_pattern_are_known_behind_its_mistakes() {
    for (inside, code) in [
        ("types: {status: integr}", "E-TYPE-02"),
        ("types: {statu: int}", "E-COL-01"),
        ("tpyes: {status: int}", "E-KEY-01"),
        ("time: {field: tim, format: '%s'}", "E-COL-01"),
        ("time: {feild: time, format: '%s'}", "E-KEY-01"),
        ("time: {field: time, format: '%Q'}", "E-REGEX-01"),
    ] {
        let text = format!(
            "version: 1\npipeline: p\ntopic: t\nsource:\n  file:\n    include: [a]\n    decode:\n      \
             regex: {{pattern: '(?<time>b)(?<status>c)', {inside}}}\n\
             steps:\n  - filter: body.status >= 400\n  - set: {{day: body.tme}}\n\
             sinks: {{lake: {{parquet: {{to: x, partition_by: [staus, time]}}}}}}\n"
        );
        let report = parse(&text).expect_err("mistakes");
        let found: Vec<_> = report.diagnostics.iter().map(|found| found.code).collect();
        assert_eq!(found, [code, "E-COL-01", "E-COL-01"], "{report}");
    }
}

#[test]
fn steps_of_one_sink_leave_the_others_alone() {
    let steps_of_first = |steps: &str, second: &str| {
        format!(
            "version: 1\npipeline: p\ntopic: t\nschema: {{a: int}}\nsteps: [set: {{b: body.a + 1}}]\n\
             sinks:\n  first:\n    where: b > 1\n    steps: {steps}\n    \
             parquet: {{to: x, partition_by: [c]}}\n  second: {{{second}parquet: {{to: y}}}}\n"
        )
    };
    check("E-COL-01", &steps_of_first("[set: {c: b + 1}]", "where: «c» > 1, "));
    check("E-COL-01", &steps_of_first("[set: {c: «d» + 1}]", ""));
    check("E-KEY-04", &steps_of_first("[«split»: body.a, set: {c: 1}]", ""));
    check("E-KEY-04", &steps_of_first("[«dedupe»: {by: body.a, within: 10m}, set: {c: 1}]", ""));
    check("E-KEY-02", &steps_of_first("[set: {c: 1}, «wasn»: {module: m}]", ""));
    // Whoever misspells `steps` is told that, and not that a column is missing as well.
    let text = steps_of_first("[set: {c: 1}]", "").replace("    steps:", "    «stpes»:");
    check("E-KEY-01", &text);
}

#[test]
fn a_wasm_step_needs_its_module_and_a_map_of_parameters() {
    check_json("E-KEY-03", "steps:\n  - «wasm»: {}\n");
    check_json("E-KEY-01", "steps:\n  - wasm: {module: m.wasm, «city»: Ulm}\n");
    check_json("E-TYPE-01", "steps:\n  - wasm: «m.wasm»\n");
    check_json("E-TYPE-01", "steps:\n  - wasm: {module: m.wasm, params: «[a]»}\n");
    check_json("E-ENV-01", "steps:\n  - wasm: {module: m.wasm, params: {a: [\"«${env:X}»\"]}}\n");
}

#[test]
fn what_is_suggested_is_right() {
    let rest = "pipeline: p\ntopic: t\nschema: {a: int}\nsinks: {lake: {parquet: {to: x}}}\n";
    let help = |text: &str| parse(text).expect_err(text).diagnostics[0].help.clone();
    assert_eq!(help(rest), "add `version: 1`");
    assert_eq!(
        help(&format!("version:\n{rest}")),
        "write a value behind the colon, for example `version: 1`"
    );
    assert_eq!(help(&format!("version: one\n{rest}")), "write a number, for example `version: 1`");
    assert_eq!(help(&format!("version: 2\n{rest}")), "use a newer millrace");
    assert_eq!(help("a text"), "a pipeline file begins with `version: 1`");
    assert_eq!(
        help(&format!("version: 1\nsteps: [wasm: m.wasm]\n{rest}")),
        "for example `wasm: {module: filters/shop.wasm}`"
    );
    assert_eq!(
        help(&format!("version: 1\nlimits: 5\n{rest}")),
        "for example `limits: {memory: 256MiB}`"
    );
    assert_eq!(
        help(&format!("version: 1\n{}", rest.replace("{parquet: {to: x}}", "x"))),
        "for example `lake: {parquet: {…}}`"
    );
    for (step, example) in [
        ("sample: half", "`sample: 0.5`"),
        ("cast: [a]", "`cast: {amount: double}`"),
        ("split: [a]", "`split: body.items`"),
        ("dedupe: 5", "`dedupe: {by: body.id, within: 10m}`"),
        ("set: 5", "`set: {day: DATE(born_time)}`"),
        ("rename: [a]", "`rename: {id: order_id}`"),
        ("wasm: {module: m.wasm, params: 5}", "`params: {city: Ulm}`"),
        ("wasm: {module: }", "`module: filters/shop.wasm`"),
        ("filter: [a]", "`filter: body.region = 'eu'`"),
    ] {
        let found = help(&format!("version: 1\nsteps: [{{{step}}}]\n{rest}"));
        assert!(found.contains(example), "{found}");
    }
    let found = help(&format!("version: 1\n{}", rest.replace("{a: int}", "[a]")));
    assert_eq!(found, "for example `schema: {id: int, amount: double}`");
    let found = help(&format!(
        "version: 1\nsource: {{file: {{include: {{}}, decode: {{json: {{}}}}}}}}\n{rest}"
    ));
    assert_eq!(found, "for example `include: [logs/*.jsonl]`");
    let found = help(&format!(
        "version: 1\n{}",
        rest.replace("{parquet", "{on_error: {then: drop}, parquet")
    ));
    assert_eq!(found, "for example `then: dlq`");
    let without_topic = format!("version: 1\n{rest}").replace("topic: t\n", "");
    assert_eq!(help(&without_topic), "add `topic: orders`");
}

#[test]
fn a_share_is_a_number_with_a_sign() {
    let sink = |ratio: &str| {
        format!("sinks: {{s: {{blackhole: {{}}, on_error: {{dlq: {{max_ratio: {ratio}}}}}}}}}\n")
    };
    check_json_help("E-TYPE-01", &sink("«10»"), "`max_ratio: 10%`");
    check_json("E-TYPE-01", &sink("«a%»"));
    check_json("E-RANGE-01", &sink("«100.1%»"));
    check_json("E-RANGE-01", &sink("«-1%»"));
    let later = "sinks: {s: {blackhole: {}, on_error: {dlq: {«over»: 5}}}}\n";
    check_json("E-KEY-01", later);
}
