use millrace_connect_api::Standing;
use proptest::prelude::*;

use super::*;

fn options() -> GenerateOptions {
    let field = |name: &str, kind| (name.to_owned(), kind);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    GenerateOptions {
        count: 10_000,
        seed: 4711,
        fields: vec![
            field("id", FieldGen::Sequence { start: 1 }),
            field("region", FieldGen::Choice(texts(&["eu", "us", "a \"quoted\" one"]))),
            field("quantity", FieldGen::Int { min: 1, max: 20 }),
            field("amount", FieldGen::Double { min: -5.0, max: 999.99, decimals: 2 }),
            field("at", FieldGen::Time { start_us: 1_767_225_600_000_000, step_us: 1_500 }),
            field("note", FieldGen::Text { words: 4 }),
            field("key", FieldGen::Uuid),
            field("customer", FieldGen::Zipf { n: 1000, s: 1.1 }),
        ],
        corrupt_at: vec![7, 5000],
        chunk_records: 333,
    }
}

/// Everything from a cursor on: number, next number and bytes of each record.
fn all(options: GenerateOptions, resume: &[SourceCursor]) -> Vec<(u64, u64, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut source = GenerateSource::open(options, resume.to_vec()).unwrap();
        let mut records = Vec::new();
        loop {
            match source.poll().await.unwrap() {
                Polled::Chunk(chunk) => records.extend(chunk.records.iter().map(|span| {
                    assert_eq!(span.position.offset, span.position.line);
                    let body = &chunk.data[span.at as usize..][..span.len as usize];
                    (span.position.offset, span.next.offset, body.to_vec())
                })),
                Polled::End => return records,
                polled => panic!("{polled:?}"),
            }
        }
    })
}

/// If this fails because records are meant to change, users' golden files change too: say so in
/// the change log.
#[test]
fn records_are_the_same_for_ever() {
    let mut checksum = Checksum::new();
    let records = all(options(), &[]);
    for (_, _, body) in &records {
        checksum.add(body);
    }
    assert_eq!(
        std::str::from_utf8(&records[0].2).unwrap(),
        concat!(
            r#"{"id":1,"region":"us","quantity":20,"amount":347.77,"#,
            r#""at":"2026-01-01T00:00:00.000000Z","note":"wheel dawn flour flint","#,
            r#""key":"fa0c43a6-5eff-4177-b9c5-39c1590f9769","customer":97}"#,
        )
    );
    assert_eq!(checksum.value(), 6_028_306_938_732_407_112);
}

#[test]
fn records_are_json_with_the_fields_in_order() {
    for (number, next, body) in all(options(), &[]) {
        assert_eq!(next, number + 1);
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        if [7, 5000].contains(&number) {
            assert!(parsed.is_err(), "{number}");
            continue;
        }
        let record = parsed.unwrap();
        assert_eq!(record["id"], number + 1);
        let amount = record["amount"].as_f64().unwrap();
        assert!((-5.0..=999.99).contains(&amount), "{amount}");
        assert!((1..=20).contains(&record["quantity"].as_i64().unwrap()));
        assert!((1..=1000).contains(&record["customer"].as_i64().unwrap()));
        assert_eq!(record["note"].as_str().unwrap().split(' ').count(), 4);
        assert_eq!(record["at"].as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
        let key = record["key"].as_str().unwrap();
        assert_eq!((key.len(), &key[14..15]), (36, "4"));
        assert!("89ab".contains(&key[19..20]), "{key}");
        let text = String::from_utf8(body).unwrap();
        let names = ["id", "region", "quantity", "amount", "at", "note", "key", "customer"];
        let places: Vec<_> =
            names.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }
}

#[test]
fn small_ranks_are_more_likely() {
    let mut counts = [0; 4];
    let fields = vec![("rank".to_owned(), FieldGen::Zipf { n: 3, s: 1.0 })];
    for (_, _, body) in all(GenerateOptions { count: 11_000, fields, ..Default::default() }, &[]) {
        let record: serde_json::Value = serde_json::from_slice(&body).unwrap();
        counts[record["rank"].as_u64().unwrap() as usize] += 1;
    }
    // One, a half and a third of 6000.
    assert!((5_800..6_200).contains(&counts[1]), "{counts:?}");
    assert!((2_850..3_150).contains(&counts[2]), "{counts:?}");
    assert!((1_900..2_100).contains(&counts[3]), "{counts:?}");
}

#[test]
fn other_options_have_another_name() {
    let name = |options: GenerateOptions| {
        GenerateSource::open(options, Vec::new()).unwrap().origin.identity.clone()
    };
    let plain = name(options());
    assert_eq!(plain.len(), "generate-".len() + 16);
    assert_ne!(plain, name(GenerateOptions { seed: 1, ..options() }));
    assert_ne!(plain, name(GenerateOptions { corrupt_at: vec![], ..options() }));
    let mut fields = options().fields;
    fields.swap(0, 1);
    assert_ne!(plain, name(GenerateOptions { fields, ..options() }));
    assert_eq!(plain, name(GenerateOptions { count: 1, chunk_records: 1, ..options() }));
}

#[test]
fn odd_options_still_give_json() {
    let fields = vec![
        ("".to_owned(), FieldGen::Choice(vec![])),
        ("int".to_owned(), FieldGen::Int { min: i64::MIN, max: i64::MAX }),
        ("back".to_owned(), FieldGen::Int { min: 3, max: 2 }),
        ("huge".to_owned(), FieldGen::Double { min: f64::MIN, max: f64::MAX, decimals: 99 }),
        ("nan".to_owned(), FieldGen::Double { min: f64::NAN, max: f64::NAN, decimals: 3 }),
        ("zipf".to_owned(), FieldGen::Zipf { n: 0, s: f64::NAN }),
        ("text".to_owned(), FieldGen::Text { words: 0 }),
        ("time".to_owned(), FieldGen::Time { start_us: i64::MAX, step_us: i64::MAX }),
        ("sequence".to_owned(), FieldGen::Sequence { start: i64::MAX }),
    ];
    for (_, _, body) in all(GenerateOptions { count: 100, fields, ..Default::default() }, &[]) {
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
    assert_eq!(all(GenerateOptions { count: 1, ..Default::default() }, &[])[0].2, b"{}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn going_on_anywhere_gives_exactly_the_rest(
        from in 0_u64..2100, count in 0_u64..2000, chunk_records in 0_usize..500,
    ) {
        let options = GenerateOptions { count, chunk_records, ..options() };
        let whole = all(GenerateOptions { count: 2000, ..self::options() }, &[]);
        let identity = GenerateSource::open(options.clone(), Vec::new()).unwrap().origin.identity.clone();
        let cursor = |identity, position| SourceCursor {
            identity,
            path: String::new(),
            position,
            standing: Standing::Open,
        };
        let other = cursor("generate-0".into(), place(1 << 40));
        let cursor = cursor(identity, place(from));
        let rest = all(options, &[other, cursor]);
        prop_assert_eq!(&rest[..], &whole[from.min(count) as usize..count as usize]);
    }
}
