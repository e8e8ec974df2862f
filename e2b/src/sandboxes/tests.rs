use percent_encoding::percent_decode_str;

use super::*;

#[test]
fn marks_survive_being_decoded_twice() {
    let marks = BTreeMap::from([("a b".to_owned(), "x=&y%".to_owned())]);
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let once = decode(&metadata_query(&marks));
    let (name, value) = once.split_once('=').unwrap();
    assert_eq!((decode(name), decode(value)), ("a b".into(), "x=&y%".into()));
}

#[test]
fn time_is_read_with_either_name_for_utc() {
    let read = |text: &str| timestamp(serde_json::Value::from(text)).unwrap();
    assert_eq!(read("2026-08-22T04:23:05.5Z"), read("2026-08-22T04:23:05.5+00:00"));
}
