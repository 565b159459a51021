use super::*;

/// A pipeline of JSON bodies with these steps.
#[track_caller]
fn steps(code: &str, marked: &str) -> Diagnostic {
    check_json(code, &format!("steps: [{marked}]\n"))
}

#[test]
fn columns_that_are_gone_cannot_be_named() {
    let found = steps("E-COL-01", "drop: [id], filter: «body.id» > 1");
    assert_eq!(found.message, "an earlier step has taken the column `body.id` out");
    steps("E-COL-01", "keep: [region], set: {x: «body.id» + 1}");
    steps("E-COL-01", "rename: {id: no}, filter: «body.id» > 1");
    steps("E-COL-01", "set: {x: 1}, drop: [x], filter: «x» > 1");
    steps("E-COL-01", "drop: [id], drop: [«id»]");
    let found = steps("E-COL-01", "drop: [«idd»]");
    assert!(found.help.starts_with("did you mean `id`?"), "{}", found.help);
    steps("E-COL-01", "rename: {«gone»: here}");
    steps("E-COL-03", "rename: {id: «region»}");
    steps("E-COL-03", "set: {x: 1}, rename: {id: «x»}");
    steps("E-COL-03", "rename: {id: x, region: «x»}");
    steps("E-COL-03", "rename: {id: «id»}");
    steps("E-COL-03", "rename: {id: region, region: x}, rename: {x: «region»}");
    let found = steps("E-COL-03", "set: {«id»: 5}");
    assert!(
        found.help.contains("`drop` or `rename` the column of the body before"),
        "{}",
        found.help
    );
    steps("E-NAME-01", "rename: {id: «a.b»}");
    steps("E-NAME-02", "rename: {id: «queue»}");
    steps("E-RANGE-01", "sample: «1.5»");
    steps("E-TYPE-01", "sample: «10%»");
    steps("E-TYPE-01", "drop: «id»");
    check_json(
        "E-COL-01",
        "steps: [drop: [id]]\nsinks: {lake: {parquet: {to: x, partition_by: [«id»]}}}\n",
    );
}

#[test]
fn a_column_that_has_another_name_is_told_by_it() {
    let steps = |marked: &str| check_json("E-COL-01", &format!("steps: [{marked}]\n"));
    let found = steps("rename: {id: no}, filter: «body.id» > 1");
    assert_eq!(found.message, "an earlier step has given the column `body.id` another name");
    assert_eq!(found.help, "write `no`");
    assert_eq!(steps("rename: {id: no}, filter: «id» > 1").help, "write `no`");
    assert_eq!(steps("rename: {id: a}, rename: {a: b}, filter: «body.id» > 1").help, "write `b`");
    let found = steps("rename: {id: no, region: id}, filter: «body.id» > 1");
    assert_eq!(found.help, "write `no`");
    let found = steps("rename: {id: no}, drop: [no], filter: «body.id» > 1");
    assert_eq!(found.help, "move that step behind this one");
    let found = steps("drop: [id], set: {id: 5}, filter: «body.id» > 1");
    assert_eq!(found.help, "write `id` for the column that took its place");
}

#[test]
fn a_cast_goes_only_where_values_can() {
    let cast = |code, marked: &str| check_json(code, &format!("steps: [cast: {{{marked}}}]\n"));
    let found = cast("E-COL-01", "«regoin»: int");
    assert!(found.help.starts_with("did you mean `region`?"), "{}", found.help);
    assert_eq!(cast("E-TYPE-02", "region: «integr»").help, "did you mean `int`?");
    assert_eq!(cast("E-TYPE-02", "region: «timestmp»").help, "did you mean `timestamp`?");
    cast("E-TYPE-02", "region: {to: «dat»}");
    cast("E-KEY-03", "«region»: {null: x}");
    cast("E-KEY-01", "region: {to: int, «nul»: x}");
    assert_eq!(cast("E-TYPE-01", "id: «int»").message, "`id` is an `int` already");
    cast("E-TYPE-01", "region: «string»");
    let found = cast("E-TYPE-01", "id: «timestamp»");
    assert_eq!(found.message, "`id` is an `int`, which cannot become a `timestamp`");
    assert!(found.help.contains("format: '%s'"), "{}", found.help);
    cast("E-REGEX-01", "region: {to: date, format: «\"%Q\"»}");
    cast("E-KEY-04", "region: {to: int, «format»: \"%F\"}");
    cast("E-KEY-04", "id: {to: string, «null»: \"-\"}");
    cast("E-COL-03", "id: double, «body.id»: string");
    // Its type is another one behind it, and only there.
    steps("E-SQL-07", "cast: {region: int}, filter: «body.region» LIKE 'a%'");
    steps("E-SQL-07", "filter: «body.id» LIKE 'a%', cast: {id: string}");
    steps("E-COL-01", "cast: {«idd»: string}, filter: body.id LIKE 'a'");
    let json = |steps: &str| {
        let head = "version: 1\npipeline: p\ntopic: t\nschema: {id: int, region: string}\n";
        parse(&format!("{head}sinks: {{lake: {{parquet: {{to: x}}}}}}\nsteps: [{steps}]\n"))
            .unwrap()
    };
    json("cast: {id: {to: timestamp, format: \"%s\"}, region: {to: string, null: \"-\"}}");
    json("cast: {id: string}, filter: body.id LIKE '4%', cast: {id: int}, filter: body.id > 4");
    json("set: {x: 1}, cast: {x: double}, filter: x / 2 > 0.1");
}

#[test]
fn a_split_comes_first_and_once() {
    let found = steps("E-COL-01", "split: «items»");
    assert_eq!(found.help, "write `body.items`");
    assert_eq!(steps("E-COL-01", "split: «body.»").help, "write `body.body`");
    steps("E-COL-01", "split: {path: «body..x»}");
    steps("E-TYPE-01", "split: «[a]»");
    steps("E-KEY-03", "«split»: {max: 5}");
    steps("E-RANGE-01", "split: {path: body.x, max: «0»}");
    steps("E-TYPE-02", "split: {path: body.x, on_missing: «drop»}");
    steps("E-KEY-01", "split: {path: body.x, «kept»: {}}");
    steps("E-KEY-04", "split: body.a, «split»: body.b");
    let found = steps("E-KEY-04", "filter: body.id > 1, «split»: body.a");
    assert_eq!(found.message, "`split` comes behind a `filter` that reads columns");
    steps("E-KEY-04", "set: {x: 1}, «split»: body.a");
    steps("E-KEY-04", "cast: {id: string}, «split»: body.a");
    let found = steps("E-COL-01", "split: {path: body.a, keep: {«regoin»: body.region}}");
    assert!(found.help.starts_with("did you mean `region`?"), "{}", found.help);
    steps("E-COL-01", "split: {path: body.a, keep: {region: «region»}}");
    steps("E-COL-01", "split: {path: body.a, keep: {region: «body»}}");
    steps("E-COL-01", "split: {path: body.a, as: «idd»}");
    steps("E-COL-03", "split: {path: body.a, as: id, keep: {«id»: body.id}}");
    steps("E-KEY-04", "split: {path: body, keep: {«id»: body.id}}");
    steps("E-NAME-01", "split: {path: body.a, as: «a.b»}");
    // What the topic reads is the message.
    let found = check_json(
        "E-COL-01",
        "topic: {name: t, key: «body.id»}\nsteps: [split: {path: body.a, keep: {region: body.region}}]\n",
    );
    assert_eq!(found.message, "`body.id` is a column of the rows that `split` makes");
    assert!(found.help.contains("`keep: {id: body.id}`"), "{}", found.help);
    let right = |text: &str| {
        let head = "version: 1\npipeline: p\nschema: {id: int, region: string}\n";
        let sinks = "sinks: {lake: {parquet: {to: x}}}\n";
        parse(&format!("{head}{sinks}{text}")).unwrap_or_else(|report| panic!("{report}"))
    };
    right("topic: t\nsteps: [drop: [id], filter: queue = 1, split: body, filter: index = 0]\n");
    right(
        "topic: {name: t, key: body.region}\n\
         steps: [split: {path: body.a.b, as: id, keep: {region: body.region}, max: 5}]\n",
    );
    let found =
        check_json("E-KEY-04", "sinks: {find: {index: {to: x}}}\nsteps: [«split»: body.a]\n");
    assert_eq!(found.message, "the sink `find` cannot tell several rows of one message apart");
    let http = "sinks: {hook: {http: {url: http://x/}}}\nsteps: [«split»: body.a]\n";
    let found = check_json("E-KEY-04", http);
    assert_eq!(found.message, "the sink `hook` cannot tell several rows of one message apart");
    let regex = "version: 1\npipeline: p\ntopic: t\nsource: {file: {include: [x], \
                 decode: {lines: {}}}}\nsinks: {lake: {parquet: {to: x}}}\nsteps: [«split»: body]\n";
    assert_eq!(check("E-KEY-04", regex).message, "only JSON bodies can be split");
}

#[test]
fn a_dedupe_has_a_key_and_a_window() {
    let found = steps("E-KEY-03", "«dedupe»: {by: body.id}");
    assert_eq!(found.help, "add `within: 10m`, or `offsets: 10000`");
    steps("E-KEY-03", "«dedupe»: {within: 10m}");
    steps("E-COL-01", "dedupe: {by: «body.idd», within: 10m}");
    steps("E-UNIT-01", "dedupe: {by: body.id, within: «10»}");
    steps("E-RANGE-01", "dedupe: {by: body.id, offsets: «0»}");
    steps("E-RANGE-01", "dedupe: {by: body.id, offsets: 5, max_keys: «0»}");
    steps("E-KEY-01", "dedupe: {by: body.id, «withn»: 10m}");
    steps("E-KEY-04", "dedupe: {by: body.id, offsets: 5}, «dedupe»: {by: body.region, offsets: 5}");
    steps("E-KEY-04", "dedupe: {by: body.id, offsets: 5}, «split»: body.a");
    let with_source = |topic: &str, mark: &str| {
        format!(
            "version: 1\npipeline: p\nsource: {{generate: {{count: 1, fields: {{id: {{sequence: {{}}}}}}}}}}\n\
             topic: {topic}\nschema: {{id: int}}\nsinks: {{lake: {{parquet: {{to: x}}}}}}\n\
             steps: [{mark}: {{by: body.id, offsets: 5}}]\n"
        )
    };
    check_help("E-KEY-04", &with_source("t", "«dedupe»"), "give the topic a `key`");
    for topic in ["{name: t, key: body.id}", "{name: t, queues: 1}"] {
        parse(&with_source(topic, "dedupe")).unwrap_or_else(|report| panic!("{report}"));
    }
}
