//! What a machine permits: the few rights a deploy takes, what `ouro doctor --kernel` says of them, and the unit that has no more.

#[path = "../deploy/tests/support/mod.rs"]
#[allow(dead_code, reason = "a laboratory has more than these tests use")]
mod lab;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Group, Lab, NEAR, kernel_is_at_least, lab, sh};
use serde_json::Value;
use support::{OURO, Said, Workspace};

const NOBODY: &str = "65534";
const BPF: u64 = 1 << 39;
const NET_ADMIN: u64 = 1 << 12;
const PERFMON: u64 = 1 << 38;

/// What deploying a chain of XDP programs takes. Without CAP_PERFMON older kernels also verify what a processor may do
/// speculatively, and refuse the jump's counter.
fn enough() -> &'static str {
    if kernel_is_at_least(6, 18) { "bpf,net_admin" } else { "bpf,net_admin,perfmon" }
}

/// Ouro and a bundle where everybody can read them, and a bpffs of nobody's.
struct Place {
    ouro: PathBuf,
    bundle: PathBuf,
    bpffs: PathBuf,
}

fn place(lab: &Lab) -> Place {
    let place =
        Place { ouro: lab.folder().join("ouro"), bundle: lab.folder().join("hello.bundle"), bpffs: lab.folder().join("own") };
    fs::copy(OURO, &place.ouro).unwrap();
    fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    Workspace::example("01-hello-xdp").ok(&["bundle", "//:hello", "-o", text(&place.bundle)]);
    fs::create_dir(&place.bpffs).unwrap();
    sh(&format!("mount -t bpf -o uid={NOBODY},gid={NOBODY},mode=0700 bpf {}", place.bpffs.display()));
    place
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A command as this user, with these capabilities (`bpf,net_admin`, or none) and no way to others.
fn limited(user: &str, capabilities: &str, program: &Path) -> Command {
    let set = capabilities.split(',').filter(|name| !name.is_empty()).fold("-all".to_owned(), |set, name| set + ",+" + name);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--inh-caps", &set, "--ambient-caps", &set]);
    command.args(["--bounding-set", &set, "--"]).arg(program).env_clear().current_dir("/");
    command
}

fn said(command: &mut Command) -> Said {
    Said::of(command.output().expect("setpriv runs"))
}

#[test]
fn two_capabilities_and_a_bpffs_of_ones_own_are_enough() {
    lab(|lab| {
        let place = place(lab);
        let run = |arguments: &[&str]| {
            let said = said(limited(NOBODY, enough(), &place.ouro).args(arguments).arg("--bpffs").arg(&place.bpffs));
            assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
            said
        };
        let deploy = ["deploy", "--bundle", text(&place.bundle), "--interface", NEAR];
        run(&deploy).says("deployed `//:hello`");
        assert_eq!(lab.ping(5), 5);
        run(&[&deploy[..], &["--force"]].concat()).says("deployed `//:hello`");
        let status: Value = serde_json::from_str(&run(&["status", "--json"]).out).unwrap();
        assert_eq!(
            (&status[0]["generation"], status[0]["problems"].as_array().map(Vec::len)),
            (&Value::from(2), Some(0)),
            "{status}"
        );
        // And root takes over what another user has deployed, although it gives up what makes it root.
        let root =
            |arguments: &[&str]| Said::of(Command::new(OURO).args(arguments).arg("--bpffs").arg(&place.bpffs).output().unwrap());
        let said = root(&[&deploy[..], &["--force"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let said = root(&["undeploy", "hello"]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(!place.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_missing_capability_is_named_with_the_command_that_grants_it() {
    lab(|lab| {
        let place = place(lab);
        let deploy = |capabilities: &str| {
            let mut command = limited(NOBODY, capabilities, &place.ouro);
            let said = said(
                command.args(["deploy", "--interface", NEAR, "--bundle"]).arg(&place.bundle).arg("--bpffs").arg(&place.bpffs),
            );
            assert_eq!(said.code, 3, "{}", said.err);
            said
        };
        deploy("").says("this process lacks CAP_BPF and CAP_NET_ADMIN");
        deploy("net_admin").says("this process lacks CAP_BPF\n");
        let said = deploy("bpf");
        said.says("this process lacks CAP_NET_ADMIN")
            .says("setcap cap_bpf,cap_net_admin+ep")
            .says("AmbientCapabilities=CAP_BPF CAP_NET_ADMIN");
        // Enough of them, and a bpffs of somebody else.
        fs::set_permissions(&lab.bpffs, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = limited(NOBODY, enough(), &place.ouro);
        let said = self::said(
            command.args(["deploy", "--interface", NEAR, "--bundle"]).arg(&place.bundle).arg("--bpffs").arg(&lab.bpffs),
        );
        assert_eq!(said.code, 3, "{}", said.err);
    });
}

/// Without rights every hook was told as refused, each for the same reason, with exit code 0.
#[test]
fn who_may_not_ask_for_hooks_is_told_so_once() {
    lab(|lab| {
        let place = place(lab);
        let said = said(limited(NOBODY, "", &place.ouro).arg("hooks"));
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{}", said.err);
        said.says("this process lacks CAP_BPF and CAP_NET_ADMIN");
        assert_eq!(said.err.matches("not permitted").count(), 1, "{}", said.err);
    });
}

/// The capabilities that a process holds or could take back.
fn permitted(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Waits until a process has exactly these capabilities.
fn comes_to(process: u32, expected: u64) -> bool {
    let until = Instant::now() + Duration::from_secs(30);
    while permitted(process) != Some(expected) {
        if Instant::now() > until || permitted(process).is_none() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn what_is_not_needed_is_given_up() {
    lab(|lab| {
        let place = place(lab);
        // Standard output is full, so that ouro waits with what it has to say.
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[b'x'; 65536]).unwrap();
        let arguments = ["deploy", "--json", "--interface", NEAR, "--bundle", text(&place.bundle), "--bpffs", text(&lab.bpffs)];
        let mut child = Command::new(OURO).args(arguments).stdout(writer).spawn().unwrap();
        let none = comes_to(child.id(), 0);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success() && rest.contains("\"steps\""), "{}", &rest[65536..]);
        assert!(none, "after the deploy it can do nothing");
        let again = [&arguments[..], &["--force"]].concat();
        assert!(Command::new(OURO).args(again).output().unwrap().status.success());
        for command in ["rollback", "undeploy"] {
            let (mut reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&[b'x'; 65536]).unwrap();
            let arguments = [command, "hello", "--json", "--bpffs", text(&lab.bpffs)];
            let mut child = Command::new(OURO).args(arguments).stdout(writer).spawn().unwrap();
            let few = comes_to(child.id(), BPF | NET_ADMIN | PERFMON);
            reader.read_to_end(&mut Vec::new()).unwrap();
            assert!(child.wait().unwrap().success() && few, "`{command}` mounts nothing");
        }
        let arguments = ["run", "--interface", NEAR, "--bundle", text(&place.bundle), "--bpffs", text(&lab.bpffs)];
        let mut child = Command::new(OURO).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let few = comes_to(child.id(), BPF | NET_ADMIN | PERFMON);
        // It can still take away what it deployed.
        while !lab.bpffs.join("ouro/hello/links").join(format!("xdp-{NEAR}")).exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(200));
        // SAFETY: signals a child that was not waited for yet.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        assert!(child.wait().unwrap().success() && few, "while it runs it can deploy and nothing else");
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

fn facts(said: &Said) -> Vec<Value> {
    let facts: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err));
    facts["checks"].as_array().expect("checks").clone()
}

fn fact<'a>(facts: &'a [Value], check: &str) -> &'a Value {
    facts.iter().find(|fact| fact["check"] == check).unwrap_or_else(|| panic!("no `{check}`"))
}

#[test]
fn doctor_knows_what_the_kernel_has() {
    lab(|lab| {
        let mut command = Command::new(OURO);
        command.args(["doctor", "--kernel", "--json", "--bpffs", text(&lab.bpffs)]).env("PATH", "/nonexistent").current_dir("/");
        let facts = facts(&Said::of(command.output().unwrap()));
        assert!(facts.iter().all(|fact| fact["check"] != "clang"), "only the kernel's part");
        // What another tool finds out, in its own way.
        let probed = lab::bpftool(&["feature", "probe", "kernel"]);
        for (check, ty) in [
            ("xdp", "xdp"),
            ("tc", "sched_cls"),
            ("cgroup_skb", "cgroup_skb"),
            ("cgroup/connect", "cgroup_sock_addr"),
            ("cgroup/sockopt", "cgroup_sockopt"),
            ("sockops", "sock_ops"),
            ("sk_msg, sk_skb", "sk_msg"),
            ("sk_lookup", "sk_lookup"),
            ("sk_reuseport", "sk_reuseport"),
            ("flow_dissector", "flow_dissector"),
            ("lwt", "lwt_xmit"),
            ("tracepoint", "tracepoint"),
            ("raw_tp", "raw_tracepoint"),
            ("perf_event", "perf_event"),
        ] {
            let theirs =
                probed["program_types"][format!("have_{ty}_prog_type")].as_bool().unwrap_or_else(|| panic!("{ty}: {probed}"));
            assert_eq!(fact(&facts, check)["status"] == "ok", theirs, "{check}: {facts:?}");
        }
        let has = |check: &str| fact(&facts, check)["status"] == "ok";
        let events = |source: &str| Path::new("/sys/bus/event_source/devices").join(source).exists();
        assert_eq!((has("kprobe"), has("uprobe")), (events("kprobe"), events("uprobe")));
        assert_eq!((has("tcx"), has("netfilter")), (kernel_is_at_least(6, 6), kernel_is_at_least(6, 4)));
        assert_eq!((has("struct_ops"), has("tp_btf"), has("iter"), has("token")), (true, true, true, kernel_is_at_least(6, 9)));
        for check in ["kernel", "jit", "bpffs", "privileges", "locked memory"] {
            assert_eq!(fact(&facts, check)["status"], "ok", "{check}");
        }
        assert!(fact(&facts, "bpffs")["what"].as_str().unwrap().ends_with("this user may write"));
        // Whatever is not there says what to do.
        for fact in facts.iter().filter(|fact| fact["status"] != "ok") {
            assert!(fact["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{fact}");
        }
    });
}

/// Trampolines are there, or refused with a reason: what the kernel itself says when such a program is loaded.
#[test]
fn a_refusal_is_no_absence() {
    let said = Said::of(Command::new(OURO).args(["doctor", "--kernel", "--json"]).output().unwrap());
    let facts = facts(&said);
    for check in ["fentry, fexit", "lsm"] {
        let fact = fact(&facts, check);
        let locked = fs::read_to_string("/sys/kernel/security/lockdown").is_ok_and(|modes| !modes.contains("[none]"));
        match fact["status"].as_str() {
            Some("ok" | "no") => {}
            Some("refused") => assert!(fact["remedy"].as_str().unwrap().contains("lockdown"), "{fact} {locked}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn doctor_tells_a_user_without_rights_what_to_ask_for() {
    lab(|lab| {
        let place = place(lab);
        let doctor = |capabilities: &str, bpffs: &Path| {
            let mut command = limited(NOBODY, capabilities, &place.ouro);
            facts(&said(command.args(["doctor", "--kernel", "--json", "--bpffs"]).arg(bpffs)))
        };
        fs::set_permissions(&lab.bpffs, fs::Permissions::from_mode(0o700)).unwrap();
        let none = doctor("", &lab.bpffs);
        assert_eq!(
            (&fact(&none, "xdp")["status"], &fact(&none, "xdp")["remedy"]),
            (&Value::from("refused"), &Value::from("ask as root: `sudo ouro doctor --kernel`"))
        );
        assert!(fact(&none, "privileges")["remedy"].as_str().unwrap().contains("setcap cap_bpf,cap_perfmon,cap_net_admin+ep"));
        let bpffs = fact(&none, "bpffs");
        assert_eq!(bpffs["status"], "warning");
        assert!(bpffs["remedy"].as_str().unwrap().contains("mount -t bpf -o uid=65534,mode=0700 bpf DIR"), "{bpffs}");
        let two = doctor("bpf,net_admin", &place.bpffs);
        assert_eq!((&fact(&two, "xdp")["status"], &fact(&two, "bpffs")["status"]), (&Value::from("ok"), &Value::from("ok")));
        assert!(fact(&two, "privileges")["what"].as_str().unwrap().contains("no CAP_PERFMON"));
    });
}

/// A folder that only its owner may enter, with a program in it.
fn private_program(lab: &Lab) -> PathBuf {
    let folder = lab.folder().join("private");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("app");
    sh(&format!(
        "echo 'int probed(void) {{ return 1; }} int main(void) {{ return probed(); }}' | clang-19 -O0 -x c -o {} -",
        program.display()
    ));
    sh(&format!("chown -R {NOBODY}:{NOBODY} {0} && chmod 0700 {0}", folder.display()));
    program
}

/// Chains at places beyond network devices: one of each kind of place.
fn elsewhere(lab: &Lab, group: &Group) -> Workspace {
    let program = private_program(lab);
    let of = |name: &str, ty: &str, place: &str| {
        format!(
            "bpf_program(name = \"{name}_entry\", srcs = [\"{name}.c\"], type = \"{ty}\")\n\
             bpf_chain(name = \"{name}\", entry = \":{name}_entry\", attach = [{place}])\n"
        )
    };
    let source = |name: &str, section: &str, verdict: u32| {
        format!(
            "#include <ouro/program.h>\nSEC(\"{section}\") int {name}_entry(void *ctx)\n{{\n\treturn {verdict};\n}}\n\
             char LICENSE[] SEC(\"license\") = \"GPL\";\n"
        )
    };
    let uprobe = format!("uprobe(binary = \"{}\", function = \"probed\")", program.display());
    let workspace = Workspace::with(&[
        ("probe.c", &source("probe", "uprobe", 0)),
        ("trace.c", &source("trace", "tracepoint", 0)),
        ("group.c", &source("group", "cgroup_skb/egress", 1)),
    ]);
    let tracepoint = "tracepoint(name = \"syscalls/sys_enter_getpgid\")";
    let cgroup = format!("cgroup(path = \"{}\")", group.path);
    let mut build = of("probe", "uprobe", &uprobe) + &of("trace", "tracepoint", tracepoint);
    build += &of("group", "cgroup_skb/egress", &cgroup);
    if kernel_is_at_least(6, 4) {
        build += &of("net", "netfilter", "netfilter(family = \"ipv4\", hook = \"input\", priority = 7)");
        workspace.write("net.c", &source("net", "netfilter", 1));
    }
    workspace.write("BUILD.ouro", &build);
    workspace
}

/// Root gives up what makes it root; what it takes to read another user's files it keeps where a probe is to be put there.
#[test]
fn places_beyond_devices_take_no_more_than_their_own_rights() {
    lab(|lab| {
        let group = Group::new("rights");
        let workspace = elsewhere(lab, &group);
        let netfilter = kernel_is_at_least(6, 4).then_some("net");
        for chain in ["probe", "trace", "group"].into_iter().chain(netfilter) {
            let bundle = workspace.path(&format!("{chain}.bundle"));
            workspace.ok(&["bundle", &format!("//:{chain}"), "-o", text(&bundle)]);
            let deploy = ["deploy", "--bundle", text(&bundle), "--bpffs", text(&lab.bpffs)];
            let run = |arguments: &[&str]| {
                let rights =
                    if chain == "probe" { "bpf,net_admin,perfmon,dac_read_search,sys_admin" } else { "bpf,net_admin,perfmon" };
                let said = said(limited("0", rights, Path::new(OURO)).args(arguments));
                assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
            };
            run(&deploy);
            run(&[&deploy[..], &["--force"]].concat());
            run(&["rollback", chain, "--bpffs", text(&lab.bpffs)]);
            run(&["undeploy", chain, "--bpffs", text(&lab.bpffs)]);
            // And whoever has all of them.
            let root = |arguments: &[&str]| Said::of(Command::new(OURO).args(arguments).current_dir("/").output().unwrap());
            let said = root(&deploy);
            assert_eq!(said.code, 0, "{chain}: {}{}", said.out, said.err);
            assert_eq!(root(&["undeploy", chain, "--bpffs", text(&lab.bpffs)]).code, 0);
        }
    });
}

/// The values of a unit's key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_deploys_with_what_it_grants_and_nothing_else() {
    lab(|lab| {
        let place = place(lab);
        let folder = lab.folder().join("unit");
        let said = Said::of(
            Command::new(&place.ouro)
                .args([
                    "systemd",
                    "--bundle",
                    text(&place.bundle),
                    "--interface",
                    NEAR,
                    "--bpffs",
                    text(&lab.bpffs),
                    "--undeploy-on-stop",
                    "-o",
                ])
                .arg(&folder)
                .current_dir("/")
                .output()
                .unwrap(),
        );
        assert_eq!(said.code, 0, "{}", said.err);
        let file = folder.join("ouro-hello.service");
        // The laboratory's bpffs is none that systemd mounts by itself.
        assert!(
            said.out.starts_with("systemctl link '")
                && said.out.ends_with(&format!("\nsystemctl enable --now {}\n", file.display()))
        );
        assert_eq!(fs::read(folder.join("hello.bundle")).unwrap(), fs::read(&place.bundle).unwrap());
        let unit = fs::read_to_string(&file).unwrap();
        for (key, value) in [
            ("Type", "oneshot"),
            ("RemainAfterExit", "yes"),
            ("Restart", "on-failure"),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("ReadWritePaths", text(&lab.bpffs)),
            ("CapabilityBoundingSet", "CAP_BPF CAP_NET_ADMIN"),
            ("AmbientCapabilities", "CAP_BPF CAP_NET_ADMIN"),
            ("After", &format!("sys-subsystem-net-devices-{NEAR}.device")),
            ("Wants", &format!("sys-subsystem-net-devices-{NEAR}.device")),
            ("RequiresMountsFor", &format!("{} {}", lab.bpffs.display(), folder.display())),
            ("WantedBy", "multi-user.target"),
        ] {
            assert_eq!(values(&unit, key), [value], "{key} of\n{unit}");
        }
        // What systemd would run, as the user and with the capabilities that it would be run with.
        let run = |line: &str| {
            let mut words = line.split(' ');
            let program = Path::new(words.next().unwrap());
            let said = self::said(limited("0", enough(), program).args(words));
            assert_eq!(said.code, 0, "{}", said.err);
        };
        run(values(&unit, "ExecStart")[0]);
        assert_eq!(lab.ping(3), 3);
        assert!(lab.bpffs.join("ouro/hello").exists());
        run(values(&unit, "ExecStop")[0]);
        assert!(!lab.bpffs.join("ouro").exists());
        judged_by_systemd(&file);
    });
}

/// Trying packets takes a mount, which a unit may not make: a chain with tests was not live after a boot, and values that were set were
/// lost.
#[test]
fn the_unit_deploys_a_chain_with_tests_and_what_was_set() {
    lab(|lab| {
        let workspace = Workspace::with(&[
            (
                "BUILD.ouro",
                "bpf_program(name = \"entry\", srcs = [\"entry.c\"], type = \"xdp\")\n\
                 bpf_chain(name = \"fw\", entry = \":entry\", attach = [xdp(interface = \"eth0\")],\n    \
                 tests = [packet(\"all pass\", data = \"00\" * 64, verdict = \"pass\")])\n",
            ),
            (
                "entry.c",
                "#include <ouro/program.h>\nconst volatile __u32 verdict = XDP_PASS;\n\
                 SEC(\"xdp\") int entry(struct xdp_md *ctx)\n{\n\treturn verdict;\n}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n",
            ),
        ]);
        let flags = ["--interface", NEAR, "--bpffs", text(&lab.bpffs), "--set", "verdict=1"];
        workspace.ok(&[&["systemd", "//:fw"], &flags[..]].concat());
        let unit = workspace.read("ouro-fw.service");
        let line = values(&unit, "ExecStart")[0];
        let mut words = line.split(' ');
        let program = Path::new(words.next().unwrap());
        let said = said(limited("0", enough(), program).args(words));
        assert_eq!(said.code, 0, "{line}: {}", said.err);
        assert_eq!(lab.ping(2), 0, "it drops, as was set");
        // Who may not mount is told what helps: of a dry run nothing would be left without the tests.
        let bundle = workspace.path("fw.bundle");
        let arguments = ["deploy", "--bundle", text(&bundle), "--interface", NEAR, "--bpffs", text(&lab.bpffs)];
        for (flag, help) in [("--dry-run", "`ouro plan` tells without it"), ("--force", "or deploy with `--no-tests`")] {
            let said = self::said(limited("0", enough(), Path::new(OURO)).args(arguments).arg(flag));
            assert_eq!(said.code, 3, "{flag}: {}", said.err);
            said.says(help);
        }
    });
}

/// At boot nobody says whom to trust but the unit.
#[test]
fn the_unit_trusts_whom_the_workspace_trusts() {
    let workspace = Workspace::example("01-hello-xdp");
    workspace.ok(&["key", "new", "our.key"]);
    workspace.write("ouro.toml", "[deploy]\ntrusted_keys = ['our.key.pub']\n");
    workspace.fails(3, &["systemd", "//:hello"]).says("is not signed");
    assert!(!workspace.path("hello.bundle").exists());
    let said = workspace.ok(&["systemd", "//:hello", "--sign", "our.key"]);
    assert_eq!(said.out, format!("systemctl enable --now {}\n", workspace.path("ouro-hello.service").display()));
    let unit = workspace.read("ouro-hello.service");
    let key = workspace.read("our.key.pub").replace(" our.key\n", "");
    assert!(values(&unit, "ExecStart")[0].ends_with(&format!(" --trusted-key \"{key}\"")), "{unit}");
    workspace.ok(&["bundle", "--verify", "hello.bundle", "--trusted-key", "our.key.pub"]);
}

/// Systemd's own word, where it is installed.
fn judged_by_systemd(file: &Path) {
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(file).output();
    let Ok(verified) = analyze(&["verify", "--man=no", "--recursive-errors=no"]) else { return };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("ouro-hello.service:"), "{said}");
    let secure = analyze(&["security", "--offline=true", "--threshold=35", "--no-pager"]).expect("it ran before");
    assert!(secure.status.success(), "{}{}", String::from_utf8_lossy(&secure.stdout), String::from_utf8_lossy(&secure.stderr));
}
