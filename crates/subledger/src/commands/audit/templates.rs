//! `subledger audit templates`: which templates a channel had, and when its list was read from WeChat.

use serde_json::{Value, json};
use subledger_domain::StreamName;
use subledger_projection::TemplateRow;

use super::{Auditor, maybe_time, told};
use crate::output::{self, time};

impl Auditor {
    pub(super) async fn templates(&self) -> anyhow::Result<()> {
        let past = self.history.templates(&self.channel, self.at.position).await.map_err(told)?;
        let events = self.history.all_events(&self.log, &StreamName::channel(), self.at.position).await;
        let events = events.map_err(told)?;
        if self.json {
            let channel = past.channel.as_ref();
            return output::json(&json!({
                "channel": self.channel, "at": self.point(), "known": channel.is_some(),
                "refreshed_at": maybe_time(channel.and_then(|row| row.templates_refreshed_at)),
                "templates": past.templates.iter().map(template).collect::<Vec<_>>(),
                "entries": self.entries(&events),
            }));
        }
        print!("{}", self.speaker.templates(self.channel.as_str(), self.at, &past, &events));
        Ok(())
    }
}

fn template(row: &TemplateRow) -> Value {
    json!({
        "template_id": row.id, "title": row.title, "kind": row.kind, "content": row.content, "keys": row.keys,
        "listed": row.listed, "first_seen_at": time(row.first_seen_at), "changed_at": time(row.changed_at),
        "vanished_at": maybe_time(row.vanished_at),
    })
}
