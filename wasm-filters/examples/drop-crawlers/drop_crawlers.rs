//! Drops the requests of crawlers from an access log in the combined format, by user agent.

use millrace_wasm_guest::{Params, Record, Result, filter, init};

/// What the user agents of crawlers have in common, in lower case.
const USUAL: [&str; 6] = ["bot", "crawl", "spider", "slurp", "curl/", "wget/"];

/// What the user agents of crawlers have in them.
pub struct Crawlers(Vec<String>);

#[init(params = r#"{"properties": {"agents": {"type": "array"}}}"#)]
fn init(params: Params<'_>) -> Result<Crawlers> {
    let mut agents = params.texts("agents")?;
    if agents.is_empty() {
        agents = USUAL.map(str::to_owned).to_vec();
    }
    if agents.iter().any(String::is_empty) {
        return Err("an empty text in `agents` would drop everything".to_owned());
    }
    agents.iter_mut().for_each(|agent| agent.make_ascii_lowercase());
    Ok(Crawlers(agents))
}

#[filter(name = "drop-crawlers", version = "1.0.0")]
fn keep(crawlers: &Crawlers, record: &Record<'_>) -> Result<bool> {
    let agent = user_agent(record.body).ok_or("the line does not end with a user agent")?;
    Ok(!crawlers.0.iter().any(|crawler| contains(agent, crawler.as_bytes())))
}

/// The last text in quotes of a line.
fn user_agent(line: &[u8]) -> Option<&[u8]> {
    let rest = line.trim_ascii_end().strip_suffix(b"\"")?;
    let begin = rest.iter().rposition(|byte| *byte == b'"')?;
    Some(&rest[begin + 1..])
}

/// Whether a text holds another one, whose letters are small; it is no matter how large they are
/// in the text.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(params: &str, line: &str, expected: Result<bool, &str>) {
        let crawlers = init(Params::parse(params).unwrap()).unwrap();
        let kept = keep(&crawlers, &Record { body: line.as_bytes(), ..Record::default() });
        assert_eq!(kept, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn crawlers_go_and_people_stay() {
        let line = |agent| format!(r#"1.2.3.4 - - [..] "GET /robots.txt" 200 3 "-" "{agent}""#);
        check("{}", &line("Mozilla/5.0 (X11; Linux)"), Ok(true));
        check("{}", &line("Googlebot/2.1"), Ok(false));
        check("{}", &line("GoogleBOT/2.1"), Ok(false));
        check("{}", &line("-"), Ok(true));
        check(r#"{"agents": ["Mozilla"]}"#, &line("Googlebot/2.1"), Ok(true));
        check(r#"{"agents": ["Mozilla"]}"#, &line("mozilla"), Ok(false));
        check("{}", "no agent", Err("the line does not end with a user agent"));
        check("{}", "\"", Err("the line does not end with a user agent"));
    }

    #[test]
    fn an_empty_text_is_a_mistake() {
        let params = Params::parse(r#"{"agents": [""]}"#).unwrap();
        assert!(init(params).is_err());
    }
}
