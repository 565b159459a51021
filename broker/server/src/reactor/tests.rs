//! A reactor whose turns the test makes itself.

use std::path::Path;

use millrace_disk::SimDisk;
use millrace_store::StoreConfig;

use super::*;
use crate::config::Limits;
use crate::core::{Core, CoreConfig};
use crate::dispatch::Role;
use crate::flushing::Flushing;
use crate::shell::{Names, Serves};
use crate::waiting::ReplyTo;

/// A reactor at a time that never changes.
struct Still {
    reactor: Reactor,
    _core: Core,
}

const NOW_MS: u64 = 10_000;

impl Still {
    fn new() -> Self {
        let clock = Arc::new(|| Now { mono_ms: NOW_MS, wall_ms: 1_700_000_000_000 });
        let store = StoreConfig { segment_bytes: 1 << 20, ..StoreConfig::default() };
        let config =
            CoreConfig { store, flushing: Flushing::Manual, clock, ..CoreConfig::default() };
        let (core, _) = Core::open(Arc::new(SimDisk::new(1)), Path::new("/data"), config).unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), Role::Broker).unwrap();
        let at = listener.address().unwrap();
        let names = Names {
            host: at,
            broker: Arc::clone(core.name()),
            cluster: "cluster".into(),
            auto_create_topics: true,
            template_queues: 1,
            serves: Serves::Messages,
        };
        let shell = Shell::new(names, Limits::default(), Arc::clone(core.shared()));
        let (reactor, _) =
            Reactor::new(core.shared(), shell, vec![listener], Arc::default()).unwrap();
        let mut still = Self { reactor, _core: core };
        still.reactor.turn();
        still
    }
}

#[test]
fn a_question_has_to_be_looked_at_once_it_is_too_old() {
    let mut still = Still::new();
    let to = ReplyTo { connection: NOBODY, opaque: 1, kind: HeaderKind::Json };
    for asked_ms in [5_500, 5_700] {
        let question = Question { to, asked_ms, work: Box::new(Output::default) };
        still.reactor.shell.questions.push_back(question);
    }
    assert_eq!(still.reactor.due_ms(), 10_500);
}
