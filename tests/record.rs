//! What programs read of a build: `--profile`, `--events`, `--message-format json`.

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::Workspace;

fn events(workspace: &Workspace) -> Vec<Value> {
    let text = workspace.read("events.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// The complete events of a trace.
fn spans(workspace: &Workspace) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&workspace.read("trace.json")).unwrap();
    trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").cloned().collect()
}

#[test]
fn the_events_of_a_build_are_lines_in_order() {
    let workspace = Workspace::example("firewall");
    workspace.ok(&["build", "//...", "--events", "events.jsonl"]);
    let events = events(&workspace);
    assert_eq!((&events[0]["event"], &events[0]["version"]), (&"started".into(), &env!("CARGO_PKG_VERSION").into()));
    let times: Vec<u64> = events.iter().map(|event| event["at_us"].as_u64().unwrap()).collect();
    assert!(times.is_sorted());
    let phases: Vec<&str> = of(&events, "phase_ended").iter().map(|event| event["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["load", "graph", "analyse", "plan", "execute"]);
    let finished = of(&events, "action_finished");
    assert_eq!(of(&events, "planned")[0]["actions"], finished.len());
    let compile = finished.iter().find(|event| event["mnemonic"] == "compile").unwrap();
    assert_eq!((&compile["how"], &compile["work"]), (&"ran".into(), &"process".into()));
    assert!(compile["took_us"].as_u64().unwrap() > 1000 && compile["label"].as_str().unwrap().starts_with("//fw:"));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["ok"], &last["error"]), (&"finished".into(), &true.into(), &Value::Null));
    let counted: u64 = ["ran", "made", "cached", "up_to_date"].iter().map(|end| last["summary"][end].as_u64().unwrap()).sum();
    assert_eq!(counted, finished.len() as u64);
    let bundle = last["targets"].as_array().unwrap().iter().find(|target| target["label"] == "//fw:fw").unwrap();
    assert!(bundle["files"][0].as_str().unwrap().ends_with("fw.bundle"));
    assert_eq!(last["critical_path"].as_array().unwrap().last().unwrap()["label"], "//fw:fw");
}

#[test]
fn failures_are_events_with_their_findings() {
    let workspace = Workspace::example("firewall");
    workspace.write("fw/allow.c", "int f(void) { return missing; }\n");
    workspace.fails(1, &["build", "//fw:allow", "--events", "events.jsonl"]);
    let events = events(&workspace);
    let failed = of(&events, "action_failed");
    let finding = &failed[0]["findings"][0];
    assert_eq!(
        (&failed[0]["label"], &finding["file"], &finding["line"]),
        (&"//fw:allow".into(), &"fw/allow.c".into(), &1.into())
    );
    assert!(failed[0]["took_us"].as_u64().unwrap() > 1000 && failed[0]["output"].as_str().unwrap().contains("1 error generated"));
    let last = events.last().unwrap();
    assert_eq!((&last["ok"], &last["summary"]["failed"]), (&false.into(), &1.into()));

    workspace.edit("fw/BUILD.ouro", "entry = ", "entri = ");
    workspace.fails(1, &["build", "//fw:fw", "--events", "events.jsonl"]);
    let events = self::events(&workspace);
    let last = events.last().unwrap();
    assert_eq!((&last["summary"], &last["findings"][0]["file"]), (&Value::Null, &"fw/BUILD.ouro".into()));
}

#[test]
fn a_profile_has_every_action_in_a_lane_and_no_two_at_once_in_one() {
    let workspace = Workspace::example("firewall");
    let said = workspace.ok(&["build", "//...", "-j2", "--profile", "trace.json"]);
    said.says("critical path ").says("compile //fw:");
    let spans = self::spans(&workspace);
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no `{name}`"));
    assert_eq!(named("execute")["tid"], 0);
    assert_eq!(named("compile //fw:parse")["args"]["how"], "ran");
    let mut lanes: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for span in &spans {
        let number = |key: &str| span[key].as_u64().unwrap();
        lanes.entry(number("tid")).or_default().push((number("ts"), number("ts") + number("dur")));
    }
    assert!(lanes.len() <= 3, "two workers and the phases: {lanes:?}");
    for (lane, times) in &mut lanes {
        times.sort_unstable();
        // A microsecond is lost by rounding.
        assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 2), "lane {lane}: {times:?}");
    }
    workspace.edit("fw/allow.c", "decide(ALLOWED)", "decide(BLOCKED)");
    workspace.ok(&["build", "//...", "--profile", "trace.json"]);
    let again = self::spans(&workspace);
    let how = |name: &str| again.iter().find(|span| span["name"] == name).unwrap()["args"]["how"].clone();
    assert_eq!((how("compile //fw:allow"), how("compile //fw:parse")), ("ran".into(), "up to date".into()));
}

#[test]
fn records_that_cannot_be_written_are_errors() {
    let workspace = Workspace::example("01-hello-xdp");
    workspace.fails(1, &["build", "//...", "--events", "no/where.jsonl"]).says("cannot write `no/where.jsonl`");
    let said = workspace.fails(1, &["build", "//...", "--profile", "no/where.json"]);
    said.says("cannot write `no/where.json`");
    assert!(!workspace.path("ouro-out").exists(), "nothing is built for a profile that cannot be written: {}", said.err);
    workspace.fails(1, &["build", "//...", "--profile", "."]).says("cannot write `.`: is a directory");
    workspace.fails(1, &["build", "//...", "--events", "/dev/full"]).says("cannot write `/dev/full`");
}

#[test]
fn records_go_to_standard_output_and_to_devices() {
    let workspace = Workspace::example("01-hello-xdp");
    let said = workspace.ok(&["build", "//...", "--events", "-"]);
    let events: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events.last().unwrap()["ok"]), (&"started".into(), &true.into()));
    let said = workspace.ok(&["build", "//...", "--profile", "-"]);
    assert!(serde_json::from_str::<Value>(&said.out).unwrap()["traceEvents"].is_array());
    assert!(!workspace.path("-").exists());
    // A device that was replaced by a file would be gone for everybody.
    std::os::unix::fs::symlink("/dev/null", workspace.path("null")).unwrap();
    workspace.ok(&["build", "//...", "--profile", "null"]);
    assert!(workspace.path("null").is_symlink());
}

#[test]
fn clangs_words_are_findings_for_programs_and_untouched_for_people() {
    let workspace = Workspace::example("firewall");
    let source = "#include <ouro/program.h>\n#warning careful\nstatic int twice(int x) { return 2 * x; }\nint f(void) { return twice(1, 2); }\n";
    workspace.write("fw/allow.c", source);
    let json = workspace.fails(1, &["build", "//fw:allow", "--message-format", "json"]);
    let findings: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let error = findings.iter().find(|finding| finding["severity"] == "error").unwrap();
    assert_eq!((&error["file"], &error["line"]), (&"fw/allow.c".into(), &4.into()));
    assert!(error["message"].as_str().unwrap().contains("too many arguments"), "{error}");
    assert_eq!((&error["related"][0]["file"], &error["related"][0]["line"]), (&"fw/allow.c".into(), &3.into()));
    let warning = findings.iter().find(|finding| finding["severity"] == "warning").unwrap();
    assert!(warning["message"].as_str().unwrap().contains("careful"), "{warning}");
    let human = workspace.fails(1, &["build", "//fw:allow"]);
    human.says("fw/allow.c:4:").says("too many arguments").says("^");
    assert!(human.out.is_empty() && human.err.contains("generated."), "{}", human.err);
}
