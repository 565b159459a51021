//! Where records without a key lie.

use super::*;

/// Files of two lines each, under identities as files have them.
fn small_files(count: u64) -> Files {
    let mut rng = Rng::new(11);
    let file = |n| {
        let text = format!(r#"{{"n":{n},"kind":"a"}}"#);
        let identity = format!("h-{:08x}{:08x}", rng.below(1 << 32), rng.below(1 << 32));
        (identity, vec![Line { text: text.clone(), readable: true }, Line { text, readable: true }])
    };
    Files::new((1..=count).map(file).collect())
}

/// The queues of each file's messages.
fn queues_of_files(world: &World) -> BTreeMap<String, BTreeSet<u32>> {
    let mut queues: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (queue, _, properties, _) in world.broker.messages("t") {
        queues.entry(properties[crate::ingest::FILE_ID].clone()).or_default().insert(queue);
    }
    queues
}

#[tokio::test(start_paused = true)]
async fn small_files_lie_in_all_queues_and_keep_theirs_over_crashes() {
    let text = PIPELINE.replace("queues: 3", "queues: 4");
    let mut world = World::new(&text, small_files(40), 1, Chances::default(), 0);
    let mut rng = Rng::new(2);
    while world.broker.messages("t").len() < 70 {
        crash_after(world.run().finish(), 1 + rng.below(100)).await;
    }
    assert!(world.runs > 3, "{} runs", world.runs);
    world.run().finish().await.unwrap();

    let of_files = queues_of_files(&world);
    assert_eq!((of_files.len(), world.broker.messages("t").len()), (40, 80));
    assert!(of_files.values().all(|queues| queues.len() == 1), "{of_files:?}");
    let used: BTreeSet<u32> = of_files.into_values().flatten().collect();
    assert_eq!(used, BTreeSet::from([0, 1, 2, 3]));
}
