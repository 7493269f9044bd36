//! Deploys, rollbacks and undeploys that are killed, or whose calls fail, at any system call: packets never notice, and the next
//! command makes whole what was left. In short among all tests; `make torture` strikes at every single call.

#[path = "../../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_arch = "x86_64")]
mod tracer;

#[cfg(target_arch = "x86_64")]
mod strikes {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use serde_json::Value;

    use crate::lab::{Lab, NEAR, bpftool, kernel_is_at_least, lab};
    use crate::support::{OURO, Said, Workspace};
    use crate::tracer::{self, At, Blow};

    /// Strikes fall at one of so many calls; 1 for all.
    const STEP: &str = "OURO_TORTURE_STEP";
    const SHORT: usize = 29;
    /// The same of commands that are there to be combined with others.
    const SHORTER: usize = 113;

    /// A call that is killed, one that fails for good, one that fails for lack of memory, one that is not allowed.
    const BLOWS: [Blow; 4] = [Blow::Kill, Blow::Fail(libc::EIO), Blow::Fail(libc::ENOMEM), Blow::Fail(libc::EPERM)];

    /// A laboratory with two bundles of one chain.
    struct Bench<'a> {
        lab: &'a Lab,
        bundles: [PathBuf; 2],
    }

    impl Bench<'_> {
        /// `map` and `attach` say what the chains' map is, and where they are attached.
        fn new<'l>(lab: &'l Lab, what: &str, map: fn(usize) -> String, attach: impl Fn(usize) -> String) -> Bench<'l> {
            let bundles = ["one", "two"].map(|name| lab.folder().join(name));
            for (number, bundle) in bundles.iter().enumerate() {
                let chain = chain(what, number, &map(number), &attach(number));
                chain.ok(&["bundle", "//:fw", "-o", bundle.to_str().unwrap()]);
            }
            Bench { lab, bundles }
        }

        fn command(&self, words: &[&str]) -> Command {
            let mut command = Command::new(OURO);
            command.args(words).arg("--bpffs").arg(&self.lab.bpffs).current_dir(self.lab.folder());
            command.stdin(Stdio::null());
            command
        }

        fn deploy(&self, which: usize) -> Command {
            self.command(&["deploy", "--interface", NEAR, "--bundle", self.bundles[which % 2].to_str().unwrap()])
        }

        /// Deploys on trial, and kills who waits.
        fn on_trial(&self, which: usize) {
            let mut child = self.deploy(which).args(["--force", "--confirm", "1h"]).stderr(Stdio::null()).spawn().unwrap();
            let trial = || self.status("on trial")["trial"].is_object();
            while !trial() {
                assert!(child.try_wait().unwrap().is_none(), "it waits");
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }

        fn ok(&self, mut command: Command, when: &str) -> String {
            let said = Said::of(command.output().unwrap());
            assert_eq!(said.code, 0, "{when}: {command:?}\n{}{}", said.out, said.err);
            said.out
        }

        /// The only deployment, whatever state it is in.
        fn status(&self, when: &str) -> Value {
            let said = Said::of(self.command(&["status", "--json"]).output().unwrap());
            let mut status: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{when}: {}", said.err));
            assert_eq!(status.as_array().unwrap().len(), 1, "{when}: {status}");
            status[0].take()
        }

        /// Everything there is is whole.
        fn is_whole(&self, when: &str) {
            let deployment = self.status(when);
            assert_eq!(deployment["problems"], Value::Array(Vec::new()), "{when}: {deployment}");
            assert_eq!(deployment["foreign"], Value::Array(Vec::new()), "{when}: {deployment}");
            assert!(deployment["generation"].is_u64(), "{when}: {deployment}");
        }

        /// The pin of the map that the live chain uses.
        fn map(&self, when: &str) -> String {
            let maps = self.status(when)["maps"].take();
            let live = maps.as_array().unwrap().iter().find(|map| map["live"] == true);
            live.unwrap_or_else(|| panic!("{when}: {maps}"))["path"].as_str().unwrap().to_owned()
        }

        /// Strikes `struck` at its calls, one after another; `mend` is what the next user does. How often a blow fell.
        fn strike(&self, short: usize, struck: impl Fn(usize) -> Command, mend: impl Fn(usize, &str)) -> [usize; 4] {
            let quietly = |mut command: Command| {
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command
            };
            let calls = tracer::run(&mut quietly(struck(0)), None).unwrap().calls.len();
            mend(0, "before the first blow");
            let step = std::env::var(STEP).ok().and_then(|text| text.parse().ok()).unwrap_or(short);
            BLOWS.map(|blow| {
                let mut fell = 0;
                for (round, at) in (1..=calls).step_by(step).enumerate() {
                    let ended = tracer::run(&mut quietly(struck(round + 1)), Some((At::Call(at), blow))).unwrap();
                    fell += usize::from(ended.calls.len() >= at);
                    mend(round + 1, &format!("{blow:?} at call {at} of {calls}"));
                }
                fell
            })
        }
    }

    /// Two programs that let everything pass, each time in other words.
    fn chain(what: &str, number: usize, map: &str, attach: &str) -> Workspace {
        let program = |name: &str, body: &str| {
            format!(
                "#include <ouro/program.h>\nSEC(\"xdp\") int {what}_{name}(struct xdp_md *ctx)\n{{\n\t{body}\n}}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
            )
        };
        Workspace::with(&[
            (
                "BUILD.ouro",
                &format!(
                    "bpf_map(name = \"seen\", {map})\n\
                     bpf_program(name = \"{what}_parse\", srcs = [\"parse.c\"], type = \"xdp\", jumps = [\":{what}_allow\"], on_miss = \"drop\")\n\
                     bpf_program(name = \"{what}_allow\", srcs = [\"allow.c\"], type = \"xdp\", maps = [\":seen\"])\n\
                     bpf_chain(name = \"fw\", entry = \":{what}_parse\", attach = [{attach}])\n"
                ),
            ),
            ("parse.c", &program("parse", &format!("OURO_JUMP(ctx, {what}_allow);"))),
            ("allow.c", &program("allow", &format!("return ctx->rx_queue_index == {} ? XDP_DROP : XDP_PASS;", 1000 + number))),
        ])
    }

    /// A map that is the same in both chains.
    fn array(_: usize) -> String {
        "type = \"array\", max_entries = 1".to_owned()
    }

    /// A map that each of them gets from the other.
    fn table(number: usize) -> String {
        format!("type = \"hash\", max_entries = {}, on_change = \"copy\"", 8 + number)
    }

    /// How the names of a test's programs begin: other tests have theirs, and so have those that somebody else runs.
    fn prefix(what: &str) -> String {
        format!("{}{}", &what[..1], std::process::id())
    }

    /// How many programs of these chains the kernel has.
    fn programs(prefix: &str) -> usize {
        let is_ours = |program: &&Value| program["name"].as_str().is_some_and(|name| name.starts_with(&format!("{prefix}_")));
        bpftool(&["prog", "show"]).as_array().unwrap().iter().filter(is_ours).count()
    }

    /// Runs strikes in a laboratory, under a flood when something is live all the time.
    #[expect(clippy::print_stderr, reason = "the counts are what the long run is for")]
    fn torture(what: &str, map: fn(usize) -> String, is_live: bool, strikes: impl Fn(&Bench<'_>) -> [usize; 4] + Send + Sync) {
        lab(|lab| {
            let prefix = prefix(what);
            let bench = Bench::new(lab, &prefix, map, |_| "xdp(interface = \"eth0\")".to_owned());
            bench.ok(bench.deploy(0), "first");
            let flood = is_live.then(|| lab.flood());
            let [killed, failed @ ..] = strikes(&bench);
            let (sent, received) = flood.map_or((0, 0), crate::lab::Flood::stop);
            assert_eq!(sent, received, "packets were lost");
            bench.ok(bench.command(&["undeploy", "fw"]), "in the end");
            assert!(!lab.bpffs.join("ouro").exists());
            let left = (0..100).map(|_| programs(&prefix)).find(|left| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                *left == 0
            });
            assert!(left.is_some(), "{} programs leaked", programs(&prefix));
            let failed: usize = failed.iter().sum();
            eprintln!("{what}: {killed} killed, {failed} calls failed; {sent} packets sent, none lost; nothing left");
        });
    }

    fn number(call: libc::c_long) -> u64 {
        u64::try_from(call).expect("a number of a call")
    }

    /// The command of bpf(2) that detaches a link.
    const DETACH: u64 = 34;

    /// The commands of bpf(2) that load a program and that write an element of a map.
    const LOAD: u64 = 5;
    const UPDATE: u64 = 2;

    /// Slots were filled while other programs were being loaded, which brings kernels before 6.7 down now and then.
    #[test]
    fn slots_are_filled_when_all_programs_are_loaded() {
        const LEAVES: usize = 9;
        lab(|lab| {
            let jumps: Vec<String> = (0..LEAVES).map(|leaf| format!("\":l{leaf}\"")).collect();
            let body: String =
                (0..LEAVES).map(|leaf| format!("if (ctx->rx_queue_index == {leaf}) OURO_JUMP(ctx, l{leaf});\n")).collect();
            let program = |name: &str, body: &str| {
                format!(
                    "#include <ouro/program.h>\nSEC(\"xdp\") int {name}(struct xdp_md *ctx)\n{{\n{body}return XDP_PASS;\n}}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
                )
            };
            let mut rules = format!(
                "bpf_program(name = \"e\", srcs = [\"e.c\"], type = \"xdp\", jumps = [{}], on_miss = \"pass\")\n\
                 bpf_chain(name = \"fw\", entry = \":e\", attach = [xdp(interface = \"eth0\")])\n",
                jumps.join(", ")
            );
            let chain = Workspace::with(&[("e.c", &program("e", &body))]);
            for leaf in 0..LEAVES {
                rules += &format!("bpf_program(name = \"l{leaf}\", srcs = [\"l{leaf}.c\"], type = \"xdp\")\n");
                chain.write(&format!("l{leaf}.c"), &program(&format!("l{leaf}"), ""));
            }
            chain.write("BUILD.ouro", &rules);
            let bundle = lab.folder().join("one");
            chain.ok(&["bundle", "//:fw", "-o", bundle.to_str().unwrap()]);
            let bench = Bench { lab, bundles: [bundle.clone(), bundle] };
            let calls = tracer::run(&mut bench.deploy(0), None).unwrap().calls;
            let of_bpf = |command: u64| move |call: &(u64, u64)| *call == (number(libc::SYS_bpf), command);
            let last = calls.iter().rposition(of_bpf(LOAD)).expect("programs are loaded");
            let filled = calls[last..].iter().filter(|call| of_bpf(UPDATE)(call)).count();
            assert!(filled >= LEAVES, "{filled} elements were written after the last program was loaded");
            bench.ok(bench.command(&["undeploy", "fw"]), "in the end");
        });
    }

    /// Netfilter's links do not tell whether they are detached. One that was, and was pinned still, was taken for one that runs: the
    /// next deploy had nothing to do, and no packet was filtered.
    #[test]
    fn a_netfilter_chain_that_was_detached_is_attached_again() {
        if !kernel_is_at_least(6, 4) {
            return;
        }
        lab(|lab| {
            let chain = Workspace::with(&[
                (
                    "BUILD.ouro",
                    "bpf_program(name = \"deny\", srcs = [\"deny.c\"], type = \"netfilter\")\n\
                     bpf_chain(name = \"fw\", entry = \":deny\", attach = [netfilter(\"ipv4\", hook = \"input\", priority = 9)])\n",
                ),
                (
                    "deny.c",
                    "#include <ouro/program.h>\nSEC(\"netfilter\") int deny(void *ctx)\n{\n\treturn 0;\n}\n\
                     char LICENSE[] SEC(\"license\") = \"GPL\";\n",
                ),
            ]);
            let bundle = lab.folder().join("one");
            chain.ok(&["bundle", "//:fw", "-o", bundle.to_str().unwrap()]);
            let bench = Bench { lab, bundles: [bundle.clone(), bundle.clone()] };
            let deploy = || bench.ok(bench.command(&["deploy", "--bundle", bundle.to_str().unwrap()]), "deploy");
            let undeploy = || bench.command(&["undeploy", "fw", "--if-exists"]);
            deploy();
            let calls = tracer::run(&mut undeploy(), None).unwrap().calls;
            let is_it = |call: &(u64, u64)| *call == (number(libc::SYS_bpf), DETACH);
            let detached = 1 + calls.iter().position(is_it).expect("it is detached");
            for at in detached - 3..=detached + 3 {
                deploy();
                tracer::run(&mut undeploy(), Some((At::Call(at), Blow::Kill))).unwrap();
                deploy();
                assert_eq!(lab.ping(2), 0, "killed at call {at}, {detached} detaches");
                bench.is_whole("afterwards");
                bench.ok(undeploy(), "in the end");
                assert_eq!(lab.ping(2), 2);
            }
        });
    }

    /// A set of chains that could not be removed failed a switch that was done: the new generation was removed while packets ran
    /// through it.
    #[test]
    fn what_cannot_be_removed_of_a_shared_device_is_left_to_the_next() {
        lab(|lab| {
            let bench = Bench::new(lab, "shared", array, |which| format!("xdp(interface = \"eth0\", priority = {})", 10 + which));
            bench.ok(bench.deploy(0), "first");
            let quietly = |which| {
                let mut command = bench.deploy(which);
                command.arg("--force").stdout(Stdio::null()).stderr(Stdio::null());
                command
            };
            let unlink = number(libc::SYS_unlink);
            tracer::run(&mut quietly(1), None).unwrap();
            let calls = tracer::run(&mut quietly(2), None).unwrap().calls;
            let removals = calls.iter().filter(|(call, _)| *call == unlink).count();
            assert!(removals > 3, "{removals} removals");
            let flood = lab.flood();
            for round in 1..=removals {
                tracer::run(&mut quietly(round), Some((At::Nth(unlink, round), Blow::Fail(libc::EIO)))).unwrap();
                assert!(lab.ping(3) > 0, "removal {round} of {removals}");
                bench.ok(bench.deploy(round), "afterwards");
                bench.is_whole("afterwards");
            }
            let (sent, received) = flood.stop();
            assert_eq!(sent, received, "packets were lost");
            bench.ok(bench.command(&["undeploy", "fw"]), "in the end");
            assert!(!lab.bpffs.join("ouro").exists() && !lab.bpffs.join("ouro-hooks").exists());
        });
    }

    #[test]
    fn deploys() {
        torture("deploys", array, true, |bench| {
            bench.strike(
                SHORT,
                |round| bench.deploy(round + 1),
                |round, when| {
                    bench.ok(bench.deploy(round + 1), when);
                    bench.is_whole(when);
                },
            )
        });
    }

    /// There and back, and on by what comes next: another rollback, or a deploy.
    #[test]
    fn rollbacks() {
        torture("rollbacks", array, true, |bench| {
            bench.ok(bench.deploy(1), "second");
            bench.strike(
                SHORTER,
                |_| bench.command(&["rollback", "fw"]),
                |round, when| {
                    let next = if round % 2 == 0 { bench.deploy(round / 2) } else { bench.command(&["rollback", "fw"]) };
                    bench.ok(next, when);
                    bench.is_whole(when);
                },
            )
        });
    }

    /// Trials that nobody waits for, confirmed or taken back.
    #[test]
    fn trials() {
        torture("trials", array, true, |bench| {
            bench.strike(
                SHORTER,
                |round| {
                    bench.on_trial(round + 1);
                    bench.command(&[if round % 2 == 0 { "confirm" } else { "rollback" }, "fw"])
                },
                |round, when| {
                    bench.ok(bench.deploy(round / 2), when);
                    bench.is_whole(when);
                    assert!(bench.status(when)["trial"].is_null(), "{when}");
                },
            )
        });
    }

    /// What a map holds goes from copy to copy, and is there whatever happened.
    #[test]
    fn copies() {
        torture("copies", table, true, |bench| {
            let fill = format!("bpftool map update pinned {} key 1 0 0 0 value 7 0 0 0 0 0 0 0", bench.map("first"));
            crate::lab::sh(&fill);
            bench.strike(
                SHORTER,
                |round| bench.deploy(round + 1),
                |round, when| {
                    // On, or back to what was live before.
                    let next = if round % 3 == 2 { bench.deploy(round) } else { bench.deploy(round + 1) };
                    bench.ok(next, when);
                    bench.is_whole(when);
                    let dump = bpftool(&["map", "dump", "pinned", &bench.map(when)]);
                    assert_eq!(dump.as_array().map(Vec::len), Some(1), "{when}: {dump}");
                },
            )
        });
    }

    #[test]
    fn undeploys() {
        torture("undeploys", array, false, |bench| {
            bench.strike(
                SHORT,
                |_| bench.command(&["undeploy", "fw", "--if-exists"]),
                |round, when| {
                    bench.ok(bench.command(&["undeploy", "fw", "--if-exists"]), when);
                    assert!(!bench.lab.bpffs.join("ouro").exists(), "{when}");
                    bench.ok(bench.deploy(round), when);
                    bench.is_whole(when);
                },
            )
        });
    }
}
