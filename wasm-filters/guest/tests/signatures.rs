//! Functions that make a filter, and what the compiler says of those that do not. That is seen in no
//! other way than by asking the compiler.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The crate as this compiler makes it, for one that only looks at what uses it.
static GUEST: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("signatures");
    std::fs::create_dir_all(&dir).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = |source: &str, name: &str, more: &[&str]| {
        let built =
            rustc(&dir).arg(root.join(source)).args(["--crate-name", name]).args(more).output();
        let built = built.unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    };
    let macros = "millrace_wasm_guest_macros";
    build("macros/src/lib.rs", macros, &["--crate-type", "proc-macro", "--extern", "proc_macro"]);
    let macros = format!("{macros}={}", file_in(&dir, "millrace_wasm_guest_macros.").display());
    let library = ["--crate-type", "lib", "--emit", "metadata", "--extern", &macros];
    build("src/lib.rs", "millrace_wasm_guest", &library);
    dir
});

fn rustc(dir: &Path) -> Command {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-L"]).arg(dir).arg("--out-dir").arg(dir);
    rustc
}

fn file_in(dir: &Path, part: &str) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.into_iter().find(|path| path.to_string_lossy().contains(part));
    found.expect("it was built")
}

/// What the compiler says of a filter with these functions: its errors, each with the text that it
/// points at.
fn complaints(functions: &str) -> String {
    let mut compiler = rustc(&GUEST);
    compiler.args(["--crate-type", "lib", "--emit", "metadata", "--crate-name", "filter", "-"]);
    compiler.args(["--error-format", "json", "--extern"]);
    compiler.arg(format!("millrace_wasm_guest={}", file_in(&GUEST, "guest.rmeta").display()));
    compiler.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = compiler.spawn().unwrap();
    let text = format!("#![deny(warnings)]\nuse millrace_wasm_guest::*;\n{functions}");
    std::io::Write::write_all(&mut running.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let ended = running.wait_with_output().unwrap();
    let mut told = String::new();
    for line in String::from_utf8(ended.stderr).unwrap().lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let at = |span: &serde_json::Value| {
            let of = |key: &str| span[key].as_u64().unwrap() as usize;
            text[of("byte_start")..of("byte_end")].to_owned()
        };
        if let Some(span) = message["spans"].as_array().unwrap().first() {
            let text = message["message"].as_str().unwrap();
            let at = if span["file_name"] == "<anon>" {
                at(span)
            } else {
                span["file_name"].to_string()
            };
            writeln!(told, "`{at}`: {text}").unwrap();
        }
    }
    assert_eq!(ended.status.success(), told.is_empty(), "{told}");
    told
}

#[track_caller]
fn check(functions: &str, expected: &str) {
    assert_eq!(complaints(functions), expected, "{functions}");
}

const STATE: &str = "
    pub struct State(pub u8);
    #[init] fn init(params: Params<'_>) -> Result<State> {
        Ok(State(params.int(\"n\")?.unwrap_or_default() as u8))
    }
";

#[track_caller]
fn check_filter(function: &str, expected: &str) {
    check(&format!("{STATE} #[filter(name = \"a\", version = \"1\")] {function}"), expected);
}

#[track_caller]
fn check_map(function: &str, expected: &str) {
    for kind in ["map", "flat_map"] {
        check(&format!("{STATE} #[{kind}(name = \"a\", version = \"1\")] {function}"), expected);
    }
}

#[test]
fn these_make_a_module() {
    check_filter("fn keep(r: &Record<'_>) -> bool { r.key.is_none() }", "");
    check_filter("pub(crate) fn keep(r: &Record) -> Result<bool> { Ok(r.key.is_none()) }", "");
    check_filter("#[inline] fn keep(State(n): &State, _: &Record) -> bool { *n == 0 }", "");
    check_filter("fn keep(s: &mut State, r: &Record) -> bool { s.0 += 1; r.body == [s.0] }", "");
    let parsed = "Ok(std::str::from_utf8(r.body)?.is_empty())";
    for error in ["std::str::Utf8Error", "Box<dyn std::error::Error>"] {
        check_filter(&format!("fn keep(r: &Record) -> Result<bool, {error}> {{ {parsed} }}"), "");
    }
    check_map(
        "fn up(r: &Record<'_>, out: &mut Out<'_>) -> Result<()> { out.keep(); r.property(\"a\").ok_or(\"no a\")?; Ok(()) }",
        "",
    );
    check_map(
        "fn up(s: &mut State, _: &Record, out: &mut Out) -> Result<()> { Ok(out.body(&[s.0]).emit()) }",
        "",
    );
    let init = "fn init(p: Params) -> std::result::Result<Map<u8, Vec<u8>>, std::fmt::Error> {
        Ok(Map(p.get(\"n\").is_some() as u8, vec![]))
    }";
    check(
        &format!(
            "pub struct Map<A, B>(pub A, pub B); #[init(params = \"{{}}\",)] {init}
            #[filter(name = concat!(\"a\", \"b\"), version = \"1\")]
            fn keep(s: &Map<u8, Vec<u8>>, _: &Record) -> bool {{ s.0 == 0 }}"
        ),
        "",
    );
}

#[test]
fn of_all_others_the_compiler_says_what_is_wrong() {
    let form = "help: `fn keep(state: &State, record: &Record<'_>) -> Result<bool>`\n";
    let mistake = |at: &str, what: &str| format!("`{at}`: {what}\n{form}");
    let by_value = mistake("Record", "a filter takes the record as `&Record<'_>`");
    check_filter("fn keep(_: Record) -> bool { true }", &by_value);
    let by_value = mistake("State", "the state is `&State` or `&mut State`");
    check_filter("fn keep(_: State, _: &Record) -> bool { true }", &by_value);
    let nothing = mistake("keep", "a filter takes its state and a record");
    check_filter("fn keep() -> bool { true }", &nothing);
    let nothing = mistake("keep", "the function must answer something");
    check_filter("fn keep(_: &Record) {}", &nothing);
    let plain = |at: &str| mistake(at, "the attribute belongs to a plain function");
    check_filter("fn keep<'a>(_: &Record<'a>) -> bool { true }", &plain("<"));
    check_filter("pub struct A;", &plain("struct"));
    check_filter("pub async fn keep(_: &Record<'_>) -> bool { true }", &plain("async"));
    check_filter("unsafe fn keep(_: &Record<'_>) -> bool { true }", &plain("unsafe"));
    let options = "the attribute takes `name = \"...\"` and `version = \"...\"`";
    for given in ["nam = \"a\"", "name: \"a\"", "name", "name =", "name = \"a\", name = \"b\""] {
        let at = if given.starts_with("name = \"a\",") {
            "name"
        } else {
            given.split([' ', ':']).next().unwrap()
        };
        check(
            &format!("#[filter({given})] fn keep(_: &Record) -> bool {{ true }}"),
            &mistake(at, options),
        );
    }

    let form =
        "help: `fn map(state: &State, record: &Record<'_>, out: &mut Out<'_>) -> Result<()>`\n";
    let by_value = format!("`Out`: a map puts records into a `&mut Out<'_>`\n{form}");
    check_map("fn up(_: &Record, _: Out) -> Result<()> { Ok(()) }", &by_value);
    let no_out = format!("`up`: a map takes its state, a record and an `Out`\n{form}");
    check_map("fn up(_: &Record) -> Result<()> { Ok(()) }", &no_out);

    let form = "help: `fn init(params: Params<'_>) -> Result<State>`\n";
    let params = "`init`: `init` takes the parameters, by value, and nothing else\n";
    for inputs in ["", "_: &Params", "_: Params, _: u8"] {
        let function = format!("#[init] pub fn init({inputs}) -> Result<u8> {{ Ok(1) }}");
        check(&function, &format!("{params}{form}"));
    }
    let no_state = format!("`init`: `init` answers a `Result` with the state\n{form}");
    check("#[init] pub fn init(_: Params) -> u8 { 1 }", &no_state);
    check("#[init] pub fn init(_: Params) { }", &no_state);
}

#[test]
fn types_that_do_not_fit_are_shown_where_they_stand() {
    let answer = "`keep`: a function for records cannot answer `u32`\n";
    check_filter("fn keep(_: &Record) -> u32 { 1 }", answer);
    check_filter("fn keep(_: &Params) -> bool { true }", "`keep`: mismatched types\n");
    let told = complaints(
        "#[filter(name = \"a\", version = \"1\")]
        fn keep(_: &u8, _: &Record) -> bool { true }",
    );
    assert!(told.starts_with("`u8`: no function makes a `u8`\n"), "{told}");
    let no_emit = "`out.key(r.body)`: unused `Replacement` that must be used\n";
    check_map(
        "fn up(r: &Record, out: &mut Out) -> Result<()> { out.key(r.body); Ok(()) }",
        no_emit,
    );
}
