mod shipped; // the files in `pipelines/`

fn no_env(_: &str) -> Option<String> {
    None
}
