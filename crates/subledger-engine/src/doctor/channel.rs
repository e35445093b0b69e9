//! What concerns one channel.

use std::time::Duration;

use subledger_domain::{ChannelCode, LogName, StreamName, channel::Channel};
use subledger_projection::Lag;
use subledger_store::Claimable;

use super::{Check, Finding, Reach, Text, waits, wechat};
use crate::{
    Engine, EngineError,
    intake::Hint,
    quota::{Forecast, Quota},
};

/// A template list older than this may miss what was changed at WeChat.
const OLD_TEMPLATES: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Doubts should be looked at within a day.
const OLD_DOUBT_SECONDS: i64 = 24 * 3_600;
/// Doubts counted at most.
const DOUBTS: u32 = 1_000;
/// A read model this far behind shows old answers.
const SLOW_MODEL: Duration = Duration::from_secs(60);
/// One this far behind stands still.
const STUCK_MODEL: Duration = Duration::from_secs(600);
/// A relay this far behind has something in the way.
const SLOW_RELAY: Duration = Duration::from_secs(600);

/// Every check of a channel.
pub(super) async fn findings(
    engine: &Engine,
    code: &ChannelCode,
    lags: &Result<Vec<Lag>, EngineError>,
    reach: Reach,
) -> Vec<Finding> {
    let log = LogName::channel(code);
    let loaded = engine.store().load::<Channel>(&log, &StreamName::channel()).await;
    let channel = match loaded {
        Ok((channel, _)) => channel,
        Err(error) => {
            let finding = Finding::unreadable(Check::Sending, &EngineError::from(error));
            return vec![finding.of(&log)];
        }
    };
    let Some(registered) = channel.registered() else { return Vec::new() };
    let quota = engine.quota(code).await;
    let mut found = vec![read_models(engine, &log, lags)];
    found.push(settled(Check::Sending, sending(engine, &log, &channel).await));
    found.extend(wechat::findings(engine, &log, registered, reach).await);
    found.push(settled(Check::Templates, templates(engine, code).await));
    found.push(settled(Check::Quota, quota.map(|quota| self::quota(&quota))));
    found.push(settled(Check::Pushes, pushes(engine, code).await));
    found.push(settled(Check::Relay, relay(engine, code).await));
    found.push(settled(Check::Doubts, doubts(engine, &log, &channel).await));
    found.into_iter().map(|finding| finding.of(&log)).collect()
}

/// The read models of the log `main`.
pub(super) fn of_main(engine: &Engine, lags: &Result<Vec<Lag>, EngineError>) -> Finding {
    let main = LogName::main();
    read_models(engine, &main, lags).of(&main)
}

fn settled(check: Check, found: Result<Finding, EngineError>) -> Finding {
    found.unwrap_or_else(|error| Finding::unreadable(check, &error))
}

/// How the read models of a log do; `lags`: of all logs.
fn read_models(engine: &Engine, log: &LogName, lags: &Result<Vec<Lag>, EngineError>) -> Finding {
    let lags = match lags {
        Ok(lags) => lags,
        Err(error) => return Finding::unreadable(Check::ReadModels, error),
    };
    let of_log: Vec<&Lag> = lags.iter().filter(|lag| lag.log == *log).collect();
    if of_log.is_empty() {
        let why =
            Text::new("none has begun: nothing follows this log yet", "尚未建立：还没有读模型跟随该日志");
        return Finding::skipped(Check::ReadModels, why);
    }
    let now = engine.now();
    let paused: Vec<String> = of_log
        .iter()
        .filter_map(|lag| lag.paused.as_ref().map(|pause| format!("{} ({})", lag.projection, pause.position)))
        .collect();
    if !paused.is_empty() {
        let which = paused.join(", ");
        let found = Text::new(
            format!("stopped at an event they cannot apply: {which}"),
            format!("遇到无法处理的事件而停止：{which}"),
        );
        let advice = Text::new(
            "`subledger projections status` says why: upgrade if a newer version wrote the event, else keep what it says and run \
             `subledger projections rebuild`",
            "`subledger projections status` 会说明原因：若事件由更新版本写入请升级，否则保留其输出并运行 `subledger projections rebuild`",
        );
        return Finding::fail(Check::ReadModels, found, advice);
    }
    let slowest = of_log.iter().filter_map(|lag| Some((lag.age(now)?, lag.projection))).max();
    let Some((age, projection)) = slowest.filter(|(age, _)| *age > SLOW_MODEL) else {
        let found =
            Text::new(format!("{} follow the log", of_log.len()), format!("{} 个均已跟上", of_log.len()));
        return Finding::ok(Check::ReadModels, found);
    };
    let length = waits::length(age);
    let found = Text::new(
        format!("{projection} is {} behind", length.en),
        format!("{projection} 落后 {}", length.zh),
    );
    let advice = Text::new(
        "is the service running? If it is, the database does not keep up: see the check `database`",
        "服务是否在运行？若在运行，则数据库跟不上：请查看 database 一项",
    );
    if age > STUCK_MODEL {
        Finding::fail(Check::ReadModels, found, advice)
    } else {
        Finding::warn(Check::ReadModels, found, advice)
    }
}

async fn sending(engine: &Engine, log: &LogName, channel: &Channel) -> Result<Finding, EngineError> {
    let now = engine.now();
    let held = channel.bulk_held(now);
    let of = if held.is_some() { Claimable::Singles } else { Claimable::All };
    let stats = engine.store().queue_stats(log, of).await?;
    let waiting = stats.queued;
    if channel.is_paused() {
        let found = Text::new(
            format!("paused by an operator; {waiting} deliveries wait"),
            format!("已被暂停；{waiting} 个投递在等待"),
        );
        let advice = Text::new(
            "`subledger channel resume` goes on sending; what waits ends at its `expires_at`",
            "`subledger channel resume` 可恢复发送；等待中的投递到期后作废",
        );
        return Ok(Finding::warn(Check::Sending, found, advice));
    }
    let age = stats.oldest_due_at.map(|due| waits::between(due, now)).unwrap_or_default();
    if age > engine.settings().max_undone_age {
        let length = waits::length(age);
        let found = Text::new(
            format!("the oldest due delivery has waited {}; {waiting} wait", length.en),
            format!("最早应发的投递已等待 {}；共 {waiting} 个", length.zh),
        );
        let advice = Text::new(
            "is a node running? If it is, the checks `token`, `egress` and `quota` say what it waits for",
            "是否有节点在运行？若有，请查看 token、egress、quota 各项",
        );
        return Ok(Finding::fail(Check::Sending, found, advice));
    }
    let found = Text::new(
        format!("{waiting} deliveries wait, {} are under way", stats.claimed + stats.started),
        format!("{waiting} 个投递等待中，{} 个进行中", stats.claimed + stats.started),
    );
    Ok(Finding::ok(Check::Sending, found))
}

async fn templates(engine: &Engine, code: &ChannelCode) -> Result<Finding, EngineError> {
    let Some(row) = engine.queries().channel(code).await?.value else {
        let why = Text::new("the read model has not begun", "读模型尚未建立");
        return Ok(Finding::skipped(Check::Templates, why));
    };
    let refresh = || {
        Text::new(
            format!("`subledger channel refresh {code}` reads the list from WeChat"),
            format!("`subledger channel refresh {code}` 可重新读取模板列表"),
        )
    };
    let Some(refreshed) = row.templates_refreshed_at else {
        let found = Text::new("the list was never read", "从未读取模板列表");
        return Ok(Finding::fail(Check::Templates, found, refresh()));
    };
    let age = waits::between(refreshed, engine.now());
    let length = waits::length(age);
    let found = Text::new(
        format!("{} listed {} ago, {} vanished", row.templates_listed, length.en, row.templates_vanished),
        format!("{} 个，{}前读取，{} 个已消失", row.templates_listed, length.zh, row.templates_vanished),
    );
    if row.templates_listed == 0 {
        let advice = Text::new(
            "choose templates in WeChat's console (订阅消息 → 我的模板), then refresh the list",
            "请在小程序后台“订阅消息 → 我的模板”中选用模板，然后刷新列表",
        );
        return Ok(Finding::fail(Check::Templates, found, advice));
    }
    if age > OLD_TEMPLATES {
        return Ok(Finding::warn(Check::Templates, found, refresh()));
    }
    if row.templates_vanished > 0 {
        let advice = Text::new(
            "grants of a vanished template cannot be used any more; add the template again, or stop asking for it",
            "消失的模板无法再发送，其授权作废；请重新添加模板，或停止申请其授权",
        );
        return Ok(Finding::warn(Check::Templates, found, advice));
    }
    Ok(Finding::ok(Check::Templates, found))
}

pub(super) fn quota(quota: &Quota) -> Finding {
    let resets = waits::moment(quota.resets_at);
    let Some(figures) = quota.figures else {
        return match &quota.failure {
            Some(failure) if failure.word != "not_asked" => {
                let code = failure.errcode.map_or_else(|| failure.word.clone(), |code| code.to_string());
                let found = Text::new(
                    format!("WeChat did not tell: {code}, {} times in a row", failure.failures),
                    format!("微信未返回额度：{code}，连续 {} 次", failure.failures),
                );
                let advice =
                    Text::new("see what the checks `egress` and `token` say", "请查看 egress、token 两项");
                Finding::warn(Check::Quota, found, advice)
            }
            _ => Finding::skipped(Check::Quota, Text::new("WeChat has not been asked yet", "尚未查询")),
        };
    };
    let (left, limit) = (figures.remaining, figures.limit);
    let found = Text::new(
        format!("{left} of {limit} left until {resets} (as of {})", waits::moment(figures.read_at)),
        format!("剩余 {left} / {limit}，{resets} 恢复（{} 查询）", waits::moment(figures.read_at)),
    );
    let with =
        |en: String, zh: String| Text::new(format!("{}; {en}", found.en), format!("{}；{zh}", found.zh));
    let clear = "`subledger channel clear-quota` has WeChat set the counts back, ten times a month";
    let clear_zh = "`subledger channel clear-quota` 可请微信清零，每月十次";
    if left == 0 {
        let advice = Text::new(
            format!("nothing can be sent until then; {clear}"),
            format!("在此之前无法发送；{clear_zh}"),
        );
        return Finding::fail(Check::Quota, found, advice);
    }
    if let Some(held) = &quota.held {
        let found = with(
            format!(
                "bulk is held until {}, {} deliveries wait",
                waits::moment(held.until),
                quota.bulk_waiting
            ),
            format!("群发暂缓至 {}，{} 个投递等待", waits::moment(held.until), quota.bulk_waiting),
        );
        let advice = Text::new(
            format!("single sends go on; the policy `bulk_reserve` says how much is kept for them. {clear}"),
            format!("单发不受影响；策略 `bulk_reserve` 决定预留比例。{clear_zh}"),
        );
        return Finding::warn(Check::Quota, found, advice);
    }
    if let Forecast::UsedUp(at, rate) = quota.forecast {
        let found = with(
            format!("at {rate:.0} an hour used up at {}", waits::moment(at)),
            format!("按每小时 {rate:.0} 次，{} 用完", waits::moment(at)),
        );
        let advice = Text::new(
            "send less, or put off what can wait until midnight in China",
            "请减少发送，或将不急的推迟到北京时间零点之后",
        );
        return Finding::warn(Check::Quota, found, advice);
    }
    Finding::ok(Check::Quota, found)
}

async fn pushes(engine: &Engine, code: &ChannelCode) -> Result<Finding, EngineError> {
    let health = engine.push_health(code).await?;
    let kept: u64 = health.kept.kinds.values().map(|kind| kind.kept).sum();
    let newest = health.kept.kinds.values().map(|kind| kind.last_at).max();
    let found = match newest {
        None => Text::new("none ever came", "从未收到"),
        Some(newest) => {
            let ago = waits::length(waits::between(newest, engine.now()));
            Text::new(
                format!("{kept} kept, the newest came {} ago", ago.en),
                format!("保存 {kept} 条，最近一条在{}前", ago.zh),
            )
        }
    };
    if health.hints.is_empty() {
        return Ok(Finding::ok(Check::Pushes, found));
    }
    let said: Vec<&str> = health.hints.iter().map(|hint| hint.advice()).collect();
    let said_zh: Vec<&str> = health.hints.iter().map(|hint| hint.advice_zh()).collect();
    let advice = Text::new(said.join("; "), said_zh.join("；"));
    let lost = [Hint::NoSentEvents, Hint::NothingPushed, Hint::WrongSignatures, Hint::Unopened];
    Ok(if health.hints.iter().any(|hint| lost.contains(hint)) {
        Finding::fail(Check::Pushes, found, advice)
    } else {
        Finding::warn(Check::Pushes, found, advice)
    })
}

async fn relay(engine: &Engine, code: &ChannelCode) -> Result<Finding, EngineError> {
    let report = engine.relay_report(code).await?;
    if report.relay.is_none() {
        return Ok(Finding::skipped(Check::Relay, Text::new("not configured", "未配置")));
    }
    let health = &report.health;
    let last = health.last_status.as_deref().unwrap_or("-");
    let found = Text::new(
        format!("{} wait, {} given up, last answer {last}", health.waiting, health.given_up),
        format!("{} 条等待，{} 条放弃，最近结果 {last}", health.waiting, health.given_up),
    );
    let age = health.oldest_waiting_at.map(|at| waits::between(at, engine.now())).unwrap_or_default();
    if report.paused_until.is_some() || age > SLOW_RELAY {
        let advice = Text::new(
            format!(
                "the back end does not take them: `subledger channel relay test {code}` says what it answers"
            ),
            format!("后端未接收：`subledger channel relay test {code}` 可查看其应答"),
        );
        return Ok(Finding::fail(Check::Relay, found, advice));
    }
    if health.given_up > 0 {
        let advice = Text::new(
            format!("once the back end works, `subledger channel relay redrive {code}` sends them again"),
            format!("后端恢复后，`subledger channel relay redrive {code}` 可重新转发"),
        );
        return Ok(Finding::warn(Check::Relay, found, advice));
    }
    Ok(Finding::ok(Check::Relay, found))
}

async fn doubts(engine: &Engine, log: &LogName, channel: &Channel) -> Result<Finding, EngineError> {
    let (store, now) = (engine.store(), engine.now());
    let deadline = i64::from(channel.policy().doubt_deadline_s);
    let in_doubt = store.queue_stats(log, Claimable::All).await?.in_doubt;
    // The sweep runs every few seconds; with a minute to spare, what is older was left by it.
    let overdue = store.overdue_doubts(log, now.plus_seconds(-deadline - 60), None, DOUBTS).await?.len();
    if overdue > 0 {
        let found = Text::new(
            format!("{overdue} are in doubt beyond the deadline of the policy, of {in_doubt}"),
            format!("{in_doubt} 个待定中有 {overdue} 个已超过策略期限"),
        );
        let advice = Text::new(
            "the sweep of any running node closes them: is one running?",
            "任一运行中的节点会自动处理：请确认服务是否在运行",
        );
        return Ok(Finding::fail(Check::Doubts, found, advice));
    }
    let old = store.overdue_doubts(log, now.plus_seconds(-OLD_DOUBT_SECONDS), None, DOUBTS).await?.len();
    if old > 0 {
        let closes = waits::length(Duration::from_secs(u64::try_from(deadline).unwrap_or(0)));
        let found = Text::new(
            format!("{old} of {in_doubt} are in doubt for more than a day"),
            format!("{in_doubt} 个待定中有 {old} 个超过一天"),
        );
        let advice = Text::new(
            format!(
                "settle them if you know: `subledger audit doubts list`; after {} the policy does",
                closes.en
            ),
            format!("如已知结果请处理：`subledger audit doubts list`；满 {} 后按策略自动处理", closes.zh),
        );
        return Ok(Finding::warn(Check::Doubts, found, advice));
    }
    Ok(Finding::ok(Check::Doubts, Text::new(format!("{in_doubt} in doubt"), format!("{in_doubt} 个待定"))))
}
