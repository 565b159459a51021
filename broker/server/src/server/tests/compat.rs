use std::collections::BTreeMap;

use millrace_protocol::{RequestCode, ResponseCode};

use super::peer::Bare;
use super::*;

/// Code, name and the word in the third column of every row.
fn rows() -> BTreeMap<i32, (String, String)> {
    let document = include_str!("../../../../COMPAT.md");
    let mut rows = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let Ok(code) = cells[0].parse() {
            let row = (cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
            assert!(rows.insert(code, row).is_none(), "{code} has two rows");
        }
    }
    rows
}

#[test]
fn every_code_has_a_row_and_no_row_lies() {
    let rows = rows();
    for code in RequestCode::ALL {
        assert!(rows.contains_key(&code.0), "COMPAT.md has no row for {code}");
    }
    let server = start_default();
    for (&code, (name, support)) in &rows {
        assert_eq!(RequestCode(code).name(), Some(&**name), "{code}");
        // Broker and name server are one program: a code is known if one of them knows it.
        let mut peers = [server.connect(HeaderKind::Json), server.connect_namesrv()];
        let refused = peers
            .iter_mut()
            .all(|peer| peer.call(&Bare(code)).code() == ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
        let expected = match support.as_str() {
            "yes" | "partly" => false,
            "no" => true,
            other => panic!("the row of {code} says {other:?}"),
        };
        assert_eq!(refused, expected, "{code} {name} is said to be supported: {support}");
    }
}
