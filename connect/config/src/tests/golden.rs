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

/// The same file with its columns under `schema`: exactly the seven of the design.
#[test]
fn seven_kinds_of_mistakes_are_told_at_once() {
    check("orders.yaml", include_str!("golden/seven.yaml"), include_str!("golden/seven.txt"));
}

/// The file of the design, as it stands there. Its output differs in this: the columns of bodies
/// are said once, under the pipeline's `schema` and for all sinks, and not by a file for each sink.
/// So that file lacks `schema`, its sink has an unknown key `schema`, and as long as nobody knows
/// the columns, `regoin` is not called unknown, nor `type` and `amount` without `body.`.
#[test]
fn where_no_columns_are_known_none_is_called_unknown() {
    let (text, expected) =
        (include_str!("golden/reference.yaml"), include_str!("golden/reference.txt"));
    check("orders.yaml", text, expected);
}

/// A file whose pattern is `scalar`, which begins behind `pattern:`.
fn with_pattern(scalar: &str) -> String {
    format!(
        "version: 1\npipeline: p\ntopic: t\nsource:\n  file:\n    include: [a.log]\n    decode:\n      \
         regex:\n        pattern:{scalar}\nsinks: {{out: {{parquet: {{to: out}}}}}}\n"
    )
}

/// What there is to say about each kind of fault, one report after the other.
#[test]
fn the_fault_of_a_pattern_is_shown_where_it_is() {
    let patterns = [
        // Groups.
        r"^(?<host>\S+) (?<user>\S+ -$",
        r"^(?<host>\S+)) -$",
        r"^(?<host>\S+) (?i",
        r"^(?<host>\S+) (?<user>\S+) (?<host>\S+)$",
        r"^(?<>\S+) -$",
        r"^(?<user-agent>\S+)$",
        r"^(?<1st>\S+)$",
        r"^(?<user agent>\S+)$",
        r"^(?<host>\S+) (?P<user",
        r"^(?<host>\S+) (?>a)$",
        r"^(?<host>\S+) (?ii)a$",
        r"^(?<host>\S+) (?i-s-m)a$",
        r"^(?<host>\S+) (?i-)a$",
        // What other engines have.
        r"^(?<host>\S+)(?= -)",
        r"^(?<host>\S+)(?! -)",
        r"(?<=- )(?<host>\S+)$",
        r"(?<!- )(?<host>\S+)$",
        r"^(?<host>\S+) \1$",
        r"^(?<host>\S+) \k<host>$",
        r"^(?<host>\S+) (?P=host)$",
        // Classes.
        r"^(?<host>[^ ]+) \[(?<time>[^\]+)\] -$",
        r"^(?<host>[^[]+) -$",
        r"^(?<host>[^ ]+) [](?<time>.+)",
        r"^(?<host>[z-a]+)$",
        r"^(?<host>[\w-.]+)$",
        r"^(?<host>[\b.]+)$",
        r"^(?<host>\p{Hosts}+)$",
        r"^(?<host>(?-u:\xff)+)$",
        // Repetitions.
        r"^*(?<host>*)$",
        r"^(?<host>\S+) |{2}$",
        r"^(?<host>\S{3,1}?)$",
        r"^(?<host>\S{,3})$",
        r"^{(?<host>\S+)}$",
        r"^(?<host>\S+) a{2",
        r"^(?<host>\S{99999999999})$",
        r"^(?<host>(\w{1000}){1000})$",
        // Escapes.
        r"^(?<host>\y+)$",
        r"^(?<host>\S+)\Z",
        r"^(?<host>\S+)\h",
        r"^(?<host>\S+)\",
        r"^(?<host>\S+)\x{7e",
        r"^(?<host>\S+)\x{}$",
        r"^(?<host>\xfg)$",
        r"^(?<host>\x{110000})$",
        r"^(?<host>\0)$",
        r"^(?<host>\S+)\p{Le",
        r"^(?<host>\S+)\b{begin}",
        r"^(?<host>\S+)\b{start",
        // What is no fault of one place.
        r"^\S+ (\S+)$",
    ];
    let nested = format!("(?<host>{}a{})", "(".repeat(250), ")".repeat(250));
    let patterns = patterns.into_iter().chain([nested.as_str()]);
    let mut scalars: Vec<String> = patterns.map(|pattern| format!(" '{pattern}'")).collect();
    let indent = "\n          ";
    scalars.extend([
        // Several lines, one or both places of the fault not on the first.
        [" >-", r"^(?<host>\S+)", r"\[(?<time>[^\]]+)\]", r#""(?<request>[^"]*"$"#].join(indent),
        [" >-", r"^(?<host>\S+)", r"\[(?<time>[^\]]+)\]", r"(?<host>\S+)$"].join(indent),
        [" |-", r"(?x)^(?<host>\S+)   # who", r"\ (?<status>\d{3,1})$"].join(indent),
        [" >-", r"^(?<host>\S+) (?<us", r"er>\S+)$"].join(indent),
        ["", r"^(?<host>\S+)", r"(?<user>\S+)$ *+ (?=b)"].join(indent),
        [" \"^(?<host>\\\\S+)\\", r"(?<status>\\y)$", "\""].join(indent),
        // Escapes of YAML before it, and in it.
        r#" "\x5e(?<host>\\S+)\t\"(?<status>\\d{3}\"$""#.to_owned(),
        r#" "^(?<h\u00f6st>\\S+) \\\x79$""#.to_owned(),
        r#" "^(?<host>\\S+) \\""#.to_owned(),
        " '^(?<host>it''s) (?<host>it''s)$'".to_owned(),
        // `${…}` before it, and around it.
        r#" '${env:NO:-^\S+} (?<host>\S+) $${x'"#.to_owned(),
        r#" "^(?<host>${env:NO:-(?=a)}) b$""#.to_owned(),
    ]);
    let env = |_: &str| None;
    let reports = scalars.iter().map(|scalar| {
        let text = with_pattern(scalar);
        let report = Pipeline::parse("p.yaml", text.as_bytes(), &env).expect_err(scalar);
        report.diagnostics.iter().map(|found| format!("{found}\n")).collect::<String>()
    });
    let found = reports.collect::<String>();
    assert_eq!(found, include_str!("golden/patterns.txt"));
}
