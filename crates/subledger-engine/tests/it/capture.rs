//! Catches what the process logs at level error, from every crate of ours.

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

type Lines = Arc<Mutex<Vec<String>>>;

struct Catch(Lines);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Catch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            let mut text = Text(event.metadata().target().to_owned());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

/// Lines of this part of the program since the first call, which begins to catch. One for the process: tests tell theirs apart
/// by the target.
pub fn errors_of(target: &str) -> Vec<String> {
    static LINES: OnceLock<Lines> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Lines::default();
        tracing_subscriber::registry().with(Catch(Arc::clone(&lines))).init();
        lines
    });
    lines.lock().unwrap().iter().filter(|line| line.starts_with(target)).cloned().collect()
}
