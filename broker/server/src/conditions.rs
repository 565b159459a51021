use std::sync::Arc;

use millrace_engine::{Conditions, Verdicts};
use millrace_sql_filter::{Dialect, Expr, Row, Truth, Value};
use millrace_types::record::Record;
use millrace_types::{Found, PropertyNames};

/// SQL92 subscriptions, as Apache RocketMQ understands them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlConditions;

impl Conditions for SqlConditions {
    fn compile(&self, kind: &str, expression: &str) -> Result<Arc<dyn Verdicts>, String> {
        if kind != "SQL92" {
            return Err(format!("expression type {kind} is not supported"));
        }
        match Expr::parse_condition(expression, Dialect::RocketMq) {
            Ok(expr) => Ok(Arc::new(SqlVerdicts::new(expr))),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[derive(Debug)]
struct SqlVerdicts {
    expr: Expr,
    /// Those of its columns, in their order.
    names: PropertyNames,
}

impl SqlVerdicts {
    fn new(expr: Expr) -> Self {
        let names = PropertyNames::new(expr.columns().iter().map(|column| column.name.as_str()));
        Self { expr, names }
    }
}

impl Verdicts for SqlVerdicts {
    fn verdicts(&self, batch: &[Record<'_>], keep: &mut [bool]) {
        let mut found = Found::default();
        for (record, keep) in batch.iter().zip(keep).filter(|(_, keep)| **keep) {
            self.names.find(record.properties(), &mut found);
            // Unknown and failing are no match, as in RocketMQ: the offset moves on.
            *keep = matches!(self.expr.verdict(&PropertiesRow(&found)), Ok(Truth::True));
        }
    }
}

/// A message's properties as the columns of a condition.
struct PropertiesRow<'f, 'a>(&'f Found<'a>);

impl<'a> Row<'a> for PropertiesRow<'_, 'a> {
    fn value(&self, slot: usize) -> Value<'a> {
        // An empty property is none: Java drops it when it decodes the message.
        let text = self.0.get(slot);
        text.filter(|text| !text.is_empty()).map_or(Value::Null, Value::text)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use millrace_types::record::{Draft, Stamp, encode};
    use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset};

    use super::*;

    #[track_caller]
    fn check(expression: &str, properties: &[(&str, &str)], expected: bool) {
        let mut encoded = PropertiesBuf::new();
        for (name, value) in properties {
            encoded.push(name, value);
        }
        let host = SocketAddr::from(([127, 0, 0, 1], 1));
        let draft = Draft {
            topic: "t",
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 0,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: b"x",
            properties: encoded.as_bytes(),
        };
        let stamp = Stamp {
            queue_offset: QueueOffset(0),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 0,
            store_host: host,
            more: false,
        };
        let mut bytes = Vec::new();
        encode(&draft, &stamp, &mut bytes);
        let record = Record::parse(&bytes).unwrap();
        let mut keep = [true];
        let verdicts = SqlConditions.compile("SQL92", expression).unwrap();
        verdicts.verdicts(&[record], &mut keep);
        assert_eq!(keep, [expected], "{expression} on {properties:?}");
    }

    #[test]
    fn only_what_is_true_is_kept() {
        check("amount > 10", &[("amount", "11")], true);
        check("amount > 10", &[("amount", "9")], false);
        check("amount > 10", &[], false);
        check("amount > 10", &[("amount", "many")], false);
        check("region IS NULL", &[("region", "")], true);
        check("region = 'eu' AND TAGS IN ('a', 'b')", &[("region", "eu"), ("TAGS", "b")], true);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        assert!(SqlConditions.compile("SQL92", "amount >").is_err());
        assert!(SqlConditions.compile("CLASS", "amount > 1").is_err());
    }
}
