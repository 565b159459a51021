use std::fmt;

use millrace_engine::RETRY_PREFIX;
use millrace_protocol::FilterPlace;
use millrace_types::{GroupName, TopicName};

/// What a filter is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// What all groups are given of a topic.
    Topic(TopicName),
    /// What a group is given of all topics.
    Group(GroupName),
    /// What a group is given of one topic.
    GroupInTopic(GroupName, TopicName),
}

impl Place {
    /// What a tool names.
    pub(crate) fn of(named: &FilterPlace<'_>) -> Result<Self, String> {
        let group = named.group.as_deref().map(GroupName::parse).transpose();
        let group = group.map_err(|error| format!("the group is illegal: {error}"))?;
        let topic = named.topic.as_deref().map(TopicName::parse).transpose();
        let topic = topic.map_err(|error| format!("the topic is illegal: {error}"))?;
        match (group, topic) {
            (Some(group), Some(topic)) => Ok(Self::GroupInTopic(group, topic)),
            (Some(group), None) => Ok(Self::Group(group)),
            (None, Some(topic)) => Ok(Self::Topic(topic)),
            (None, None) => Err("a filter is attached to a group, a topic, or both".to_owned()),
        }
    }

    /// The name of its setting. No name of a group or a topic has a space.
    pub(crate) fn to_key(&self) -> String {
        match self {
            Self::Topic(topic) => format!("topic {}", topic.as_str()),
            Self::Group(group) => format!("group {}", group.as_str()),
            Self::GroupInTopic(group, topic) => {
                format!("group {} topic {}", group.as_str(), topic.as_str())
            }
        }
    }

    /// Reads the name of a setting.
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        match key.split(' ').collect::<Vec<_>>()[..] {
            ["topic", topic] => Some(Self::Topic(TopicName::parse(topic).ok()?)),
            ["group", group] => Some(Self::Group(GroupName::parse(group).ok()?)),
            ["group", group, "topic", topic] => {
                let (group, topic) = (GroupName::parse(group).ok()?, TopicName::parse(topic).ok()?);
                Some(Self::GroupInTopic(group, topic))
            }
            _ => None,
        }
    }

    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Self::Topic(_) => None,
            Self::Group(group) | Self::GroupInTopic(group, _) => Some(group.as_str()),
        }
    }

    pub(crate) fn topic(&self) -> Option<&str> {
        match self {
            Self::Group(_) => None,
            Self::Topic(topic) | Self::GroupInTopic(_, topic) => Some(topic.as_str()),
        }
    }

    /// Whether it concerns what a group is given of a topic. A group's retry topic has only what it
    /// was given before.
    pub(crate) fn covers(&self, group: &str, topic: &str) -> bool {
        let is_retried = topic.strip_prefix(RETRY_PREFIX) == Some(group);
        self.group().is_none_or(|known| known == group)
            && self.topic().is_none_or(|known| known == topic)
            && !is_retried
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "the topic {}", topic.as_str()),
            Self::Group(group) => write!(f, "the group {}", group.as_str()),
            Self::GroupInTopic(group, topic) => {
                write!(f, "the group {} in the topic {}", group.as_str(), topic.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(group: Option<&str>, topic: Option<&str>) -> Result<Place, String> {
        Place::of(&FilterPlace { group: group.map(Into::into), topic: topic.map(Into::into) })
    }

    #[test]
    fn a_place_is_named_and_found_again() {
        for (group, topic) in [(Some("g"), None), (None, Some("t")), (Some("g"), Some("t"))] {
            let place = place(group, topic).unwrap();
            assert_eq!(Place::from_key(&place.to_key()), Some(place.clone()));
            assert_eq!((place.group(), place.topic()), (group, topic));
        }
        assert!(place(None, None).is_err());
        assert!(place(Some("a b"), None).is_err() && place(None, Some("")).is_err());
        assert_eq!(Place::from_key("broker b"), None);
    }

    #[test]
    fn a_place_covers_what_is_given_for_the_first_time() {
        let group = place(Some("g"), None).unwrap();
        let covered = [("g", "t"), ("h", "t"), ("g", "%RETRY%g"), ("g", "%RETRY%h")];
        assert_eq!(covered.map(|(g, t)| group.covers(g, t)), [true, false, false, true]);
        let topic = place(None, Some("t")).unwrap();
        assert_eq!(covered.map(|(g, t)| topic.covers(g, t)), [true, true, false, false]);
        let both = place(Some("g"), Some("t")).unwrap();
        assert_eq!(covered.map(|(g, t)| both.covers(g, t)), [true, false, false, false]);
    }
}
