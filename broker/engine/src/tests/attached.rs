use std::sync::Mutex;

use super::*;

/// Keeps bodies that begin with one letter, takes long, and notes how many records it saw at once.
#[derive(Debug)]
struct Begins(u8, Mutex<Vec<usize>>);

impl Verdicts for Begins {
    fn verdicts(&self, batch: &[record::Record<'_>], keep: &mut [bool]) {
        self.1.lock().unwrap().push(keep.iter().filter(|keep| **keep).count());
        for (record, keep) in batch.iter().zip(keep) {
            *keep &= record.body().first() == Some(&self.0);
        }
    }

    fn takes_long(&self) -> bool {
        true
    }
}

fn begins(letter: u8) -> Arc<Begins> {
    Arc::new(Begins(letter, Mutex::default()))
}

fn narrowed(wanted: Filter, kept_by: &[&Arc<Begins>]) -> Filter {
    let kept_by = kept_by.iter().map(|begins| Arc::clone(begins) as Arc<dyn Verdicts>);
    Filter::Narrowed(Box::new(wanted), kept_by.collect())
}

fn found(answer: Option<Answer>) -> Found {
    match answer {
        Some(Answer::Found(found)) => found,
        other => panic!("{other:?}"),
    }
}

impl Rig {
    /// Does what a shell does with what was found; the bodies, and where the next pull begins.
    fn decide(&self, found: &Found) -> (Vec<String>, u64) {
        let mut next = found.plan.from;
        for (at, entries) in found.stretches() {
            let runs = self.engine.reader().read(entries).unwrap();
            let kept = finish(&found.verdicts, runs);
            next = found.plan.from + (at + entries.len()) as u64;
            if !kept.is_empty() {
                let body = |run: &bytes::Bytes| {
                    let record = record::Record::parse(run).unwrap();
                    String::from_utf8(record.body().to_vec()).unwrap()
                };
                return (kept.iter().map(body).collect(), next.0);
            }
        }
        (Vec::new(), next.0)
    }
}

#[test]
fn what_is_attached_and_what_is_subscribed_to_both_have_to_keep_a_message() {
    let mut rig = Rig::new(ASYNC);
    for (body, tag) in [("a1", "x"), ("b2", "x"), ("a3", "y"), ("a4", "x")] {
        rig.send("orders", 0, body.as_bytes(), tag);
    }
    let a = begins(b'a');
    let pulled = found(rig.pull(0, 0, narrowed(Filter::tags("x"), &[&a]), 0));
    assert_eq!(rig.decide(&pulled), (vec!["a1".to_owned(), "a4".to_owned()], 4));
    assert_eq!(*a.1.lock().unwrap(), [3], "a message with another tag is not looked at");
    let none = found(rig.pull(0, 0, narrowed(Filter::All, &[&a, &begins(b'b')]), 0));
    assert_eq!(rig.decide(&none), (vec![], 4));
    let counted = begins(b'b');
    let condition = narrowed(Filter::All, &[&a]);
    let both = Filter::Narrowed(Box::new(condition), Arc::new([Arc::clone(&counted) as _]));
    let pulled = found(rig.pull(0, 0, both, 0));
    assert_eq!(rig.decide(&pulled), (vec![], 4));
    assert_eq!(*counted.1.lock().unwrap(), [3], "what the first one dropped is not looked at");
}

#[test]
fn one_pull_goes_through_many_messages_and_judges_none_of_them_in_vain() {
    let mut rig = Rig::new(ASYNC);
    for n in 0..300 {
        let body = if n < 200 { "b" } else { "a" };
        rig.send("orders", 0, body.as_bytes(), "x");
    }
    let a = begins(b'a');
    let pulled = found(rig.pull(0, 0, narrowed(Filter::All, &[&a]), 0));
    assert_eq!(pulled.plan.entries.len(), 300);
    let (bodies, next) = rig.decide(&pulled);
    // 32 at once, so the seventh part has the first that are kept.
    assert_eq!((bodies.len(), next), (24, 224));
    assert_eq!(*a.1.lock().unwrap(), [32; 7]);
    let large = Found { bytes_max: 1, ..pulled };
    assert!(large.stretches().all(|(_, entries)| entries.len() == 1), "one at least, and one only");
}

#[test]
fn a_waiting_pull_goes_on_waiting_until_a_message_is_kept() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"b", "x");
    let filter = || narrowed(Filter::All, &[&begins(b'a')]);
    let first = found(rig.pull(0, 0, filter(), 10_000));
    assert!(first.held.is_none(), "the client is told at once where to go on");
    assert!(rig.pull(0, 1, filter(), 10_000).is_none(), "held");
    let mut next = 1;
    for body in [&b"b"[..], b"b", b"a"] {
        let (_, out) = rig.ask(Request::Append(append(&[message("orders", 0, body, b"")])));
        let mut woken = rig.finish_burst(out);
        woken.retain(|(_, answer)| matches!(answer, Answer::Found(_)));
        let pulled = found(woken.pop().map(|(_, answer)| answer));
        let (bodies, decided) = rig.decide(&pulled);
        next += 1;
        assert_eq!(decided, next);
        let held = pulled.held.unwrap();
        assert_eq!(held.until_ms(), rig.now.mono_ms + 10_000);
        if bodies.is_empty() {
            let mut out = Out::default();
            rig.engine.wait_on(rig.now, Ticket(77), held, QueueOffset(next), &mut out);
            assert!(out.answers.is_empty() && rig.engine.held_pulls() == 1);
        } else {
            assert_eq!((bodies, rig.engine.held_pulls()), (vec!["a".to_owned()], 0));
        }
    }
}

#[test]
fn a_message_that_comes_while_others_are_decided_over_is_not_missed() {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"b", "x");
    assert!(rig.pull(0, 1, narrowed(Filter::All, &[&begins(b'a')]), 10_000).is_none());
    let (_, out) = rig.ask(Request::Append(append(&[message("orders", 0, b"b", b"")])));
    let woken = rig.finish_burst(out).into_iter().map(|(_, answer)| answer);
    let pulled = found(woken.filter(|answer| matches!(answer, Answer::Found(_))).last());
    rig.send("orders", 0, b"a", "x");
    let mut out = Out::default();
    let held = pulled.held.clone().unwrap();
    rig.engine.wait_on(rig.now, Ticket(77), held, pulled.next, &mut out);
    let (ticket, answer) = out.answers.pop().unwrap();
    assert_eq!(ticket, Ticket(77));
    assert_eq!(rig.decide(&found(Some(answer))).0, ["a"]);
    // Its time is over by then: it is told where it is.
    rig.pass(10_000);
    let mut out = Out::default();
    rig.engine.wait_on(rig.now, Ticket(78), pulled.held.unwrap(), QueueOffset(3), &mut out);
    let status = out.answers.pop().map(|(_, answer)| answer);
    assert!(
        matches!(status, Some(Answer::NotFound { status: PullStatus::AtEnd, next, .. }) if next.0 == 3),
        "{status:?}"
    );
}

/// What a pull with a filter is told that is decided over while `change` happens.
fn told_after(change: impl FnOnce(&mut Rig)) -> Option<Answer> {
    let mut rig = Rig::new(ASYNC);
    rig.send("orders", 0, b"b", "x");
    let filter = narrowed(Filter::All, &[&begins(b'a')]);
    let waits = Pull { asker: Some(Asker(5)), ..pull(0, 1, filter, 10_000) };
    assert!(rig.call(Request::Pull(waits)).is_none());
    let (_, out) = rig.ask(Request::Append(append(&[message("orders", 0, b"b", b"")])));
    let woken = rig.finish_burst(out).into_iter().map(|(_, answer)| answer);
    let pulled = found(woken.filter(|answer| matches!(answer, Answer::Found(_))).last());
    change(&mut rig);
    let mut out = Out::default();
    rig.engine.wait_on(rig.now, Ticket(77), pulled.held.unwrap(), pulled.next, &mut out);
    out.answers.pop().map(|(_, answer)| answer)
}

#[test]
fn a_pull_that_is_decided_over_while_something_changes_is_asked_again() {
    let asks_again = |told: Option<Answer>, from| {
        let again = PullStatus::NoneMatched;
        assert!(
            matches!(told, Some(Answer::NotFound { status, next, .. }) if status == again && next.0 == from),
            "{told:?}"
        );
    };
    assert!(told_after(|_| {}).is_none(), "it waits on");
    let resubscribed = told_after(|rig| {
        let mut out = Out::default();
        rig.engine.ask_again(|asker| asker == Asker(5), &mut out);
        assert!(out.answers.is_empty(), "none waits here");
    });
    asks_again(resubscribed, 1);
    let closed = told_after(|rig| {
        let permission = Permission { read: false, write: true };
        let topic = topic("orders");
        let [read_queues, write_queues] = [4; 2];
        let set = Request::SetTopic {
            topic: &topic,
            read_queues,
            write_queues,
            permission,
            order: false,
        };
        assert!(matches!(rig.call(set), Some(Answer::Topic(_))));
    });
    asks_again(closed, 1);
    // There is nothing left to ask for.
    asks_again(told_after(|rig| drop(rig.call(Request::DeleteTopic { topic: "orders" }))), 2);
}
