//! Which processes run in a round, in which order, and how much each does.

use std::path::{Path, PathBuf};

use super::{data, tools::Tools};

/// Scenarios by name, in the order in which a round runs them.
pub(super) const SCENARIOS: [&str; 8] =
    ["floor", "executor", "grants", "pushes", "rebuild", "lag", "size", "memory"];
/// Microseconds added to every fsync where it is slowed down.
pub(super) const EXTRA_US: u64 = 1_000;
/// How the shim is told.
pub(super) const EXTRA_VARIABLE: &str = "SUBLEDGER_FSYNC_EXTRA_US";

/// How much is done.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    streams: &'static str,
    commands: &'static str,
    seconds: &'static str,
    long_streams: &'static str,
    pushes: &'static str,
    rebuild: &'static str,
    lag: [&'static str; 2],
    size: [&'static str; 2],
    memory: [&'static str; 3],
    floor: &'static str,
}

impl Scale {
    /// What the report rests on.
    pub(super) fn full() -> Self {
        Self {
            streams: "10000",
            commands: "100000",
            seconds: "5",
            long_streams: "100",
            pushes: "100000",
            rebuild: "1000000",
            lag: ["5000", "30"],
            size: ["200000", "5000"],
            memory: ["10", "5000", "30"],
            floor: "1000",
        }
    }

    /// Enough to see that it runs.
    pub(super) fn quick() -> Self {
        Self {
            streams: "500",
            commands: "5000",
            seconds: "1",
            long_streams: "20",
            pushes: "2000",
            rebuild: "20000",
            lag: ["500", "2"],
            size: ["5000", "100"],
            memory: ["1", "200", "2"],
            floor: "50",
        }
    }
}

/// How fsync behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fsync {
    /// As the machine has it.
    Plain,
    /// A millisecond longer.
    Slow {
        /// In the process itself (SQLite), not in a server.
        preload: bool,
    },
}

/// One process of a round.
#[derive(Debug, Clone)]
pub(super) struct Measurement {
    /// The scenario it belongs to.
    pub(super) scenario: &'static str,
    /// For people.
    pub(super) title: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) fsync: Fsync,
    /// A script of a peer, which knows fewer options.
    pub(super) is_script: bool,
    /// In the first round only: bytes, for one, do not vary.
    pub(super) once: bool,
}

/// Where a database is, as flags.
struct Place {
    name: &'static str,
    flags: [String; 2],
}

/// The round. `urls`: a PostgreSQL server, and one with slow fsync.
pub(super) fn plan(
    tools: &Tools,
    scale: &Scale,
    bench: &Path,
    urls: [Option<String>; 2],
) -> Vec<Measurement> {
    let [plain, slow] = urls;
    let sqlite =
        || Place { name: "SQLite", flags: ["--sqlite".to_owned(), data(bench).display().to_string()] };
    let postgres = |url: String| Place { name: "PostgreSQL", flags: ["--postgres".to_owned(), url] };
    let places: Vec<Place> = [sqlite()].into_iter().chain(plain.map(postgres)).collect();
    let mut slow_places = Vec::new();
    if tools.shim.is_some() {
        slow_places.push((sqlite(), Fsync::Slow { preload: true }));
        slow_places.extend(slow.map(|url| (postgres(url), Fsync::Slow { preload: false })));
    }
    let planner = Planner { tools, scale };
    let mut plan = Vec::new();
    for place in &places {
        plan.push(planner.ours("floor", place, &["--operations", scale.floor]));
    }
    planner.executors(&places, &mut plan);
    for (place, fsync) in &slow_places {
        planner.slow(place, *fsync, &mut plan);
    }
    for place in &places {
        plan.push(planner.ours("grants", place, &["--seconds", scale.seconds]));
        plan.extend(planner.peer("grants", place, &["--seconds", scale.seconds]));
    }
    for place in &places {
        for connections in ["64", "256"] {
            let arguments =
                ["--pushes", scale.pushes, "--seconds", scale.seconds, "--connections", connections];
            plan.push(planner.ours("pushes", place, &arguments));
        }
    }
    for place in &places {
        plan.push(planner.ours("rebuild", place, &["--events", scale.rebuild]));
    }
    for place in &places {
        let [rate, seconds] = scale.lag;
        plan.push(planner.ours("lag", place, &["--rate", rate, "--seconds", seconds]));
    }
    for place in &places {
        let [events, sends] = scale.size;
        let size = planner.ours("size", place, &["--events", events, "--sends", sends]);
        plan.push(Measurement { once: true, ..size });
    }
    for place in &places {
        let [idle, rate, seconds] = scale.memory;
        let service = tools.service.display().to_string();
        let arguments = ["--binary", &service, "--idle", idle, "--rate", rate, "--seconds", seconds];
        plan.push(planner.ours("memory", place, &arguments));
    }
    plan
}

struct Planner<'a> {
    tools: &'a Tools,
    scale: &'a Scale,
}

impl Planner<'_> {
    fn ours(&self, scenario: &'static str, place: &Place, arguments: &[&str]) -> Measurement {
        measurement(&self.tools.bench, "subledger", scenario, place, arguments)
    }

    fn peer(&self, scenario: &'static str, place: &Place, arguments: &[&str]) -> Option<Measurement> {
        let program = self.tools.peers.as_ref()?;
        Some(measurement(program, "cqrs-es", scenario, place, arguments))
    }

    /// Ours and the peers in turn; then ours on long streams and on one hot stream.
    fn executors(&self, places: &[Place], plan: &mut Vec<Measurement>) {
        let Scale { streams, commands, seconds, long_streams, .. } = *self.scale;
        let amount = ["--streams", streams, "--commands", commands, "--seconds", seconds];
        for place in places {
            plan.push(self.ours("executor", place, &amount));
            plan.extend(self.peer("executor", place, &amount));
            if let Some((python, script)) = &self.tools.eventsourcing {
                plan.push(scripted(python, script, "eventsourcing", place, &amount));
            }
            if let (Some((node, script)), "PostgreSQL") = (&self.tools.emmett, place.name) {
                plan.push(scripted(node, script, "emmett", place, &amount));
            }
        }
        for place in places {
            let long: Vec<_> =
                amount.into_iter().chain(["--events", long_streams, "--callers", "256"]).collect();
            plan.push(self.ours("executor", place, &long));
            let hot = ["--hot", "--callers", "256", "--commands", commands, "--seconds", seconds];
            plan.push(self.ours("executor", place, &hot));
            // Once: its callers lose nearly every race for the one stream, and the last of them take half a minute.
            plan.extend(self.peer("executor", place, &hot).map(|peer| Measurement { once: true, ..peer }));
        }
    }

    fn slow(&self, place: &Place, fsync: Fsync, plan: &mut Vec<Measurement>) {
        let Scale { streams, commands, seconds, .. } = *self.scale;
        let amount =
            ["--streams", streams, "--commands", commands, "--seconds", seconds, "--callers", "256,32"];
        let floor = ["--operations", self.scale.floor];
        let found = [
            Some(self.ours("floor", place, &floor)),
            Some(self.ours("executor", place, &amount)),
            self.peer("executor", place, &amount),
        ];
        plan.extend(found.into_iter().flatten().map(|one| Measurement {
            title: format!("{}, 1 ms added to fsync", one.title),
            fsync,
            ..one
        }));
    }
}

fn measurement(
    program: &Path,
    subject: &str,
    scenario: &'static str,
    place: &Place,
    arguments: &[&str],
) -> Measurement {
    let more = arguments.iter().map(|argument| (*argument).to_owned());
    Measurement {
        scenario,
        title: format!("{scenario} of {subject} on {}", place.name),
        program: program.to_owned(),
        arguments: place.flags.iter().cloned().chain([scenario.to_owned()]).chain(more).collect(),
        fsync: Fsync::Plain,
        is_script: false,
        once: false,
    }
}

fn scripted(program: &Path, script: &Path, subject: &str, place: &Place, arguments: &[&str]) -> Measurement {
    let one = measurement(program, subject, "executor", place, arguments);
    let more = arguments.iter().map(|argument| (*argument).to_owned());
    let script = script.display().to_string();
    Measurement {
        arguments: [script].into_iter().chain(place.flags.iter().cloned()).chain(more).collect(),
        is_script: true,
        ..one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(tools: &Tools, urls: [Option<String>; 2]) -> Vec<String> {
        let plan = plan(tools, &Scale::full(), Path::new("/b"), urls);
        plan.into_iter().map(|one| one.title).collect()
    }

    #[test]
    fn without_tools_only_ours_runs_and_only_on_sqlite() {
        let titles = titles(&Tools::default(), [None, None]);
        assert!(titles.iter().all(|title| title.ends_with("of subledger on SQLite")), "{titles:?}");
        let scenarios =
            SCENARIOS.map(|scenario| titles.iter().filter(|title| title.starts_with(scenario)).count());
        assert_eq!(scenarios, [1, 3, 1, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn each_peer_runs_right_after_ours() {
        let tools = Tools {
            peers: Some("/p".into()),
            emmett: Some(("node".into(), "/e".into())),
            shim: Some("/s".into()),
            ..Tools::default()
        };
        let titles = titles(&tools, [Some("postgres://a".to_owned()), Some("postgres://b".to_owned())]);
        let after = |title: &str| {
            let at = titles.iter().position(|one| one == title);
            at.and_then(|at| titles.get(at + 1)).map_or("", String::as_str)
        };
        assert_eq!(after("executor of subledger on SQLite"), "executor of cqrs-es on SQLite");
        assert_eq!(after("executor of cqrs-es on PostgreSQL"), "executor of emmett on PostgreSQL");
        assert_eq!(after("grants of subledger on PostgreSQL"), "grants of cqrs-es on PostgreSQL");
        let slow = titles.iter().filter(|title| title.ends_with(", 1 ms added to fsync")).count();
        assert_eq!(slow, 6, "{titles:?}");
    }

    #[test]
    fn a_slow_server_is_slow_itself_and_not_its_client() {
        let tools = Tools { shim: Some("/s".into()), ..Tools::default() };
        let urls = [None, Some("postgres://slow".to_owned())];
        for one in plan(&tools, &Scale::full(), Path::new("/b"), urls) {
            let on_postgres = one.arguments.iter().any(|argument| argument == "postgres://slow");
            let slow = one.title.ends_with("fsync");
            let expected = if slow { Fsync::Slow { preload: !on_postgres } } else { Fsync::Plain };
            assert_eq!(one.fsync, expected, "{}", one.title);
        }
    }
}
