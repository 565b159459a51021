use std::collections::BTreeMap;

use millrace_engine::Space;
use millrace_protocol::GroupRules;

use crate::core::{Needs, Shared};

/// What the groups are set to, as far as it is obeyed. The settings are in the engine; this is
/// their meaning, read once.
#[derive(Debug, Default)]
pub(crate) struct Rules(BTreeMap<String, GroupRules>);

impl Rules {
    /// Those that the engine has.
    pub(crate) fn of(shared: &Shared) -> Self {
        let groups = shared.step(Needs::Policy, |step| {
            let all = step.engine.settings(Space::Group);
            all.map(|(group, json)| (group.to_owned(), GroupRules::parse(json))).collect::<Vec<_>>()
        });
        let groups = groups.into_iter().flatten();
        Self(groups.filter_map(|(group, rules)| Some((group, rules?))).collect())
    }

    /// Those of a group; as in RocketMQ, groups that nobody set have the defaults.
    pub(crate) fn get(&self, group: &str) -> GroupRules {
        self.0.get(group).copied().unwrap_or_default()
    }

    /// Takes note of what the engine has taken, and so bounded.
    pub(crate) fn put(&mut self, group: &str, rules: GroupRules) {
        self.0.insert(group.to_owned(), rules);
    }

    pub(crate) fn remove(&mut self, group: &str) {
        self.0.remove(group);
    }
}
