use std::sync::atomic::AtomicBool;

use millrace_wasm_host::Host;

use super::text::{FAIL, LOG, WRITE};
use super::*;
use crate::dispatch::CHORES_MAX;

/// A server whose modules have a clock that the test moves.
fn start_without_clock(hands: &Hands) -> (Server, Arc<Host>) {
    let host = Arc::new(Host::without_clock(FilterLimits::default()));
    (start_with(hands, &host), host)
}

fn start_with(hands: &Hands, host: &Arc<Host>) -> Server {
    let host = Arc::clone(host);
    let disk = Arc::new(SimDisk::new(1));
    Server::start_with(disk, config(), hands.clock(), Box::new(move || host)).unwrap()
}

/// Lets the time of modules go on for as long as it lives.
struct Ticks {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticks {
    fn of(host: &Arc<Host>) -> Self {
        let (host, stop) = (Arc::clone(host), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                host.tick();
                thread::yield_now();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

const FOR_EVER: &str = "(loop $for_ever (br $for_ever))";

#[test]
fn an_endless_loop_delays_nobody_else() {
    let (server, host) = start_without_clock(&Hands::default());
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["k", "x", "d", "k"]);
    peer.done(&attach(Some("evil"), None, &module(FOR_EVER)));
    peer.done(&attach(Some("good"), None, &module("unreachable")));
    let mut victim = server.connect(HeaderKind::Json);
    victim.ask(&pull_of("evil", "t", 0));
    // No time passes for modules: whoever waited for this one would wait for ever.
    for n in 0..200 {
        peer.send("other", b"y");
        assert_eq!(peer.given("plain", "other").1, n + 1);
        assert_eq!(peer.given("good", "t"), (vec!["k".into(), "x".into(), "k".into()], 4));
        peer.done(&attach(Some("late"), None, &begins('a')));
        peer.done(&FilterRequest::Detach(place(Some("late"), None)));
    }
    // The same consumer is served beside it, too, but for what needs the module.
    victim.handled_so_far();
    assert_eq!(victim.given("plain", "t").0.len(), 4);
    let _ticks = Ticks::of(&host);
    let answer = victim.receive();
    assert_eq!(answer.bodies(), ["k", "x", "k"], "what it fails at is delivered");
}

#[test]
fn a_module_that_is_late_again_and_again_is_left_alone_for_a_while() {
    let hands = Hands::default();
    let (server, host) = start_without_clock(&hands);
    let mut peer = server.connect(HeaderKind::Json);
    let bodies: Vec<&str> = (0..32).map(|n| if n % 2 == 0 { "x" } else { "d" }).collect();
    peer.send_all("t", &bodies);
    peer.done(&attach(Some("g"), None, &module(FOR_EVER)));
    let ticks = Ticks::of(&host);
    let (given, end) = peer.given("g", "t");
    drop(ticks);
    assert_eq!((given.iter().filter(|body| *body == "x").count(), end), (16, 32));
    let [kept, dropped, failed] = peer.counts();
    assert_eq!((kept, dropped + failed), (0, 32));
    assert!(failed >= 17, "{failed}: after the eighth nothing is judged any more");
    let trouble = peer.filters()[0].trouble.clone().unwrap();
    assert!(trouble.contains("left alone"), "{trouble}");
    // Nothing is run now, so it needs no time.
    peer.send_all("u", &["x", "d"]);
    assert_eq!(peer.given("g", "u"), (vec!["x".into(), "d".into()], 2));
    hands.pass(60_000);
    peer.handled_so_far();
    assert_eq!(peer.filters()[0].trouble, None, "a minute later it is tried again");
    peer.send_all("v", &["d", "k"]);
    assert_eq!(peer.given("g", "v"), (vec!["k".into()], 2));
}

#[test]
fn a_module_that_fails_at_every_message_blocks_nobody() {
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["x"; 1_100]);
    peer.done(&attach(Some("g"), None, &module("unreachable")));
    assert_eq!(peer.given("g", "t"), (vec!["x".to_owned(); 1_100], 1_100));
    assert_eq!(peer.counts(), [0, 0, 1_100]);
    assert!(peer.filters()[0].trouble.is_some());
    // Attached again it is another one.
    peer.done(&attach(Some("g"), None, &module("unreachable")));
    assert_eq!((peer.counts(), peer.filters()[0].trouble.clone()), ([0; 3], None));
}

#[test]
fn a_module_that_cannot_start_again_blocks_nobody() {
    // It traps, and the instance that is to take its place does not come up.
    let extra = r#"(global $starts (mut i32) (i32.const 0))"#;
    let text = filter_with("", extra, "(drop (memory.grow (i32.const 65000))) unreachable");
    let server = start_default();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["x", "k", "x"]);
    peer.done(&attach(Some("g"), None, &wat::parse_str(text).unwrap()));
    assert_eq!(peer.given("g", "t").0.len(), 3);
}

/// Name, module, and how often it fails at `k d x k d k`.
fn hostile_modules() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    macro_rules! hostile {
        ($($name:ident: $imports:expr, $extra:expr, $evil:expr => $verdicts:literal, $fault:literal;)*) => {
            vec![$((
                stringify!($name),
                wat::parse_str(filter_with($imports, $extra, $evil)).unwrap(),
                $verdicts,
            ),)*]
        };
    }
    let mut all = include!("../../../../../../wasm-filters/host/src/tests/hostile/cases.rs");
    let text = || filter_with("", "", "unreachable");
    let trail = r#"(global (export "mr_progress") i32 (i32.const 16))"#;
    let outside = text().replace(trail, &trail.replace("16))", "-2))"));
    let poison = filter_with(
        "",
        "(global $poisoned (mut i32) (i32.const 0))",
        "(global.set $poisoned (i32.const 1))",
    )
    .replace(
        "(local.set $first",
        "(if (global.get $poisoned) (then unreachable)) (local.set $first",
    );
    let sum = text().replace(
        "(call $judge_all (local.get $batch) (local.get $verdicts))",
        "(drop (call $judge_all (local.get $batch) (local.get $verdicts))) (i32.const 1000000)",
    );
    for (name, text, verdicts) in [
        ("a_trail_outside_of_memory", outside, "kdxkdk"),
        ("no_trail_at_all", text().replace(trail, ""), "kdxkdk"),
        ("a_poison_that_works_later", poison, "kdkkdk"),
        ("a_wrong_sum", sum, "xxxxxx"),
    ] {
        all.push((name, wat::parse_str(text).unwrap(), verdicts));
    }
    all
}

#[test]
fn hostile_modules_fail_alone_while_others_are_served() {
    let limits = FilterLimits { memory_bytes_max: 16 << 20, ..FilterLimits::default() };
    let server = start_with(&Hands::default(), &Arc::new(Host::new(limits)));
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["k", "d", "x", "k", "d", "k"]);
    peer.done(&attach(Some("good"), None, &begins('k')));
    let all = hostile_modules();
    assert!(all.len() >= 35, "{}", all.len());
    for (n, (name, module, _)) in all.iter().enumerate() {
        let answer = peer.call(&attach(Some(&format!("evil-{n}")), None, module));
        assert_eq!(answer.code(), ResponseCode::SUCCESS, "{name}: {}", answer.remark());
    }
    // All of them at once, each with a connection of its own, and again and again.
    let mut victims: Vec<Peer> = all.iter().map(|_| server.connect(HeaderKind::Json)).collect();
    let ask = |victims: &mut [Peer]| {
        for (n, victim) in victims.iter_mut().enumerate() {
            victim.ask(&pull_of(&format!("evil-{n}"), "t", 0));
        }
    };
    ask(&mut victims);
    let mut rounds = 0;
    let mut under_way: Vec<bool> = vec![true; all.len()];
    while under_way.contains(&true) {
        // A round of somebody who has no filter, and of somebody who has a good one.
        peer.send("other", b"y");
        rounds += 1;
        let pulled = peer.call(&pull_of("plain", "other", rounds - 1));
        assert_eq!(pulled.bodies(), ["y"]);
        assert_eq!(peer.given("good", "t").0, ["k", "k", "k"]);
        for (n, victim) in victims.iter_mut().enumerate() {
            under_way[n] = under_way[n] && !victim.has_frame();
        }
    }
    for ((name, _, verdicts), victim) in all.iter().zip(&mut victims) {
        let delivered: Vec<String> = ["k", "d", "x", "k", "d", "k"]
            .iter()
            .zip(verdicts.chars())
            .filter(|(_, verdict)| *verdict != 'd')
            .map(|(body, _)| (*body).to_owned())
            .collect();
        assert_eq!(victim.receive().bodies(), delivered, "{name}");
    }
    for filter in peer.filters() {
        let Some(n) = filter.group.as_deref().and_then(|group| group.strip_prefix("evil-")) else {
            continue;
        };
        let (name, _, verdicts) = all[n.parse::<usize>().unwrap()];
        let of = |letter| verdicts.chars().filter(|v| *v == letter).count() as u64;
        let told = (filter.kept, filter.dropped, filter.failed);
        assert_eq!(told, (of('k'), of('d'), of('x')), "{name}");
    }
}

#[test]
fn pulls_that_wait_for_a_slow_filter_are_bounded() {
    use crate::reactor::{AT_JUDGES_MAX, TO_JUDGE_MAX};
    let (server, host) = start_without_clock(&Hands::default());
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["x"]);
    peer.done(&attach(Some("g"), None, &module(FOR_EVER)));
    let pulls = AT_JUDGES_MAX + TO_JUDGE_MAX;
    for _ in 0..pulls {
        peer.ask(&pull_of("g", "t", 0));
    }
    let refused = peer.call(&pull_of("g", "t", 0));
    assert_eq!(refused.code(), ResponseCode::SYSTEM_BUSY);
    assert!(refused.remark().starts_with("[OVERLOAD]"), "{}", refused.remark());
    let _ticks = Ticks::of(&host);
    for _ in 0..pulls {
        assert_eq!(peer.receive().bodies(), ["x"]);
    }
}

#[test]
fn changes_of_filters_that_wait_are_bounded() {
    let (server, host) = start_without_clock(&Hands::default());
    let endless = format!("(func (export \"_initialize\") {FOR_EVER})");
    let endless = wat::parse_str(filter_with("", &endless, "")).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.ask(&attach(Some("g"), None, &endless));
    // The first one is under way once it is no longer among those that wait.
    peer.handled_so_far();
    for _ in 0..CHORES_MAX {
        peer.ask(&FilterRequest::Detach(place(Some("h"), None)));
    }
    let refused = peer.call(&FilterRequest::Detach(place(Some("h"), None)));
    assert!(refused.remark().starts_with("[OVERLOAD]"), "{}", refused.remark());
    assert_eq!(peer.filters(), [], "which filters there are can be told all the same");
    let _ticks = Ticks::of(&host);
    let late = peer.receive();
    assert_eq!(late.code(), ResponseCode::INVALID_PARAMETER);
    assert!(late.remark().contains("cannot be started"), "{}", late.remark());
    for _ in 0..CHORES_MAX {
        assert_eq!(peer.receive().code(), ResponseCode::QUERY_NOT_FOUND);
    }
}

#[test]
fn who_goes_away_is_not_judged_for() {
    let (server, host) = start_without_clock(&Hands::default());
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["x"]);
    peer.done(&attach(Some("g"), None, &module(FOR_EVER)));
    // First in the module's line, so that none of those behind it has begun when they are forgotten.
    peer.ask(&pull_of("g", "t", 0));
    peer.handled_so_far();
    let mut gone = server.connect(HeaderKind::Json);
    for _ in 0..5 {
        gone.ask(&pull_of("g", "t", 0));
    }
    gone.handled_so_far();
    drop(gone);
    becomes_true("the end of the connection", || server.load().connections == 1);
    let _ticks = Ticks::of(&host);
    assert_eq!(peer.receive().bodies(), ["x"]);
    assert_eq!(peer.given("g", "t").0, ["x"]);
    assert_eq!(peer.counts()[2], 2, "those that somebody waits for");
}
