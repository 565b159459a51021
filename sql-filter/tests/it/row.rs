//! Rows of named values, and the checks that use them.

use millrace_sql_filter::{Dialect, Expr, Row, Truth, Value};

/// A row for the columns of one expression.
pub(crate) struct Named<'a> {
    slots: Vec<Value<'a>>,
}

impl<'a> Named<'a> {
    /// Each column with the value of its name; a name that is not there is NULL.
    pub(crate) fn new(expr: &Expr, values: &[(&str, Value<'a>)]) -> Self {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name);
        let slots = expr
            .columns()
            .iter()
            .map(|column| value(&column.name).map_or(Value::Null, |(_, value)| value.clone()))
            .collect();
        Self { slots }
    }
}

impl<'a> Row<'a> for Named<'a> {
    fn value(&self, slot: usize) -> Value<'a> {
        self.slots[slot].clone()
    }
}

/// What becomes of a condition and a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    True,
    False,
    Unknown,
    /// The text is no condition.
    Refused,
    /// The row makes evaluation fail.
    Failed,
}

impl From<bool> for Fate {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

pub(crate) fn fate(sql: &str, dialect: Dialect, values: &[(&str, Value<'_>)]) -> Fate {
    let Ok(expr) = Expr::parse_condition(sql, dialect) else {
        return Fate::Refused;
    };
    match expr.verdict(&Named::new(&expr, values)) {
        Ok(Truth::True) => Fate::True,
        Ok(Truth::False) => Fate::False,
        Ok(Truth::Unknown) => Fate::Unknown,
        Err(_) => Fate::Failed,
    }
}

/// A property of a message: a name and a text.
pub(crate) fn texts<'a>(properties: &[(&'a str, &'a str)]) -> Vec<(&'a str, Value<'a>)> {
    properties.iter().map(|(name, text)| (*name, Value::text(text))).collect()
}
