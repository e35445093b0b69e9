//! A database of one test: an SQLite file in a folder of its own, or a fresh PostgreSQL database.

use std::process::Command;

use tempfile::TempDir;

use super::Server;

/// The master key of every test database.
pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct Database {
    pub url: String,
    pub folder: TempDir,
    admin: Option<(String, String)>,
}

impl Database {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("e2e.db").display());
        Self { url, folder, admin: None }
    }

    /// A fresh database on the server of `SUBLEDGER_TEST_POSTGRES`; none, loudly, where that is not set.
    pub fn postgres(test: &str) -> Option<Self> {
        let Ok(admin) = std::env::var("SUBLEDGER_TEST_POSTGRES") else {
            let required = std::env::var("SUBLEDGER_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "SUBLEDGER_TEST_POSTGRES is not set and PostgreSQL is required");
            eprintln!("SKIPPED: {test} on PostgreSQL: SUBLEDGER_TEST_POSTGRES is not set");
            return None;
        };
        Some(Self::made_by(admin))
    }

    /// A fresh database on a server of the test's own.
    pub fn on(server: &Server) -> Self {
        Self::made_by(server.url.clone())
    }

    fn made_by(admin: String) -> Self {
        let name = format!("e2e_{}", uuid::Uuid::new_v4().simple());
        psql(&admin, &format!("create database {name}"));
        let (server, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        Self { url, folder: tempfile::tempdir().unwrap(), admin: Some((admin, name)) }
    }

    pub fn is_postgres(&self) -> bool {
        self.admin.is_some()
    }

    /// Runs a statement behind everybody's back. PostgreSQL only.
    pub fn tamper(&self, statement: &str) {
        psql(&self.url, statement);
    }

    /// Everything in it, byte for byte: the files of SQLite, the rows of all tables of PostgreSQL. By file or table.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        if self.is_postgres() {
            let tables = asked(
                &self.url,
                "select format('%I.%I', table_schema, table_name) from information_schema.tables
                 where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
            );
            let tables = String::from_utf8(tables).unwrap();
            let rows = |table: &str| {
                // What the server knows of its contents besides, too: statistics hold samples.
                (table.to_owned(), asked(&self.url, &format!("copy (select * from {table}) to stdout")))
            };
            let statistics = "copy (select * from pg_stats) to stdout";
            let mut contents: Vec<_> = tables.lines().map(rows).collect();
            contents.push(("pg_stats".to_owned(), asked(&self.url, statistics)));
            return contents;
        }
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("e2e"));
        files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
    }

    /// Cuts every connection to this database, as a restart of the server would. PostgreSQL only.
    pub fn cut_connections(&self) {
        if let Some((admin, name)) = &self.admin {
            psql(
                admin,
                &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
            );
        }
    }

    /// Lets nobody connect, or lets them again. PostgreSQL only.
    pub fn allow_connections(&self, allow: bool) {
        if let Some((admin, name)) = &self.admin {
            psql(admin, &format!("alter database {name} with allow_connections {allow}"));
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((admin, name)) = &self.admin {
            psql(admin, &format!("drop database if exists {name} with (force)"));
        }
    }
}

fn asked(url: &str, question: &str) -> Vec<u8> {
    let output = Command::new("psql").args([url, "-v", "ON_ERROR_STOP=1", "-qAt", "-c", question]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{question}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn psql(admin: &str, statement: &str) {
    let output = Command::new("psql").args([admin, "-v", "ON_ERROR_STOP=1", "-q", "-c", statement]).output();
    let output = output.expect("psql, which comes with PostgreSQL, must be on the path");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
}
