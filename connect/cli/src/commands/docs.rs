//! `millrace docs`: what one can write in a pipeline file.

use clap::Args;
use millrace_config::{Row, Section, json_schema, sections};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, codes};
use crate::output::Answer;

/// Show what a component or a key of pipeline files takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  millrace docs parquet
  millrace docs on_unknown
  millrace docs --json-schema > pipeline.schema.json")]
pub(crate) struct Docs {
    /// A component such as `parquet`, or a key such as `partition_by`; without one, all places of a
    /// pipeline file are listed.
    key: Option<String>,
    /// Print the JSON Schema of pipeline files, with which editors complete and check them.
    #[arg(long, conflicts_with_all = ["key", "json"])]
    json_schema: bool,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const WIDTH: usize = 88;

/// Pipelines to show how a component is used.
const EXAMPLES: [(&str, &str); 3] = [
    ("pipelines/orders.yaml", include_str!("../../../../pipelines/orders.yaml")),
    ("pipelines/access-log.yaml", include_str!("../../../../pipelines/access-log.yaml")),
    ("pipelines/flights.yaml", include_str!("../../../../pipelines/flights.yaml")),
];

impl Docs {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        if self.json_schema {
            let text = format!("{:#}\n", json_schema());
            return Ok(Answer {
                exit: Exit::Done,
                summary: String::new(),
                text,
                result: json!({}),
            });
        }
        let all = sections();
        let Some(key) = &self.key else {
            return Ok(list(&all));
        };
        let wanted = about(&all, key);
        if wanted.is_empty() {
            return Err(Failure::new(
                Exit::Input,
                codes::ARGUMENT,
                format!("no key is called `{key}`"),
            )
            .hint("`millrace docs` without one lists all places of a pipeline file"));
        }
        let mut text: Vec<String> = wanted.iter().map(shown).collect();
        text.extend(EXAMPLES.iter().find_map(|(file, yaml)| {
            let example = used(yaml, key)?;
            Some(format!("As in {file}:\n\n{example}"))
        }));
        let summary = wanted.iter().map(title).collect::<Vec<_>>().join(", ");
        let result = wanted.iter().map(told).collect();
        Ok(Answer { exit: Exit::Done, summary, text: text.join("\n"), result })
    }
}

fn list(all: &[Section]) -> Answer {
    let width = all.iter().map(|section| section.path.len()).max().unwrap_or(0);
    let line = |section: &Section| {
        let doc = section.doc.split_inclusive(". ").next().unwrap_or_default().trim_end();
        format!("{:width$}  {doc}\n", title(section))
    };
    let text = all.iter().map(line).collect();
    let summary = format!("{} places", all.len());
    Answer { exit: Exit::Done, summary, text, result: all.iter().map(told).collect() }
}

/// The places that a key leads to with all that lies in them; if there are none, the places that
/// have such a key, with no other one.
fn about(all: &[Section], key: &str) -> Vec<Section> {
    let names = |path: &str| path == key || path.ends_with(&format!(".{key}"));
    let roots: Vec<&str> =
        all.iter().map(|section| &*section.path).filter(|path| names(path)).collect();
    let within = |path: &str| {
        roots.iter().any(|root| {
            path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let mut found: Vec<Section> =
        all.iter().filter(|section| within(&section.path)).cloned().collect();
    if found.is_empty() {
        let only = |rows: &[Row]| rows.iter().filter(|row| row.name == key).cloned().collect();
        found = all
            .iter()
            .map(|section| Section {
                keys: only(&section.keys),
                components: only(&section.components),
                ..section.clone()
            })
            .collect();
        found.retain(|section| !(section.keys.is_empty() && section.components.is_empty()));
    }
    found
}

fn title(section: &Section) -> &str {
    if section.path.is_empty() { "(top level)" } else { &section.path }
}

fn shown(section: &Section) -> String {
    let mut text = format!("{}\n", title(section));
    wrap(section.doc, 0, &mut text);
    for row in &section.keys {
        let without = match (row.default, row.is_required) {
            (Some(default), _) => format!("default `{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => "optional".to_owned(),
        };
        text.push_str(&format!("\n  {} ({}; {without})\n", row.name, row.kind));
        wrap(row.doc, 6, &mut text);
    }
    if !section.keys.is_empty() && !section.components.is_empty() {
        text.push_str(&format!("\n  and exactly one {}:\n", section.noun));
    }
    for row in &section.components {
        text.push_str(&format!("\n  {} ({})\n", row.name, row.kind));
        wrap(row.doc, 6, &mut text);
    }
    text
}

fn told(section: &Section) -> Value {
    let row = |row: &Row| {
        json!({
            "name": row.name, "type": row.kind, "default": row.default,
            "required": row.is_required, "meaning": row.doc,
        })
    };
    json!({
        "path": section.path,
        "meaning": section.doc,
        "keys": section.keys.iter().map(row).collect::<Vec<_>>(),
        "exactly_one": section.components.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Adds words in lines of at most [`WIDTH`] characters.
fn wrap(words: &str, indent: usize, text: &mut String) {
    let mut left = 0;
    for (n, word) in words.split_whitespace().enumerate() {
        let len = word.chars().count();
        if len < left {
            text.push(' ');
            left -= 1 + len;
        } else {
            text.push_str(if n > 0 { "\n" } else { "" });
            text.extend(std::iter::repeat_n(' ', indent));
            left = WIDTH.saturating_sub(indent + len);
        }
        text.push_str(word);
    }
    text.push('\n');
}

/// The part of a pipeline file that a key begins.
fn used(yaml: &str, key: &str) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let begins = |line: &&str| {
        line[indent(line)..].strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
    };
    let mut lines = yaml.lines().skip_while(|line| !begins(line));
    let first = lines.next()?;
    let at = indent(first);
    let within = lines.take_while(|line| indent(line) > at && !line.trim().is_empty());
    let within = within.map(|line| format!("  {}\n", &line[at..]));
    Some(std::iter::once(format!("  {}\n", &first[at..])).chain(within).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_by_its_last_key() {
        let all = sections();
        for section in all.iter().filter(|section| !section.path.is_empty()) {
            let key = section.path.rsplit('.').next().unwrap();
            assert!(about(&all, key).iter().any(|found| found.path == section.path), "{key}");
        }
    }

    #[test]
    fn a_key_without_a_place_of_its_own_is_found_where_it_is_used() {
        let found = about(&sections(), "partition_by");
        assert!(!found.is_empty());
        for section in found {
            let [row] = section.keys.as_slice() else {
                panic!("{}: {:?}", section.path, section.keys)
            };
            assert_eq!(row.name, "partition_by");
        }
        assert!(about(&sections(), "partition").is_empty());
    }

    #[test]
    fn an_example_ends_where_its_component_does() {
        let yaml = "a:\n  - set:\n      x: 1\n      y: 2\n  - other: 3\n\nsettle: 4\n";
        assert_eq!(used(yaml, "set").unwrap(), "  set:\n    x: 1\n    y: 2\n");
        assert_eq!(used(yaml, "other").unwrap(), "  other: 3\n");
        assert_eq!(used(yaml, "sett"), None);
    }

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        for len in 1..=WIDTH {
            let word = "w".repeat(len);
            let mut text = String::new();
            wrap(&format!("{word} {word} {word}"), 3, &mut text);
            let words = ((WIDTH - 3 + 1) / (len + 1)).clamp(1, 3);
            let first = format!("   {}", vec![&*word; words].join(" "));
            assert_eq!(text.lines().next(), Some(&*first));
            assert_eq!(text.matches('w').count(), 3 * len);
            assert!(text.lines().all(|line| line.starts_with("   w")), "{text}");
        }
    }
}
