use millrace_protocol::Subscription;
use millrace_types::java_hash;

use crate::ClientError;

/// Which messages of a topic a consumer wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    #[default]
    All,
    /// Those with one of these tags.
    Tags(Vec<String>),
    /// Those for which an SQL92 condition holds, for instance `price > 10 AND region = 'eu'`.
    Sql(String),
}

impl Filter {
    /// Reads `*`, or tags with `||` in between.
    pub fn tags(expression: &str) -> Result<Self, ClientError> {
        if matches!(expression.trim(), "" | "*") {
            return Ok(Self::All);
        }
        let tags = expression.split("||").map(str::trim);
        let tags: Vec<_> = tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        if tags.is_empty() {
            let message = format!("`{expression}` names no tag; write them as `a || b`");
            return Err(ClientError::Invalid(message));
        }
        Ok(Self::Tags(tags))
    }

    /// The expression, as requests have it, and its type.
    pub(crate) fn expression(&self) -> (String, &'static str) {
        match self {
            Self::All => ("*".to_owned(), "TAG"),
            Self::Tags(tags) => (tags.join(" || "), "TAG"),
            Self::Sql(condition) => (condition.clone(), "SQL92"),
        }
    }

    /// The subscription of a topic, as heartbeats have it.
    pub(crate) fn subscription(&self, topic: &str, version: i64) -> Subscription {
        let (expression, expression_type) = self.expression();
        let tags = match self {
            Self::Tags(tags) => tags.clone(),
            Self::All | Self::Sql(_) => Vec::new(),
        };
        Subscription {
            topic: topic.to_owned(),
            expression,
            expression_type: expression_type.to_owned(),
            codes: tags.iter().map(|tag| java_hash(tag)).collect(),
            tags,
            version,
        }
    }

    /// Whether a message with this tag is wanted. Brokers compare hashes, so one that comes may
    /// still be another one's.
    pub(crate) fn wants(&self, tag: Option<&str>) -> bool {
        match self {
            Self::All | Self::Sql(_) => true,
            Self::Tags(tags) => tag.is_some_and(|tag| tags.iter().any(|wanted| wanted == tag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_java_reads_them() {
        let tags = |text| Filter::tags(text).unwrap();
        assert_eq!(tags("*"), Filter::All);
        assert_eq!(tags(" "), Filter::All);
        assert_eq!(tags("a||b || "), Filter::Tags(vec!["a".into(), "b".into()]));
        Filter::tags("||").unwrap_err();
        let subscription = tags("TagA || b").subscription("t", 7);
        assert_eq!((&*subscription.expression, subscription.version), ("TagA || b", 7));
        assert_eq!(subscription.codes[0], 2598919);
    }

    #[test]
    fn tags_are_compared_and_not_only_their_hashes() {
        let filter = Filter::tags("AaAa").unwrap();
        // The same hash.
        assert_eq!(java_hash("AaAa"), java_hash("BBBB"));
        assert!(filter.wants(Some("AaAa")));
        assert!(!filter.wants(Some("BBBB")));
        assert!(!filter.wants(None));
        assert!(Filter::Sql("a = 1".into()).wants(None));
    }
}
