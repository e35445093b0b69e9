//! 简体中文。用词与产品词汇表一致。

use std::collections::BTreeSet;

use subledger_domain::{
    ChannelCode, Evidence, EvidenceSource, TemplateKind,
    app::AppEvent,
    binding::BindingEvent,
    channel::{AuthorizationLoss, BulkRelease, CallbackMode, ChannelEvent, RelayStop, TokenMode},
    ledger::{Answer, Basis, Choice, DoubtCause, LateOutcome, LedgerEvent, ReleaseReason},
    message::MessageEvent,
    person::PersonEvent,
    platform::{PlatformEvent, TicketAsk},
};
use subledger_projection::{DeliveryState, LotState};

use super::{Phrase, Told};
use crate::history::explain::{FindingKind, NumberName, Paid};

pub(super) fn say(phrase: &Phrase<'_>) -> String {
    match phrase {
        Phrase::Event(told) => event(told),
        Phrase::LedgerTitle { subject, template, channel } => {
            format!("授权账本：主体 {subject}，模板 {template}，通道 {channel}")
        }
        Phrase::MessageTitle { msgid, template, channel } => {
            format!("消息 {msgid}，模板 {template}，通道 {channel}")
        }
        Phrase::UserTitle { channel } => format!("通道 {channel} 的用户"),
        Phrase::TemplatesTitle { channel } => format!("通道 {channel} 的模板"),
        Phrase::AsOf { position, time: Some(time) } => format!("截至位点 {position}，记录于 {time}"),
        Phrase::AsOf { position, time: None } => format!("截至位点 {position}，首个事件之前"),
        Phrase::Openid(Some(openid)) => format!("openid {openid}"),
        Phrase::Openid(None) => "openid 已抹除".to_owned(),
        Phrase::Userid(Some(userid)) => format!("userid {userid}"),
        Phrase::Userid(None) => "userid 已抹除".to_owned(),
        Phrase::ErasedBy { at, by, reason } => format!("{at} 由 {by} 抹除：{reason}。"),
        Phrase::NothingYet => "当时尚无任何记录。".to_owned(),
        Phrase::NoLedger => "尚无授权账本：没有上报过点击，也没有发送过消息。".to_owned(),
        Phrase::Totals(row) => format!(
            "余额 {}   预留 {}   待定 {}   |   授权 {} = 已消费 {} + 作废 {} + 持有 {}",
            row.balance,
            row.reserved,
            row.in_doubt,
            row.granted,
            row.consumed,
            row.voided,
            row.balance + row.reserved + row.in_doubt
        ),
        Phrase::Suspended { since } => format!("自 {since} 起暂停：用户再次允许之前拒绝发送"),
        Phrase::Counts(row) => {
            let states = DeliveryState::ALL.into_iter().filter(|state| row.counts.of(*state) > 0);
            let terms: Vec<String> =
                states.map(|state| format!("{} {}", delivery_state(state), row.counts.of(state))).collect();
            let unplanned =
                if row.unplanned() > 0 { format!(" + 未计划 {}", row.unplanned()) } else { String::new() };
            format!("目标 {} = {}{unplanned}", row.targeted, sum_of(&terms))
        }
        Phrase::Complete { complete, expires_at } => {
            let state = if *complete { "已完成" } else { "未完成" };
            format!("{state}；{expires_at} 之前未交给微信的投递将过期")
        }
        Phrase::Recipient { index, who, state, reason } => {
            let who = who.map(|who| format!("，{who}")).unwrap_or_default();
            let reason = reason.map(|reason| format!("（{reason}）")).unwrap_or_default();
            format!("接收人 {index}{who}：{}{reason}", delivery_state(*state))
        }
        Phrase::BoundTo { subject } => format!("已绑定到主体 {subject}"),
        Phrase::NotBound => "未绑定".to_owned(),
        Phrase::NeverBound => "当时该用户尚未绑定过。".to_owned(),
        Phrase::NotRegistered => "当时通道尚未创建。".to_owned(),
        Phrase::NoTemplates => "尚无模板：还没有从微信读取过模板列表。".to_owned(),
        Phrase::Template { row, changed_at, vanished_at } => {
            let listed = match vanished_at {
                Some(vanished_at) => format!("自 {vanished_at} 起微信不再列出"),
                None => format!("有效，内容自 {changed_at} 起未变"),
            };
            let keys: Vec<&str> = row.keys.iter().map(|key| key.key.as_str()).collect();
            format!("{}  {}  {}  {}  {listed}", row.id, row.title, template_kind(row.kind), keys.join(" "))
        }
        Phrase::Timeline => "时间线".to_owned(),
        Phrase::NumbersTitle => "每个数字及其背后的事件".to_owned(),
        Phrase::Number { name, value } => format!("{} {value}", number(*name)),
        Phrase::Omitted { count, change: Some(change) } => format!("更早的 {count} 个事件，合计 {change:+}"),
        Phrase::Omitted { count, change: None } => format!("省略更早的 {count} 项"),
        Phrase::Tapped { source: from, reference, at } => format!("{} {reference}，{at}", source(*from)),
        Phrase::Answered { class, code, rid } => {
            let code = code.map(|code| format!("微信返回 {code}")).unwrap_or_default();
            let rid = rid.map(|rid| format!("，rid {rid}")).unwrap_or_default();
            format!("{code}（{class}{rid}）")
        }
        Phrase::Msgid(msgid) => format!("微信 msgid {msgid}"),
        Phrase::By(by) => format!("由 {by}"),
        Phrase::Sum(sum) => format!(
            "点击授权 {} + 期初 {} - 已消费 {} - 作废 {} - 预留 {} - 待定 {} = 余额 {}{}",
            sum.taps,
            sum.opened,
            sum.consumed,
            sum.voided,
            sum.reserved,
            sum.in_doubt,
            sum.balance,
            if sum.holds { "" } else { "   不符" }
        ),
        Phrase::DeliveriesTitle => "每次投递由哪次授权支付".to_owned(),
        Phrase::Delivery { id, state, paid: how, lot } => {
            format!("投递 {id}：{}；{}", delivery_state(*state), paid(*how, *lot))
        }
        Phrase::TapsTitle => "每次授权支付了什么".to_owned(),
        Phrase::Tap { lot, word: Some(word), .. } => format!("批次 {lot}，{word}"),
        Phrase::Tap { lot, word: None, by_hand: true } => format!("批次 {lot}，人工增加"),
        Phrase::Tap { lot, word: None, by_hand: false } => format!("批次 {lot}，导入"),
        Phrase::Went { state, delivery, position, at } => {
            let by = delivery.map(|(id, outcome)| {
                let outcome = outcome.map(|state| format!("，{}", delivery_state(state))).unwrap_or_default();
                format!("：投递 {id}{outcome}")
            });
            match state {
                LotState::Open => "仍未使用".to_owned(),
                LotState::Reserved | LotState::InDoubt | LotState::Consumed => {
                    format!("{}{}（位点 {position}，{at}）", lot_state(*state), by.unwrap_or_default())
                }
                LotState::Void => format!("作废（位点 {position}，{at}）"),
            }
        }
        Phrase::VoidBecause { found_by, position, answer } => {
            format!("投递 {found_by} 在位点 {position} 证明它并不存在：{answer}")
        }
        Phrase::TakenAway(evidence) => format!("已收回（{}）", by(evidence)),
        Phrase::MaybeSpentBy(delivery) => format!("可能已被投递 {delivery} 用掉，该投递按未发送结清"),
        Phrase::FindingsTitle => "发现：账目不一致".to_owned(),
        Phrase::NoFindings => "全部一致。".to_owned(),
        Phrase::Finding { kind, position } => {
            let at = position.map(|position| format!("位点 {position}：")).unwrap_or_default();
            format!("{at}{}", finding(kind))
        }
        Phrase::Unreadable { kind, data } => format!("{kind} {data}"),
    }
}

fn sum_of(terms: &[String]) -> String {
    if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") }
}

fn finding(kind: &FindingKind) -> String {
    match kind {
        FindingKind::Sum { terms, balance } => format!("各项合计 {terms}，余额为 {balance}"),
        FindingKind::Number { number: name, events, ledger } => {
            format!("{}：事件合计 {events}，账本为 {ledger}", number(*name))
        }
        FindingKind::ReadModel { number: name, events, shown } => {
            format!("{}：事件合计 {events}，读模型显示 {shown}；请重建读模型", number(*name))
        }
        FindingKind::ReadModelRow => "读模型与同一位点之前的事件不符；请重建读模型".to_owned(),
        FindingKind::Lot { lot } => format!("事件使用了当时不可用的批次 {lot}"),
        FindingKind::Delivery { delivery } => format!("事件涉及并未进行中的投递 {delivery}"),
    }
}

const fn number(name: NumberName) -> &'static str {
    match name {
        NumberName::Balance => "余额",
        NumberName::Reserved => "预留",
        NumberName::InDoubt => "待定",
        NumberName::Granted => "授权",
        NumberName::Consumed => "已消费",
        NumberName::Voided => "作废",
        NumberName::Rejected => "拒绝",
        NumberName::Suspended => "暂停",
    }
}

fn paid(paid: Paid, lot: Option<u64>) -> String {
    let lot = lot.map(|lot| format!("批次 {lot}")).unwrap_or_else(|| "其批次".to_owned());
    match paid {
        Paid::Held => format!("{lot} 已为其预留"),
        Paid::Spent => format!("由{lot} 支付"),
        Paid::Returned => format!("{lot} 已退回"),
        Paid::Void => format!("{lot} 被证明作废，或已被其他投递消费"),
        Paid::LongTerm => "依据长期订阅的同意".to_owned(),
        Paid::UnknownBalance => "依据余额未知时的策略".to_owned(),
        Paid::Nothing => "已发送，但账上已没有可用授权".to_owned(),
    }
}

const fn delivery_state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Queued => "排队中",
        DeliveryState::Started => "已开始",
        DeliveryState::InDoubt => "待定",
        DeliveryState::Sent => "已发送",
        DeliveryState::Refused => "被拒绝",
        DeliveryState::Failed => "失败",
        DeliveryState::Expired => "已过期",
        DeliveryState::Retracted => "已撤回",
        DeliveryState::NotSent => "未发送",
        DeliveryState::Skipped => "已跳过",
    }
}

const fn lot_state(state: LotState) -> &'static str {
    match state {
        LotState::Open => "未使用",
        LotState::Reserved => "预留",
        LotState::InDoubt => "待定",
        LotState::Consumed => "已消费",
        LotState::Void => "作废",
    }
}

const fn template_kind(kind: TemplateKind) -> &'static str {
    match kind {
        TemplateKind::OneTime => "一次性",
        TemplateKind::LongTerm => "长期",
    }
}

fn event(told: &Told) -> String {
    match told {
        Told::Channel(event) => channel(event),
        Told::Binding(event) => binding(event),
        Told::Ledger(event) => ledger(event),
        Told::Message(event) => message(event),
        Told::App(event) => app(event),
        Told::Person(event) => person(event),
        Told::Platform(event) => platform(event),
    }
}

fn by(evidence: &Evidence) -> String {
    let reason = evidence.reason.as_ref().map(|reason| format!("，原因：{reason}")).unwrap_or_default();
    format!("凭证：{} {}{reason}", source(evidence.source), evidence.reference)
}

const fn source(source: EvidenceSource) -> &'static str {
    match source {
        EvidenceSource::Integrator => "接入方",
        EvidenceSource::ClientReport => "客户端上报",
        EvidenceSource::WechatPush => "微信推送",
        EvidenceSource::WechatAnswer => "微信返回",
        EvidenceSource::Import => "导入",
        EvidenceSource::Operator => "运营人员",
        EvidenceSource::Policy => "策略",
    }
}

fn said(answer: &Answer) -> String {
    say(&Phrase::Answered { class: &answer.class, code: answer.code, rid: answer.rid.as_deref() })
}

const fn choice(choice: Choice) -> &'static str {
    match choice {
        Choice::Accept => "允许",
        Choice::Reject => "拒绝",
        Choice::Ban => "模板已被微信封禁",
        Choice::Filter => "被同名模板过滤",
    }
}

const fn cause(cause: DoubtCause) -> &'static str {
    match cause {
        DoubtCause::Timeout => "超时未返回",
        DoubtCause::ConnectionBroken => "连接中断",
        DoubtCause::Unintelligible => "返回内容不是微信的",
        DoubtCause::NodeLost => "发起调用的节点丢失",
    }
}

fn ledger(event: &LedgerEvent) -> String {
    match event {
        LedgerEvent::Granted(e) => {
            format!("+1：用户选择 {}；批次 {}（{}）", e.word, e.lot, by(&e.evidence))
        }
        LedgerEvent::Opened(e) => {
            format!("+{}：期初余额；批次自 {} 起（{}）", e.count, e.first_lot, by(&e.evidence))
        }
        LedgerEvent::Consented(e) => format!("同意长期订阅：{}（{}）", e.word, by(&e.evidence)),
        LedgerEvent::Rejected(e) => {
            format!("没有授权：用户的选择是{}（{}）", choice(e.choice), by(&e.evidence))
        }
        LedgerEvent::Suspended(e) => format!("用户再次允许之前拒绝发送（{}）", by(&e.evidence)),
        LedgerEvent::Reserved(e) => format!("批次 {} 预留给投递 {}", e.lot, e.delivery),
        LedgerEvent::Admitted(e) => {
            let basis = match e.basis {
                Basis::LongTerm => "长期订阅的同意",
                Basis::UnknownBalance => "余额未知时的策略",
            };
            format!("投递 {} 依据{basis}放行", e.delivery)
        }
        LedgerEvent::Started(e) => format!("投递 {} 交给微信，第 {} 次尝试", e.delivery, e.attempt),
        LedgerEvent::Postponed(e) => format!("投递 {} 需要重试：{}", e.delivery, said(&e.answer)),
        LedgerEvent::Consumed(e) => {
            let msgid = e.wechat_msgid.as_deref().unwrap_or("未给出");
            format!("投递 {} 被微信接受，msgid {msgid}；批次已消费", e.delivery)
        }
        LedgerEvent::Released(e) => {
            format!("投递 {} 未发送即结束：{}；批次恢复可用", e.delivery, why(&e.reason))
        }
        LedgerEvent::Doubted(e) => {
            format!("投递 {} 待定（{}）：微信的结果未知，预留保持不变", e.delivery, cause(e.cause))
        }
        LedgerEvent::SettledLate(e) => {
            let outcome = match &e.outcome {
                LateOutcome::Sent { .. } => "已发送，批次已消费",
                LateOutcome::NotSent => "未发送，批次恢复可用",
            };
            format!("投递 {} 的待定已结清：{outcome}（{}）", e.delivery, by(&e.evidence))
        }
        LedgerEvent::Denied(e) => {
            format!("投递 {} 结束：微信没有该用户的授权，{}", e.delivery, said(&e.answer))
        }
        LedgerEvent::DriftFound(e) => {
            format!(
                "偏差：批次 {} 作废，微信没有对应的授权（投递 {}，{}）",
                numbers(&e.lots),
                e.delivery,
                said(&e.answer)
            )
        }
        LedgerEvent::Corroborated(e) => {
            let tap = e.lot.map_or_else(|| choice(e.choice).to_owned(), |lot| format!("批次 {lot} 的点击"));
            format!("另一来源也报告了账上已有的点击：{tap}（{}）", by(&e.evidence))
        }
        LedgerEvent::TapNoted(e) => {
            format!(
                "仅备查，不计授权：用户的选择是“{}”，该通道不采信此来源（{}）",
                choice(e.choice),
                by(&e.evidence)
            )
        }
        LedgerEvent::Confirmed(e) => {
            let msgid = e.wechat_msgid.as_deref().unwrap_or("未给出");
            format!("微信确认投递 {} 已发送，微信 msgid：{msgid}（{}）", e.delivery, by(&e.evidence))
        }
        LedgerEvent::Undelivered(e) => format!(
            "投递 {} 被微信接受后发送失败：{} {}；批次仍算已消费（{}）",
            e.delivery,
            e.code,
            e.status,
            by(&e.evidence)
        ),
        LedgerEvent::StrangerReported(e) => {
            let msgid = e.wechat_msgid.as_deref().unwrap_or("未给出");
            format!("微信报告了一次并非由我们发出的发送，微信 msgid：{msgid}（{}）", by(&e.evidence))
        }
        LedgerEvent::Adjusted(e) => {
            let added = e.added.map(|added| format!("+{}，批次自 {} 起", added.count, added.first_lot));
            let removed = (!e.removed.is_empty()).then(|| format!("批次 {} 作废", numbers(&e.removed)));
            let what: Vec<_> = added.into_iter().chain(removed).collect();
            format!("人工调整：{}（{}）", what.join("；"), by(&e.evidence))
        }
        LedgerEvent::Cleared(e) => {
            format!("用户关闭了消息：批次 {} 作废（{}）", numbers(&e.lots), by(&e.evidence))
        }
        LedgerEvent::Forfeited(e) => {
            format!("投递 {} 被拒绝，批次仍算已消费：{}", e.delivery, said(&e.answer))
        }
    }
}

fn numbers(lots: &[u64]) -> String {
    lots.iter().map(u64::to_string).collect::<Vec<_>>().join("、")
}

fn why(reason: &ReleaseReason) -> String {
    match reason {
        ReleaseReason::Refused { answer } => format!("被拒绝，{}", said(answer)),
        ReleaseReason::RetriesExhausted { answer } => format!("重试次数用尽，最后一次{}", said(answer)),
        ReleaseReason::Retracted => "调用方撤回".to_owned(),
        ReleaseReason::Expired => "已过有效期".to_owned(),
        ReleaseReason::Suspended => "用户的授权已暂停".to_owned(),
        ReleaseReason::NoGrant => "其授权已作废".to_owned(),
    }
}

fn binding(event: &BindingEvent) -> String {
    match event {
        BindingEvent::Bound(e) => format!("绑定到主体 {}（{}）", e.subject, by(&e.evidence)),
        BindingEvent::Moved(e) => {
            format!("绑定由主体 {} 改为 {}（{}）", e.from, e.subject, by(&e.evidence))
        }
        BindingEvent::Unbound(e) => format!("与主体 {} 解除绑定（{}）", e.subject, by(&e.evidence)),
    }
}

fn person(event: &PersonEvent) -> String {
    match event {
        PersonEvent::Erased(e) => {
            let channels: Vec<&str> = e.channels.iter().map(ChannelCode::as_str).collect();
            let userid = if e.userid { "、用户标识" } else { "" };
            let pushes = if e.pushes > 0 { format!("、{} 条推送", e.pushes) } else { String::new() };
            let (channels, by) = (channels.join("、"), by(&e.evidence));
            format!(
                "已从通道 {channels} 抹除：{} 个 openid、{} 份内容{pushes}{userid}（{by}）",
                e.openids, e.contents
            )
        }
    }
}

fn message(event: &MessageEvent) -> String {
    match event {
        MessageEvent::Accepted(e) => {
            format!("接受渠道 {} 的消息：模板 {}，{} 个接收人", e.app, e.template, e.targeted)
        }
        MessageEvent::Planned(e) => {
            format!("已计划：{} 个有授权，{} 个跳过", e.reserved, e.skipped.len())
        }
        MessageEvent::Retracted(e) => format!("渠道 {} 撤回：收回 {} 个投递", e.app, e.released),
    }
}

fn channel(event: &ChannelEvent) -> String {
    match event {
        ChannelEvent::Registered(e) => format!("创建通道：{}，AppID {}", e.name, e.appid),
        ChannelEvent::CredentialsReplaced(_) => "更换了 AppSecret".to_owned(),
        ChannelEvent::TemplatesRefreshed(e) => format!(
            "从微信读取模板：共 {}；新增 {}，变更 {}，消失 {}",
            e.listed,
            e.added.len(),
            e.changed.len(),
            e.vanished.len()
        ),
        ChannelEvent::Paused(e) => format!("暂停发送：{}", e.reason),
        ChannelEvent::Resumed(e) => format!("恢复发送：{}", e.reason),
        ChannelEvent::PolicyChanged(_) => "策略已变更".to_owned(),
        ChannelEvent::BulkHeld(e) => format!(
            "群发暂缓至北京时间零点：今日 {} 次额度仅剩 {} 次，{}% 留给单发",
            e.limit, e.remaining, e.reserve
        ),
        ChannelEvent::BulkReleased(e) => match e.cause {
            BulkRelease::Policy => format!("群发继续：预留比例已调低，剩余 {} 次", e.remaining),
            BulkRelease::Quota => format!("群发继续：微信显示剩余 {} 次", e.remaining),
        },
        ChannelEvent::QuotaCleared(e) => format!("请微信清零了当日调用次数：{}", e.reason),
        ChannelEvent::RelayConfigured(e) => format!("推送转发至 {}", e.url),
        ChannelEvent::RelayStopped(e) => match e.cause {
            RelayStop::Asked => "停止转发推送".to_owned(),
            RelayStop::Gone => "停止转发推送：接收方返回 410（Gone）".to_owned(),
        },
        ChannelEvent::Authorized(e) => format!(
            "小程序管理员已授权第三方平台 {}，权限集 {}{}",
            e.platform,
            sets(&e.permissions),
            lacking(&e.missing)
        ),
        ChannelEvent::AuthorizationUpdated(e) => {
            format!("授权已变更：权限集 {}{}", sets(&e.permissions), lacking(&e.missing))
        }
        ChannelEvent::Unauthorized(e) => {
            let noticed = match e.loss {
                AuthorizationLoss::Pushed => "微信推送",
                AuthorizationLoss::Refused => "微信返回",
            };
            format!("授权已失效（{noticed}）；投递将等待重新授权")
        }
        ChannelEvent::TokenSourceChanged(e) => match &e.url {
            Some(url) => format!("access_token 改由 {url} 提供"),
            None => format!("更换了 access_token 的来源：模式 {}", e.mode.as_str()),
        },
        ChannelEvent::TokenConflictSuspected(e) => format!(
            "微信以 {} 拒绝了 access_token，其签发仅 {} 秒，有效期应为 {} 秒：有其他系统在刷新它{}",
            e.code,
            e.age_s,
            e.life_s,
            match e.mode {
                TokenMode::Normal => "；改用 stable 模式可避免",
                TokenMode::Stable | TokenMode::External | TokenMode::Platform => "",
            }
        ),
        ChannelEvent::TokenLeased(e) => format!("向渠道 {} 提供了第 {} 个 access_token", e.app, e.version),
        ChannelEvent::TokenForced(e) => format!("操作员强制刷新了 access_token，现为第 {} 个", e.version),
        ChannelEvent::CallbackConfigured(e) => {
            let id = e.original_id.as_deref().unwrap_or("尚未获知");
            match e.learned {
                true => format!("从推送中获知原始 ID：{id}"),
                false => format!("配置了微信消息推送：{}，原始 ID {id}", callback_mode(e.mode)),
            }
        }
    }
}

fn sets(permissions: &BTreeSet<u32>) -> String {
    permissions.iter().map(u32::to_string).collect::<Vec<_>>().join("、")
}

fn lacking(missing: &BTreeSet<u32>) -> String {
    if missing.is_empty() {
        return String::new();
    }
    format!("；缺少 {}，投递将等待其授予", sets(missing))
}

fn platform(event: &PlatformEvent) -> String {
    match event {
        PlatformEvent::Configured(e) => format!("配置了第三方平台：{}，访问地址 {}", e.name, e.public_url),
        PlatformEvent::SecretsReplaced(e) => {
            let named = [
                ("AppSecret", e.secret.is_some()),
                ("消息校验 Token", e.token.is_some()),
                ("EncodingAESKey", e.key.is_some()),
            ];
            let names: Vec<&str> =
                named.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
            format!("设置了密钥：{}", names.join("、"))
        }
        PlatformEvent::TicketPushStarted(e) => match e.ask {
            TicketAsk::Asked => "已请求微信推送 ticket".to_owned(),
            TicketAsk::Stale => "长时间未收到 ticket，已请求微信推送".to_owned(),
        },
    }
}

fn callback_mode(mode: CallbackMode) -> &'static str {
    match mode {
        CallbackMode::Plaintext => "明文模式",
        CallbackMode::Compatible => "兼容模式",
        CallbackMode::Secure => "安全模式",
    }
}

fn app(event: &AppEvent) -> String {
    match event {
        AppEvent::Created(e) => format!("创建渠道：{}", e.name),
        AppEvent::KeyAdded(e) => format!("新增密钥 {}", e.key),
        AppEvent::KeyRevoked(e) => format!("吊销密钥 {}", e.key),
    }
}
