//! The rules of the workspace that no compiler checks. Each names the file and the rule it breaks.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Lines of one file; past it a module has more than one reason to change.
const MAX_LINES: usize = 700;

/// What a crate may depend on inside the workspace: dependencies point inwards.
const MAY_USE: &[(&str, &[&str])] = &[
    ("subledger-domain", &[]),
    ("subledger-wechat", &[]),
    ("subledger-webhook", &[]),
    ("subledger-sandbox", &[]),
    ("subledger-store", &["subledger-domain"]),
    ("subledger-projection", &["subledger-domain", "subledger-store"]),
    ("subledger-audit", &["subledger-domain", "subledger-store", "subledger-projection"]),
    (
        "subledger-engine",
        &[
            "subledger-domain",
            "subledger-store",
            "subledger-projection",
            "subledger-wechat",
            "subledger-webhook",
        ],
    ),
    (
        "subledger-http",
        &[
            "subledger-domain",
            "subledger-store",
            "subledger-projection",
            "subledger-audit",
            "subledger-engine",
        ],
    ),
];

/// Crates the domain must never see: I/O, clocks, randomness, SQL, HTTP.
const NOT_IN_DOMAIN: &[&str] =
    &["tokio", "sqlx", "axum", "reqwest", "rand", "uuid", "jiff", "hyper", "tower"];

/// Words that begin SQL statements; only the store and the projections may hold them.
const SQL: &[&str] =
    &["\"select ", "\"insert into ", "\"update ", "\"delete from ", "r#\"select ", "r#\"insert into "];

/// Checks every rule; fails with all that is broken.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut broken = Vec::new();
    let sources = sources(root)?;
    for path in &sources {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        check_file(&name, &text, &mut broken);
    }
    check_dependencies(root, &mut broken)?;
    for (left, right) in [
        ("migrations/sqlite", "migrations/postgres"),
        ("crates/subledger-store/src/sqlite", "crates/subledger-store/src/postgres"),
        ("crates/subledger-projection/src/sqlite", "crates/subledger-projection/src/postgres"),
    ] {
        check_pair(root, left, right, &mut broken)?;
    }
    if broken.is_empty() {
        println!("tidy: {} files, nothing to say", sources.len());
        return Ok(());
    }
    for line in &broken {
        eprintln!("tidy: {line}");
    }
    bail!("{} tidy rules are broken", broken.len())
}

fn sources(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn check_file(name: &str, text: &str, broken: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > MAX_LINES {
        broken.push(format!("{name}: {lines} lines; at most {MAX_LINES}"));
    }
    if !text.trim_start().starts_with("//!") && !name.ends_with("/build.rs") {
        broken.push(format!("{name}: must open with //! and say what it is for"));
    }
    let in_tests = name.contains("/tests/") || name.starts_with("tests/") || name.contains("/benches/");
    if text.contains(concat!("#[", "ignore")) {
        broken.push(format!("{name}: a test that does not run proves nothing"));
    }
    let may_hold_sql = ["subledger-store", "subledger-projection", "subledger-bench", "xtask"]
        .iter()
        .any(|home| name.contains(home));
    if !may_hold_sql && !in_tests && SQL.iter().any(|word| text.to_lowercase().contains(word)) {
        broken.push(format!("{name}: SQL belongs to the store and the projections"));
    }
    if name.ends_with("/mod.rs") && !in_tests {
        broken.push(format!("{name}: use NAME.rs beside NAME/"));
    }
}

fn check_dependencies(root: &Path, broken: &mut Vec<String>) -> anyhow::Result<()> {
    for (name, allowed) in MAY_USE {
        let path = root.join("crates").join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if dependency.starts_with("subledger-") && !allowed.contains(&dependency) {
                broken.push(format!("{name} depends on {dependency}: dependencies point inwards"));
            }
            if *name == "subledger-domain" && NOT_IN_DOMAIN.contains(&dependency) {
                broken.push(format!("{name} depends on {dependency}: the domain is pure"));
            }
        }
    }
    Ok(())
}

/// Both folders hold files of the same names: a reader of one knows the other.
fn check_pair(root: &Path, left: &str, right: &str, broken: &mut Vec<String>) -> anyhow::Result<()> {
    let names = |folder: &str| -> anyhow::Result<BTreeSet<String>> {
        let entries = std::fs::read_dir(root.join(folder)).with_context(|| folder.to_owned())?;
        // A folder inside is what one database has alone, such as SQLite's file of read models.
        let mut found = BTreeSet::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                found.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    };
    let (in_left, in_right) = (names(left)?, names(right)?);
    for name in in_left.symmetric_difference(&in_right) {
        broken.push(format!("{left} and {right} must hold the same names; {name} is in one only"));
    }
    Ok(())
}
