use super::super::names::{Scope, is_plain_name, known};
use crate::code;
use crate::keys;
use crate::model::{KeptField, OnMissing, SplitSpec, StepSpec};
use crate::parse;
use crate::read::{Entry, Fields, Reader};
use crate::suggest::nearest;
use crate::text::Span;
use crate::yaml::{Key, Node, Value};

/// What there is beside a `split`.
pub(super) struct Beside {
    /// Another one before it.
    has_split: bool,
    /// Some module, which may read what no column does.
    has_module: bool,
}

impl Beside {
    pub(super) fn of(steps: &[Entry<'_>]) -> Self {
        let has_module = steps.iter().any(|step| at_key(step.node, "wasm").is_some());
        Self { has_split: false, has_module }
    }
}

/// What stands at a key, if the node is a map that has it.
fn at_key<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(map) = &node.value else { return None };
    map.iter().find(|(key, _)| key.text == name).map(|(_, value)| value)
}

/// The columns that a message has itself, if some step splits it: what its rows keep under the same
/// name. Mistakes are told elsewhere.
pub(in super::super) fn kept(reader: &Reader<'_>, steps: &Entry<'_>) -> Option<Vec<String>> {
    let Value::Seq(items) = &steps.node.value else { return None };
    let split = items.iter().find_map(|item| at_key(item, "split"))?;
    let Some(keep) = at_key(split, "keep") else { return Some(Vec::new()) };
    let Value::Map(keep) = &keep.value else { return None };
    let same = |(key, value): &(Key, Node)| {
        let Value::Scalar(path) = &value.value else { return None };
        // A path that nobody knows may be this one.
        let path = reader.peek(path);
        let is_same = path.is_none_or(|path| path.strip_prefix("body.") == Some(&*key.text));
        is_same.then(|| key.text.clone())
    };
    Some(keep.iter().filter_map(same).collect())
}

pub(super) fn split(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &Scope,
    steps: &[StepSpec],
    beside: &mut Beside,
) -> Option<StepSpec> {
    let mut is_right = true;
    if std::mem::replace(&mut beside.has_split, true) {
        let message = "messages are split once";
        reader.error(code::KEY_CONFLICT, &entry.at.span, message, "delete one of the two steps");
        is_right = false;
    }
    if !scope.of_json() {
        let message = "only JSON bodies can be split";
        let help = "delete the step, or decode the bodies as `json`";
        reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
        is_right = false;
    }
    if let Some(step) = steps.iter().find_map(StepSpec::with_columns) {
        let message = format!("`split` comes behind a `{step}` that reads columns");
        let help = "the columns are those of the rows that it makes: move it before that step";
        reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
        is_right = false;
    }
    let spec = match &entry.node.value {
        Value::Map(_) => {
            let fields = reader.fields(&keys::SPLIT, &entry.at, entry.node)?;
            long(reader, &fields, scope, beside)
        }
        Value::Scalar(_) | Value::Seq(_) | Value::Alias => {
            let path = path(reader, entry);
            let fields = Fields::empty(&keys::SPLIT);
            long_with(reader, &fields, scope, beside, path)
        }
    };
    spec.filter(|_| is_right).map(StepSpec::Split)
}

fn long(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    scope: &Scope,
    beside: &Beside,
) -> Option<SplitSpec> {
    let path = fields.get("path").and_then(|entry| path(reader, entry));
    long_with(reader, fields, scope, beside, path)
}

fn long_with(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    scope: &Scope,
    beside: &Beside,
    path: Option<Vec<String>>,
) -> Option<SplitSpec> {
    let as_ = match fields.get("as") {
        Some(entry) => row_field(reader, entry, scope, beside).map(Some),
        None => Some(None),
    };
    let mut keep: Vec<KeptField> = Vec::new();
    let mut all_kept = true;
    if let Some(entry) = fields.get("keep") {
        for (key, value) in reader.map(entry)? {
            let legal = check_field(reader, &key.text, &key.span, scope, beside);
            let place = self::path(reader, &value);
            if place.as_ref().is_some_and(Vec::is_empty) {
                let message = "a row cannot keep the whole body";
                let help = "name a field of it, for example `body.id`";
                reader.error(code::COLUMN_UNKNOWN, &value.node.span, message, help);
                all_kept = false;
            }
            if as_.as_ref().and_then(Option::as_ref) == Some(&key.text) {
                let message = format!("`{}` is the element already", key.text);
                reader.error(code::COLUMN_TWICE, &key.span, message, "choose another name");
                all_kept = false;
            }
            if path.as_ref().is_some_and(Vec::is_empty) {
                let message = "a body that is an array has no fields to keep";
                reader.error(code::KEY_CONFLICT, &key.span, message, "delete `keep`");
                all_kept = false;
            }
            match place {
                Some(path) if legal => keep.push(KeptField { name: key.text.clone(), path }),
                _ => all_kept = false,
            }
        }
    }
    let max = reader.value(fields, "max", parse::int);
    let on_missing = reader.value(fields, "on_missing", parse::choice);
    Some(SplitSpec {
        path: path.filter(|_| all_kept)?,
        keep,
        as_: as_?,
        max: usize::try_from(max?).unwrap_or(usize::MAX),
        on_missing: [OnMissing::Dlq, OnMissing::Reject][on_missing?],
    })
}

/// A field that each row has.
fn row_field(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &Scope,
    beside: &Beside,
) -> Option<String> {
    let name = reader.scalar(entry, parse::text)?;
    check_field(reader, &name, &entry.node.span, scope, beside).then_some(name)
}

/// Whether some column reads the field; reports if none does.
fn check_field(
    reader: &mut Reader<'_>,
    name: &str,
    span: &Span,
    scope: &Scope,
    beside: &Beside,
) -> bool {
    if !is_plain_name(name) {
        let message = format!("`{name}` cannot be the name of a field of the rows");
        let help = "letters, digits and `_`, beginning with a letter; no word of the expression \
                    language";
        reader.error(code::NAME_SHAPE, span, message, help);
        return false;
    }
    if beside.has_module || scope.reads_field(name) {
        return true;
    }
    let fields = || scope.fields().into_iter();
    let near = nearest(name, fields()).map(str::to_owned);
    let message = format!("no column of `schema` is `{name}` or lies in it");
    reader.error(code::COLUMN_UNKNOWN, span, message, known(near, fields()));
    false
}

/// The parts of a path such as `body.order.items`; none for `body`.
fn path(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Vec<String>> {
    let text = reader.scalar(entry, parse::text)?;
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    match &parts[..] {
        [body, path @ ..] if body == "body" && path.iter().all(|part| !part.is_empty()) => {
            Some(path.to_vec())
        }
        _ => {
            let message = format!("`{text}` is no field of the body");
            let trimmed = text.trim_matches('.');
            let help = format!("write `body.{}`", trimmed.strip_prefix("body.").unwrap_or(trimmed));
            reader.error(code::COLUMN_UNKNOWN, &entry.node.span, message, help);
            None
        }
    }
}
