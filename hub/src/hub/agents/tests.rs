use super::*;

#[test]
fn a_directory_stays_inside() {
    for inside in ["", "a", "a/b.c"] {
        check_directory(inside).unwrap();
    }
    for outside in ["/", "..", "a/../..", "/etc", "a\0"] {
        check_directory(outside).unwrap_err();
    }
}

#[test]
fn a_configuration_holds_no_secret_and_leads_nowhere() {
    let config = |field: &str| Map::from_iter([(field.to_owned(), Value::from("x"))]);
    check_config(&config("model")).unwrap();
    for field in ["anthropicApiKey", "env", "mcpServers", "cwd", "resume", "hooks", "authToken"] {
        check_config(&config(field)).unwrap_err();
    }
}
