//! The diagram of the layers is a test: every `crate::` path in `src/` must point down.

#![expect(clippy::unwrap_used, reason = "a test that fails should fail at once")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by level. Arrows point to a lower level; neighbours on one level do not know each other.
const LEVELS: &[&[&str]] = &[
    &["client", "clock", "config", "error", "sync", "types"],
    &["record", "serializer", "sys"],
    &["segment"],
    &["log"],
    &["topic"],
    &["group"],
    &["broker", "check"],
    &["producer", "consumer"],
    &["typed"],
    &["fuzzing", "manual", "simulation"],
];

/// Level 0 has its own order: what the left side may use of it.
const GROUND: &[(&str, &[&str])] = &[
    ("client", &["error", "sync", "types"]),
    ("clock", &["types"]),
    ("config", &["client", "error", "sync", "types"]),
    ("error", &["types"]),
    ("sync", &[]),
    ("types", &[]),
];

/// Modules that threads may be started in, and those that may ask the system for the time or hold `unsafe`.
const THREADS: &[&str] = &["broker/tasks.rs", "sys/sync_pool.rs"];
const UNSAFE: &[&str] = &["sys/mapping.rs", "sys/prefetch.rs", "sys/ring.rs", "sys/ticks.rs"];

#[test]
fn arrows_point_down() {
    let wrong: Vec<_> = sources().iter().flat_map(|(path, text)| wrong_arrows(path, text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_arrow_that_points_up_is_found() {
    for (path, line) in [
        ("record/batch.rs", "use crate::log::Log;"),
        ("record/batch.rs", "    let disk = crate::sys::RealDisk;"),
        ("producer/ack.rs", "use crate::consumer::Consumer;"),
        ("types.rs", "use crate::error::Error;"),
        ("config/topic.rs", "use crate::{error::Result, log::Log};"),
        ("log/read.rs", "use crate::Broker;"),
    ] {
        assert_eq!(wrong_arrows(Path::new(path), line).len(), 1, "{path}: {line}");
    }
    assert!(wrong_arrows(Path::new("log/read.rs"), "use crate::{error::Result, segment::End};").is_empty());
    assert!(
        wrong_arrows(Path::new("log/read.rs"), "/// See [`crate::Broker`].").is_empty(),
        "documentation may point up"
    );
}

#[test]
fn threads_start_in_two_files_and_unsafe_is_in_four() {
    for (path, text) in sources() {
        let code = without_tests(&text);
        let is_one_of = |files: &[&str]| files.iter().any(|file| path == Path::new(file));
        if !is_one_of(THREADS) {
            assert!(!code.contains("thread::spawn") && !code.contains("thread::Builder"), "{}", path.display());
        }
        let has_unsafe = code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {"));
        assert!(!has_unsafe || is_one_of(UNSAFE), "unsafe in {}", path.display());
    }
}

fn wrong_arrows(path: &Path, text: &str) -> Vec<String> {
    let Some(from) = module_of(path) else { return Vec::new() };
    let mut wrong = Vec::new();
    for line in without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//")) {
        for to in line.split("crate::").skip(1).flat_map(targets) {
            if to != from && !may_use(&from, &to) {
                wrong.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    wrong
}

/// The modules named behind one `crate::`, also in braces.
fn targets(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    match rest.strip_prefix('{') {
        Some(list) => list.split(',').map(name).filter(|name| !name.is_empty()).collect(),
        None => vec![name(rest)],
    }
}

fn may_use(from: &str, to: &str) -> bool {
    let level = |module: &str| LEVELS.iter().position(|level| level.contains(&module));
    match (level(from), level(to)) {
        (Some(0), Some(0)) => GROUND.iter().any(|(module, below)| *module == from && below.contains(&to)),
        (Some(from), Some(to)) => to < from,
        // Constants of the crate's root, which stand for a public name of a module below.
        _ => to == "MAX_PARTITIONS" && from == "error",
    }
}

/// `log` for `log/read.rs`, `types` for `types.rs`; the root may use everything.
fn module_of(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib").then(|| module.to_owned())
}

/// Tests may reach for whatever they need.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(root: &Path, dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_of_tests = path.file_stem().unwrap().to_str().unwrap().ends_with("_tests");
                let text = if is_of_tests { String::new() } else { fs::read_to_string(&path).unwrap() };
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 30, "the sources are somewhere else");
    let modules: Vec<_> = found.iter().filter_map(|(path, _)| module_of(path)).collect();
    for module in modules {
        assert!(LEVELS.concat().contains(&module.as_str()), "{module} has no level");
    }
    found
}
