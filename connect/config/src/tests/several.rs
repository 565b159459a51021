use super::parse;

/// Parses a file in which each `«…»` marks a mistake and compares codes and places, in the order
/// of the file. The marks are not part of it; an empty one marks where something is missing.
#[track_caller]
fn check(codes: &[&str], marked: &str) {
    let mut expected = Vec::new();
    let mut codes = codes.iter();
    for (number, line) in marked.lines().enumerate() {
        let mut column = 1;
        for char in line.chars() {
            match char {
                '«' => expected.push((*codes.next().expect("a code"), number + 1, column)),
                '»' => {}
                _ => column += 1,
            }
        }
    }
    assert!(codes.next().is_none(), "a code without a mark: {marked}");
    let report = parse(&marked.replace(['«', '»'], "")).expect_err("mistakes");
    let found: Vec<_> = report.diagnostics.iter().map(|d| (d.code, d.line, d.column)).collect();
    assert_eq!(found, expected, "{report}");
    assert!(report.diagnostics.iter().all(|found| !found.help.is_empty()), "{report}");
}

/// The mistakes are in what follows a head that is right. A comment such as `# topic:` keeps that
/// key out of the head.
#[track_caller]
fn check_json(codes: &[&str], marked: &str) {
    let has = |key: &str| {
        marked.starts_with(key)
            || ["\n", "# "].iter().any(|it| marked.contains(&format!("{it}{key}")))
    };
    let mut head = "version: 1\npipeline: p\n".to_owned();
    for (key, line) in [
        ("topic:", "topic: t\n"),
        ("schema:", "schema: {id: int, ok: bool, region: string, at: timestamp}\n"),
        ("sinks:", "sinks: {lake: {parquet: {to: x}}}\n"),
    ] {
        if !has(key) {
            head.push_str(line);
        }
    }
    check(codes, &format!("{head}{marked}"));
}

#[test]
fn in_one_expression() {
    for (codes, filter) in [
        (&["E-SQL-07", "E-SQL-07"][..], "LOWER(«body.id») = 'x' AND «body.id = body.ok»"),
        (&["E-COL-01", "E-COL-01"], "«body.nope» = 1 AND «body.none» = 2"),
        (&["E-COL-01", "E-COL-01"], "«body.nope» = «body.none»"),
        (&["E-COL-01", "E-SQL-07"], "«body.nope» = 1 AND «body.ok» + 1 > 2"),
        (&["E-SQL-08", "E-SQL-07"], "«LEN»(body.region) > 2 AND «body.ok» + 1 > 2"),
        (&["E-SQL-08", "E-COL-01"], "«LEN»(«body.nope») > 2"),
        (&["E-SQL-08", "E-SQL-08"], "«LEN»(body.region) > CAST(body.id AS «LONG»)"),
        (&["E-SQL-02", "E-COL-01"], "body.id «=>» 1 AND «body.nope» = 2"),
        (&["E-SQL-02", "E-SQL-02"], "body.id «==» 1 «&&» body.ok"),
        (&["E-SQL-01", "E-SQL-07"], "body.id = «=» 1 OR «body.id = body.ok»"),
        (&["E-SQL-01", "E-COL-01"], "(body.id «5») OR «nope» = 1"),
        (&["E-SQL-10", "E-COL-01"], "body.id = «NULL» AND «kind» = 1"),
        (&["E-ENV-02", "E-SQL-07"], "body.region = '«${env:A}»' AND «body.ok» + 1 > 2"),
        (&["E-ENV-02", "E-ENV-02", "E-COL-01"], "body.id > «${env:A}» + «${env:B}» - «body.nope»"),
    ] {
        check_json(codes, &format!("steps:\n  - filter: >-\n      {filter}\n"));
        let elsewhere: Vec<_> = codes.iter().copied().chain(["E-COL-01"]).collect();
        let text = format!("steps:\n  - filter: {filter}\n  - set: {{a: «body.other»}}\n");
        check_json(&elsewhere, &text);
    }
}

#[test]
fn in_a_generator() {
    let schema = "schema: {id: «bool», region: string, «other»: int}\n";
    for (codes, fields) in [
        (&["E-RANGE-01"][..], "count: «0»\n    fields: {id: {sequence: {}}, region: {uuid: {}}}"),
        (
            &["E-TYPE-01"],
            "count: 5\n    seed: «x»\n    fields: {id: {sequence: {}}, region: {uuid: {}}}",
        ),
        (
            &["E-KEY-01", "E-TYPE-01"],
            "count: 5\n    fields: {id: {sequence: {«strt»: «x»}}, region: {uuid: {}}}",
        ),
        (&["E-KEY-02"], "count: 5\n    fields: {id: {«sequense»: {}}, region: {uuid: {}}}"),
        (&["E-KEY-02"], "count: 5\n    fields: {id: {sequence: {}}, region: {«float»: {}}}"),
        (&["E-KEY-03"], "count: 5\n    fields: {id: {sequence: {}}, «region»: {}}"),
        (&["E-TYPE-01"], "count: 5\n    fields: {id: {sequence: {}}, region: «uuid»}"),
        (
            &["E-KEY-04", "E-TYPE-01"],
            "count: 5\n    fields: {id: {sequence: {}}, region: {uuid: {}, «text»: {words: «x»}}}",
        ),
        (&["E-KEY-01"], "«cuont»: 5\n    fields: {id: {int: {max: 5}}, region: {uuid: {}}}"),
        (
            &["E-KEY-01", "E-RANGE-01"],
            "«cuont»: 5\n    corrupt: {at: [«6»]}\n    fields: {id: {int: {max: 5}}, region: {uuid: {}}}",
        ),
    ] {
        let codes: Vec<_> =
            ["E-SCHEMA-01", "E-COL-01"].into_iter().chain(codes.iter().copied()).collect();
        check_json(&codes, &format!("{schema}source:\n  generate:\n    {fields}\n"));
    }
    // A type that is not known fits.
    check_json(
        &["E-TYPE-02", "E-SCHEMA-01"],
        "schema: {id: «doubel», region: «int»}\n\
         source: {generate: {count: 5, fields: {id: {sequence: {}}, region: {uuid: {}}}}}\n",
    );
}

#[test]
fn in_a_pattern() {
    let rest = "steps:\n  - filter: LOWER(body.a) = «body.nope»\n  - filter: «body.b»\n\
                sinks: {lake: {parquet: {to: x}}}\n";
    let b = "E-SQL-07";
    for (codes, regex) in [
        (&["E-COL-01", "E-TYPE-02"][..], "types: {«c»: «integr», b: int, a: string}"),
        (&["E-COL-01", "E-COL-01"], "types: {«c»: int, «d»: int, b: int, a: string}"),
        (
            &["E-COL-01", "E-REGEX-01"],
            "types: {a: string, b: int}, time: {field: «c», format: «'%Q'»}",
        ),
        (&["E-KEY-04", "E-REGEX-01"], "types: {b: int}, time: {field: «b», format: «'%Q'»}"),
        (&["E-TYPE-02", "E-COL-01"], "types: {a: «strin»}, time: {field: «bb», format: '%s'}"),
        (&["E-KEY-01", "E-TYPE-02"], "«tpyes»: {a: «strin», b: int}"),
        (&["E-KEY-03", "E-REGEX-01"], "«time»: {format: «'%Q'»}"),
        (
            &["E-KEY-01", "E-COL-01"],
            "time: {«feld»: «c», format: '%s'}, types: {a: string, b: int}",
        ),
        (&["E-TYPE-01", "E-KEY-01"], "null: «[]», «nul»: '-', types: {a: string, b: int}"),
    ] {
        let hidden = ["E-KEY-04 E-REGEX-01", "E-TYPE-02 E-COL-01", "E-KEY-03 E-REGEX-01"];
        let (codes, rest) = match hidden.contains(&&*codes.join(" ")) {
            true => ([codes, &["E-COL-01"]].concat(), rest.replace("«body.b»", "body.b = TRUE")),
            false => ([codes, &["E-COL-01", b]].concat(), rest.to_owned()),
        };
        check(
            &codes,
            &format!(
                "version: 1\npipeline: p\ntopic: t\nsource:\n  file:\n    include: [x]\n    \
                 decode: {{regex: {{pattern: '(?<a>x)(?<b>y)', {regex}}}}}\n{rest}"
            ),
        );
    }
    check(
        &["E-REGEX-01", "E-REGEX-01", "E-TYPE-02", "E-SCHEMA-01"],
        "version: 1\npipeline: p\ntopic: t\nsource:\n  file:\n    include: [x]\n    decode:\n      \
         regex: {pattern: '«(»?<a>x', time: {field: a, format: «'%Q'»}, types: {b: «integr»}}\n\
         «schema»: {a: int}\nsinks: {lake: {parquet: {to: x}}}\n",
    );
}

#[test]
fn below_a_misspelled_key() {
    check_json(
        &["E-KEY-01", "E-KEY-01", "E-TYPE-01", "E-COL-01"],
        "# topic:\n«topik»:\n  «nmae»: t\n  queues: «eight»\n  key: «body.nope»\n",
    );
    check(
        &["E-KEY-01", "E-KEY-02", "E-KEY-01", "E-TYPE-01", "E-COL-01"],
        "version: 1\npipeline: p\ntopic: t\n«sorce»:\n  «fiel»:\n    «inclde»: [a]\n    once: «yes»\n    \
         decode: {lines: {}}\nsteps: [filter: «body.lin» = 'x']\nsinks: {lake: {parquet: {to: x}}}\n",
    );
    check_json(
        &["E-KEY-01", "E-KEY-02", "E-COL-01", "E-KEY-02", "E-SQL-07", "E-COL-01"],
        "«stps»:\n  - «filtr»: «body.nope» = 1\n  - «ste»: {a: LOWER(«body.id»), b: body.id}\n  \
         - filter: b = 1 AND «c» = 2\n",
    );
    check_json(
        &["E-KEY-01", "E-KEY-01", "E-COL-01", "E-KEY-02", "E-PATH-01", "E-KEY-01", "E-UNIT-01"],
        "# sinks:\n«sink»:\n  lake:\n    «were»: «nope» = 1\n    «parqet»:\n      to: «s3://x»\n      \
         «rotat»: {every: «5»}\n",
    );
    check_json(
        &["E-KEY-01", "E-TYPE-02", "E-COL-01"],
        "# schema:\n«scema»: {id: «integr»}\nsteps: [filter: «body.nope» = 1]\n",
    );
    check_json(&["E-KEY-01", "E-UNIT-02"], "«limts»: {memory: «5»}\n");
    check_json(
        &["E-KEY-01", "E-SQL-02", "E-SQL-07"],
        "topic: {name: t, «propertys»: {a: body.id «=>» 1, b: body.id}}\n\
         steps: [filter: a = TRUE AND LOWER(«b») = 'x']\n",
    );
}

#[test]
fn beside_a_key_that_can_be_two() {
    check_json(
        &["E-KEY-01"],
        "source: {generate: {count: 1, fields: {id: {int: {«mix»: 5}}, ok: {choice: [a]}, \
         region: {uuid: {}}, at: {choice: [a]}}}}\nschema: {id: int}\n",
    );
}

#[test]
fn in_two_components_of_one_place() {
    check_json(
        &["E-COL-01", "E-KEY-04", "E-SQL-07", "E-COL-01"],
        "steps:\n  - filter: «body.nope» = 1\n    «set»: {a: LOWER(«body.id»), b: 1}\n  \
         - filter: b = 1 AND «c» = 1\n",
    );
    check_json(
        &["E-KEY-02", "E-COL-01", "E-KEY-04", "E-KEY-03"],
        "steps:\n  - «filtre»: «body.nope» = 1\n    ««wasm»: {}\n",
    );
    check_json(
        &["E-KEY-02", "E-COL-01"],
        "steps:\n  - «lookup»: {add: [city]}\n    filter: «body.nope» = 1\n  - filter: city = 'Ulm'\n",
    );
    check_json(
        &["E-TYPE-01", "E-KEY-04", "E-TYPE-01", "E-COL-01"],
        "source:\n  generate: {count: «x», fields: {a: {uuid: {}}}}\n  \
         «file»: {include: «a», decode: {json: {}}}\nsteps: [filter: «body.nope» = 1]\n",
    );
    check(
        &["E-KEY-04", "E-TYPE-02", "E-COL-01"],
        "version: 1\npipeline: p\ntopic: t\nsource:\n  file:\n    include: [x]\n    decode:\n      \
         lines: {}\n      «regex»: {pattern: '(?<a>x)', types: {a: «integr»}}\n\
         steps: [filter: body.a = 1 AND body.line = 'x' AND «body.b» = 1]\n\
         sinks: {lake: {parquet: {to: x}}}\n",
    );
}

#[test]
fn in_the_yaml() {
    check_json(
        &["E-YAML-03", "E-YAML-03", "E-COL-01", "E-YAML-01"],
        "limits: «!limits» {memory: «&a» 1GiB}\nsteps: [filter: «body.nope» = 1]\n«---»\n",
    );
    check_json(
        &["E-TYPE-02", "E-YAML-02", "E-TYPE-02", "E-COL-01", "E-YAML-02", "E-COL-01"],
        "schema: {a: «integr»}\n«schema»: {b: «integr»}\n\
         steps: [filter: body.a = «none»]\n«steps»: [filter: body.b = «body.c»]\n",
    );
    check_json(
        &["E-UNIT-01", "E-YAML-02", "E-COL-01", "E-YAML-02", "E-KEY-01"],
        "sinks: {lake: {parquet: {to: x, rotate: {every: «5»}}}}\n«sinks»:\n  \
         lake: {parquet: {to: x, partition_by: [«nope»]}, where: body.ok, «where»: body.ok}\n  \
         other: {parquet: {to: x, «tu»: x}}\n",
    );
}

#[test]
fn behind_a_schema_that_is_not_there() {
    check(
        &["E-SCHEMA-01", "E-COL-03", "E-COL-03"],
        "version: 1\npipeline: p\n«topic»: t\nsinks:\n  \
         lake: {parquet: {to: x, partition_by: [a, «a»], columns: [b, c, «body.b»]}}\n",
    );
}

#[test]
fn beside_an_alias() {
    check_json(
        &["E-YAML-03", "E-YAML-03", "E-COL-01", "E-TYPE-01", "E-YAML-03", "E-UNIT-02"],
        "x-to: «&to» lake\nsinks:\n  lake: {parquet: {to: «*to», partition_by: [«nope»], max_open: «x»}}\n\
         steps: [set: {a: «*unknown», b: a}, filter: b = 1]\nlimits: {memory: «5»}\n",
    );
    check_json(
        &["E-YAML-03", "E-YAML-03", "E-KEY-01", "E-YAML-03", "E-COL-01"],
        "x-base: «&base» {to: x}\n\
         sinks: {lake: {csv: {<<: «*base», «heder»: true}}, «*base» : {csv: {}}}\n\
         tests: [{name: t, given: [], expect: {}}]\nsteps: [filter: «body.nope» = 1]\n",
    );
}

/// What lacks its variable counts as given, and nobody knows what it is.
#[test]
fn beside_a_variable_that_is_not_set() {
    let unset = "\"«${env:X}»\"";
    let source = "source: {file: {include: [a], decode: {json: {}}}}\n";
    for (codes, text) in [
        // What follows from the component of a sink alone.
        (
            &["E-KEY-04", "E-ENV-01", "E-DELIVERY-01"][..],
            "steps: [«split»: {path: body.items}]\n\
             sinks: {i: {index: {to: x}}, h: {http: {url: ?}, delivery: «exactly_once»}}\n",
        ),
        (
            &["E-KEY-04", "E-ENV-01", "E-ENV-01"],
            "steps: [«split»: body.items]\nsinks: {f: {csv: {to: ?}}, i: {index: {to: ?}}}\n",
        ),
        // What follows from the other settings beside it.
        (
            &["E-KEY-04", "E-ENV-01"],
            "sinks: {f: {csv: {to: x, delimiter: \";\", quote: «\";\"», null: ?}}}\n",
        ),
        (&["E-ENV-01", "E-RANGE-01"], "sinks: {f: {csv: {to: x, quote: ?, null: «\"a,\"»}}}\n"),
        (
            &["E-ENV-01", "E-RANGE-01"],
            "sinks: {f: {csv: {to: x, delimiter: ?, null: «\"\\n\"»}}}\n",
        ),
        (
            &["E-ENV-01", "E-NAME-02"],
            "sinks: {h: {http: {url: \"http://a/\", headers: {a: ?, «A»: b}}}}\n",
        ),
        (
            &["E-ENV-01", "E-COL-03", "E-COL-01"],
            "sinks: {i: {index: {to: x, mapping: {id: ?, «body.id»: number}}}, \
             j: {stdout: {columns: [«nope»]}}}\n",
        ),
        (
            &["E-ENV-01", "E-COL-01"],
            "sinks: {i: {index: {to: x, mapping: {at: timestamp, id: ?}, time: «id»}}}\n",
        ),
        (
            &["E-SCHEMA-01", "E-ENV-01"],
            "schema: {id: «int»}\n\
             source: {generate: {count: 5, fields: {id: {double: {min: ?, max: 5, decimals: 2}}}}}\n",
        ),
        // Steps and what comes behind them.
        (
            &["E-ENV-01", "E-KEY-04"],
            "steps: [dedupe: {by: body.id, within: ?}, «dedupe»: {by: body.ok, within: 5m}]\n",
        ),
        (
            &["E-ENV-01", "E-KEY-04"],
            "steps: [filter: {where: body.id > 1, on_unknown: ?}, «split»: body.items]\n",
        ),
        (&["E-ENV-01", "E-KEY-04"], "steps: [cast: {id: ?}, «split»: body.items]\n"),
        (
            &["E-ENV-01", "E-KEY-04", "E-COL-01"],
            "steps: [rename: {id: ?}, «split»: body.items, filter: «body.id» > 1]\n",
        ),
        (
            &["E-ENV-01", "E-COL-01"],
            "steps: [split: {path: body.items, as: ?, keep: {«regoin»: body.region}}]\n",
        ),
        // It may be right, so there is nothing to say of what it decides.
        (
            &["E-ENV-01"],
            "steps: [drop: [id, ok, region, at]]\n\
             sinks: {h: {http: {url: \"http://a/\", body: ?}}}\n",
        ),
        (
            &["E-ENV-01"],
            "topic: {name: t, key: body.id}\n\
             steps: [split: {path: body.items, keep: {id: ?}}]\n",
        ),
        (&["E-ENV-01"], "sinks: {i: {index: {to: x, mapping: {at: ?}, time: at}}}\n"),
    ] {
        check_json(codes, &text.replace('?', unset));
    }
    for (codes, topic) in [
        (&["E-ENV-01", "E-KEY-04"][..], "?"),
        (&["E-ENV-01", "E-KEY-04"], "{name: ?, tag: body.region}"),
        (&["E-ENV-01"], "{name: ?, key: body.id}"),
        (&["E-ENV-01"], "{name: t, queues: ?}"),
    ] {
        let dedupe = if codes.len() > 1 { "«dedupe»" } else { "dedupe" };
        let text =
            format!("topic: {topic}\n{source}steps: [{dedupe}: {{by: body.id, within: 5m}}]\n");
        check_json(codes, &text.replace('?', unset));
    }
}

#[test]
fn a_module_is_named_whatever_its_parameters_are() {
    let text = "version: 1\npipeline: p\ntopic: t\nschema: {id: int}\n\
                steps: [wasm: {module: a.wasm, params: {city: \"${env:X}\"}}]\n\
                sinks: {out: {stdout: {}}}\n";
    let report = parse(text).expect_err("a mistake");
    let modules: Vec<_> = report.modules.iter().map(|spec| &*spec.module).collect();
    assert_eq!(modules, [std::path::Path::new("a.wasm")], "{report}");
}

#[test]
fn in_what_there_is_no_table_for() {
    for (code, text) in [
        ("E-KEY-02", "steps: [«lookup»: {on: [a, \"«${env:X}»\"], x-note: \"${env:Z}\"}]\n"),
        ("E-KEY-02", "source: {«s3»: {bucket: \"a-«${env:X}»\"}}\nschema: {id: int}\n"),
        ("E-KEY-02", "sinks: {lake: {«elastic»: {url: {a: \"«${env:X}»\"}}}}\n"),
        ("E-KEY-01", "«retention»: \"«${env:X}»\"\n"),
        ("E-KEY-01", "«zzzzzz»: {a: \"«${env:X}»\"}\n"),
        ("E-KEY-04", "sinks: {lake: {stdout: {}, «csv»: {to: \"«${env:X}»\"}}}\n"),
        ("E-TYPE-01", "sinks: {lake: {csv: {to: «[\"«${env:X}»\"]}}}\n"),
    ] {
        check_json(&[code, "E-ENV-01"], text);
    }
}

#[test]
fn in_the_rest_of_a_file() {
    check_json(
        &["E-SCHEMA-01", "E-SCHEMA-01", "E-TYPE-02"],
        "schema: {a: int, «a.b»: int, c: int, «c.»: int, d: «integr»}\n",
    );
    check_json(
        &["E-COL-01", "E-COL-03"],
        "schema: {_offset: int, b: int}\n\
         sinks: {lake: {parquet: {to: x, columns: [«c», _offset], metadata: «offsets»}}}\n",
    );
    check_json(
        &["E-NAME-01", "E-SQL-07", "E-NAME-02", "E-COL-01"],
        "steps: [set: {«a.b»: -«body.ok», «offset»: «body.nope»}]\n",
    );
    check_json(
        &["E-NAME-01", "E-PATH-01", "E-NAME-02", "E-SQL-01"],
        "sinks:\n  «Lake»: {parquet: {to: «' '»}}\n  \
         «source»: {where: body.ok «b», parquet: {to: x}}\n",
    );
    check(
        &["E-RANGE-01", "E-NAME-01", "E-NAME-01", "E-TYPE-02", "E-ENV-01", "E-UNIT-02"],
        "version: «0»\npipeline: «P»\ntopic: «a.b»\nschema: {a: «b»}\n\
         sinks: {lake: {parquet: {to: \"«${env:NOPE}»\"}}}\nlimits: {memory: «5»}\n",
    );
}
