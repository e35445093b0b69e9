//! What concerns the whole deployment: database, schema, key, clocks, the way to WeChat.

use std::time::Duration;

use subledger_store::{DatabaseFacts, SchemaFound};
use subledger_wechat::{Reach, ReachFailure};

use super::{
    Check, Finding, Text,
    probes::{self, Reached},
    waits,
};
use crate::{Engine, EngineError};

/// A commit slower than this holds everything up.
const SLOW_SYNC: Duration = Duration::from_millis(100);
/// So does a question.
const SLOW_ANSWER: Duration = Duration::from_millis(200);
/// Less room than this is soon used up.
const LITTLE_ROOM: u64 = 1 << 30;
/// With less than this SQLite is about to refuse commits.
const NO_ROOM: u64 = 64 << 20;
/// A write-ahead log this long has readers in it that never end.
const LONG_WAL: u64 = 1 << 30;
/// Clocks this far apart confuse people; further apart, leases, tokens and push signatures.
const CLOCK_WARN_SECONDS: i64 = 5;
/// WeChat's pushes are refused when they are this old or early, and tokens expire unnoticed.
const CLOCK_FAIL_SECONDS: i64 = 60;
/// A way to WeChat slower than this eats into every send.
const SLOW_EGRESS: Duration = Duration::from_secs(2);

pub(super) async fn findings(engine: &Engine) -> Vec<Finding> {
    let store = engine.store();
    let reach = probes::reach(engine).await;
    let facts = store.facts().await;
    let schema = store.schema().await;
    let mut findings = Vec::new();
    match &facts {
        Ok(facts) => findings.push(database(facts)),
        Err(error) => findings.push(database_failed(&error.to_string())),
    }
    findings.push(match schema {
        Ok(schema) => migrations(&schema),
        Err(error) => Finding::unreadable(Check::Migrations, &EngineError::from(error)),
    });
    // A store is open: its key has opened the deployment's secret.
    findings.push(key_fits());
    findings.push(clock(facts.ok().and_then(|facts| facts.clock_ahead), &reach));
    findings.push(egress(&reach.reach));
    findings
}

pub(super) fn database(facts: &DatabaseFacts) -> Finding {
    let DatabaseFacts { product, version, answers_in, syncs_in, bytes, wal_bytes, free_bytes, .. } = facts;
    let answers = waits::millis(*answers_in);
    let sync = syncs_in.map(waits::millis);
    let size = waits::bytes(*bytes);
    let free = free_bytes.map(waits::bytes);
    let mut en = format!("{product} {version} answers in {answers}, holds {size}");
    let mut zh = format!("{product} {version}，应答 {answers}，占用 {size}");
    match &sync {
        Some(sync) => {
            en.push_str(&format!(", commits to disk in {sync}"));
            zh.push_str(&format!("，落盘 {sync}"));
        }
        None => {
            en.push_str(", time of a commit not measured");
            zh.push_str("，未测得落盘时间");
        }
    }
    if let Some(free) = &free {
        en.push_str(&format!(", {free} free"));
        zh.push_str(&format!("，剩余空间 {free}"));
    }
    let found = Text::new(en, zh);
    let room = free_bytes.unwrap_or(u64::MAX);
    if room < NO_ROOM {
        let advice = Text::new(
            "make room on the disk at once: when it is full, nothing more is recorded or sent",
            "请立即清理磁盘空间：写满后将无法记录和发送",
        );
        return Finding::fail(Check::Database, found, advice);
    }
    if room < LITTLE_ROOM {
        let advice = Text::new(
            "make room on the disk; `subledger admin retention --dry-run` says what is kept for how long",
            "请清理磁盘空间；`subledger admin retention --dry-run` 可查看各类数据的保留期",
        );
        return Finding::warn(Check::Database, found, advice);
    }
    if syncs_in.is_some_and(|sync| sync > SLOW_SYNC) || *answers_in > SLOW_ANSWER {
        let advice = Text::new(
            "every request waits for a commit: look at the disk's load, or move the database to a faster one",
            "每个请求都要等待落盘：请检查磁盘负载或更换更快的磁盘",
        );
        return Finding::warn(Check::Database, found, advice);
    }
    if wal_bytes.is_some_and(|wal| wal > LONG_WAL) {
        let advice = Text::new(
            "the write-ahead log grows: some process reads the file in one long transaction; end it",
            "预写日志过大：有进程长时间占用读事务，请结束它",
        );
        return Finding::warn(Check::Database, found, advice);
    }
    Finding::ok(Check::Database, found)
}

pub(super) fn database_failed(said: &str) -> Finding {
    let found = Text::new(format!("does not answer: {said}"), format!("无法访问：{said}"));
    let advice = Text::new(
        "start the database, or correct `database` in the settings (--database, SUBLEDGER_DATABASE)",
        "请启动数据库，或检查配置中的 `database`（--database、SUBLEDGER_DATABASE）",
    );
    Finding::fail(Check::Database, found, advice)
}

pub(super) fn migrations(schema: &SchemaFound) -> Finding {
    let newest = schema.newest;
    let list = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let Some(found) = schema.found else {
        let found = Text::new("the database holds no subledger", "数据库中没有 subledger 数据");
        let advice = Text::new(
            "is it the right database? `subledger migrate` makes the tables; so does starting the service",
            "请确认数据库地址；`subledger migrate` 或启动服务会建表",
        );
        return Finding::fail(Check::Migrations, found, advice);
    };
    if !schema.broken.is_empty() {
        let versions = list(&schema.broken);
        let found = Text::new(
            format!("migrations ended badly: {versions}"),
            format!("以下迁移未正常完成：{versions}"),
        );
        let advice = Text::new(
            "restore the backup made before the upgrade and run `subledger migrate` again; keep what it says",
            "请恢复升级前的备份后重新运行 `subledger migrate`，并保留其输出",
        );
        return Finding::fail(Check::Migrations, found, advice);
    }
    if !schema.missing.is_empty() {
        let versions = list(&schema.missing);
        let found = Text::new(
            format!("the schema has version {found}, this program {newest}; missing: {versions}"),
            format!("数据库结构版本 {found}，程序版本 {newest}；缺少：{versions}"),
        );
        let advice = Text::new(
            "run `subledger migrate`, or start the service with this version",
            "请运行 `subledger migrate`，或用此版本启动服务",
        );
        return Finding::fail(Check::Migrations, found, advice);
    }
    if !schema.unknown.is_empty() {
        let versions = list(&schema.unknown);
        let found = Text::new(
            format!("a newer program has changed the schema: {versions}"),
            format!("更新版本的程序已修改数据库结构：{versions}"),
        );
        let advice = Text::new("upgrade this program", "请升级本程序");
        return Finding::warn(Check::Migrations, found, advice);
    }
    Finding::ok(
        Check::Migrations,
        Text::new(format!("schema version {found}"), format!("数据库结构版本 {found}")),
    )
}

pub(super) fn key_fits() -> Finding {
    let found = Text::new("opens what is sealed", "可以解开已加密的数据");
    Finding::ok(Check::MasterKey, found)
}

/// `database`: the database's clock less this machine's, in microseconds.
pub(super) fn clock(database: Option<i64>, reached: &Reached) -> Finding {
    const SECOND: i64 = 1_000_000;
    let wechat = reached.ahead;
    let skews = [(database, "the database", "数据库"), (wechat, "WeChat", "微信")];
    let told = |zh: bool| {
        let parts: Vec<String> = skews
            .iter()
            .map(|(skew, en_name, zh_name)| {
                let name = if zh { zh_name } else { en_name };
                match (skew, zh) {
                    (Some(skew), false) => format!("{name} {:+.1} s", seconds(*skew)),
                    (Some(skew), true) => format!("{name} {:+.1} 秒", seconds(*skew)),
                    (None, false) => format!("{name} not compared"),
                    (None, true) => format!("{name}未比较"),
                }
            })
            .collect();
        parts.join(if zh { "，" } else { ", " })
    };
    let found =
        Text::new(format!("against this machine: {}", told(false)), format!("相对本机：{}", told(true)));
    let Some(worst) = skews.iter().filter_map(|(skew, ..)| skew.map(i64::abs)).max() else {
        return if reached.reach.answer.is_err() {
            Finding::skipped(Check::Clock, found)
        } else {
            Finding::ok(Check::Clock, found)
        };
    };
    let advice = || {
        Text::new(
            "have the machines' clocks set by NTP (chrony, systemd-timesyncd): tokens, push signatures and leases go by them",
            "请用 NTP（chrony、systemd-timesyncd）同步各机时钟：凭据有效期、推送签名和租约都依赖时钟",
        )
    };
    if worst >= CLOCK_FAIL_SECONDS * SECOND {
        return Finding::fail(Check::Clock, found, advice());
    }
    if worst >= CLOCK_WARN_SECONDS * SECOND {
        return Finding::warn(Check::Clock, found, advice());
    }
    Finding::ok(Check::Clock, found)
}

#[expect(clippy::cast_precision_loss, reason = "tenths of seconds are shown")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

pub(super) fn egress(reach: &Reach) -> Finding {
    let host = &reach.host;
    let addresses: Vec<String> = reach.addresses.iter().take(3).map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    let answered = match reach.answer {
        Err(failure) => {
            let found = Text::new(format!("{host}: {failure}"), format!("{host}：{}", failure_zh(failure)));
            return Finding::fail(Check::Egress, found, egress_advice(failure));
        }
        Ok(answered) => answered,
    };
    let connected = reach.connected_in.map_or_else(|| "?".to_owned(), waits::millis);
    let took = waits::millis(answered.took);
    if answered.code.is_none() {
        let found = Text::new(
            format!("{host} ({addresses}) answers with HTTP {} and not as WeChat does", answered.status),
            format!("{host}（{addresses}）返回 HTTP {}，不是微信的应答", answered.status),
        );
        let advice = Text::new(
            "something else answers in WeChat's place: a proxy, a captive portal, or a wrong `wechat.base_url`",
            "应答方不是微信：请检查代理、网络门户或 `wechat.base_url` 配置",
        );
        return Finding::fail(Check::Egress, found, advice);
    }
    let found = Text::new(
        format!("{host} ({addresses}) connects in {connected}, answers in {took}"),
        format!("{host}（{addresses}）连接 {connected}，应答 {took}"),
    );
    if answered.took > SLOW_EGRESS {
        let advice = Text::new(
            "every send waits so long, and past the time-out it is in doubt: look at the way to WeChat",
            "每次发送都会等待这么久，超时则变为待定：请检查到微信的网络",
        );
        return Finding::warn(Check::Egress, found, advice);
    }
    Finding::ok(Check::Egress, found)
}

const fn failure_zh(failure: ReachFailure) -> &'static str {
    match failure {
        ReachFailure::Dns => "域名无法解析",
        ReachFailure::Tcp => "无法建立连接",
        ReachFailure::Tls => "TLS 握手失败",
        ReachFailure::NoAnswer => "没有应答",
    }
}

fn egress_advice(failure: ReachFailure) -> Text {
    match failure {
        ReachFailure::Dns => Text::new(
            "look at the machine's DNS servers, and at `wechat.base_url`",
            "请检查本机 DNS 和 `wechat.base_url` 配置",
        ),
        ReachFailure::Tcp => Text::new(
            "let the machine connect out to this host and port: firewall, security group, route",
            "请放行本机到该主机和端口的出站连接：防火墙、安全组、路由",
        ),
        ReachFailure::Tls => Text::new(
            "a certificate is not trusted, or a proxy breaks TLS open: look at the machine's root certificates and clock",
            "证书不受信任，或有代理拦截 TLS：请检查本机根证书与时钟",
        ),
        ReachFailure::NoAnswer => Text::new(
            "a connection is made and then nothing comes: look at proxies and packet filters between here and WeChat",
            "连接已建立但没有应答：请检查中间的代理与包过滤",
        ),
    }
}

#[cfg(test)]
mod tests;
