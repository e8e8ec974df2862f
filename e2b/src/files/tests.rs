use super::*;

#[test]
fn a_path_with_a_nul_is_refused_before_anything_is_sent() {
    assert!(check_path("a\0b").is_err());
    assert!(check_path("").is_err());
    assert!(check_path("../x").is_ok(), "what is allowed is the sandbox's own business");
}

#[test]
fn a_length_is_a_text_or_a_number() {
    let entry = |size: &str| {
        let text = format!(
            r#"{{"name":"a","path":"/a","type":"FILE_TYPE_FILE","size":{size},"mode":420}}"#
        );
        serde_json::from_str::<Entry>(&text).unwrap().size
    };
    assert_eq!((entry("\"12\""), entry("12")), (12, 12));
}
