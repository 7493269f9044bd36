//! What needs trampolines beside functions of the kernel: functions of programs that others replace, and tables of functions that
//! the kernel calls.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;

use ouro_cache::Digest;
use ouro_deploy::{Error, Options, Problem, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, ManifestProgram, PacketTest, Replaces, StructOps};

use crate::chain::{Chain, compile, count, map, xdp};
use crate::missing::precedes;
use crate::support::{Lab, NEAR, kernel_is_at_least, lab};
use crate::{deploy, deployed, generation_folders, redeployed, seen, status, undeployed};

const DROP: i32 = 1;
const PASS: i32 = 2;

/// Says why a test ends early. A kernel that is not locked down must do everything.
#[expect(clippy::print_stderr, reason = "tests have nobody else to tell")]
fn refused(lab: &Lab, error: &Error) {
    let modules = fs::read_to_string("/sys/kernel/security/lsm");
    let is_open = modules.is_ok_and(|modules| !modules.contains("lockdown"));
    assert!(!is_open && error.to_string().contains("not permitted"), "{error}\n{:?}", error.help());
    assert!(generation_folders(lab).is_empty(), "{error}");
    eprintln!("this kernel is locked down and has no trampolines: {error}");
}

const POLICY: &str = "__weak int policy(struct xdp_md *ctx) { return XDP_PASS; }";

/// An entry that asks `policy`, which passes; in its place stands what answers with `verdict`.
fn extended(folder: &Path, verdict: i32) -> Bundle {
    let mut chain = Chain::new("fw").program("entry", "xdp", "return policy(ctx);", &[]).attach(&[xdp(NEAR)]);
    chain.globals = POLICY.into();
    chain.tests.push(PacketTest { name: "any".into(), data: "00".repeat(64), verdict });
    extend(chain.bundle(folder), folder, "entry", verdict)
}

/// The same chain with one more program, which replaces `policy` of `program`.
fn extend(mut bundle: Bundle, folder: &Path, program: &str, verdict: i32) -> Bundle {
    let source = format!(
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n\
         SEC(\"freplace/policy\") int other(struct xdp_md *ctx) {{ return {verdict}; }}\nchar _license[] SEC(\"license\") = \"GPL\";\n"
    );
    let object = compile(folder, "other", &source);
    bundle.manifest.programs.push(ManifestProgram {
        label: "//test:other".into(),
        name: "other".into(),
        ty: "freplace/policy".into(),
        function: "other".into(),
        object: "objects/other.o".into(),
        digest: Digest::of(&object).to_string(),
        replaces: Some(Replaces { program: program.into(), function: "policy".into() }),
        ..ManifestProgram::default()
    });
    bundle.objects.insert("objects/other.o".into(), object);
    bundle.digest = Digest::of(format!("{:?}", bundle.manifest).as_bytes()).to_string();
    bundle
}

/// Why the rules let the entry alone be extended: what stands in a table the kernel does not let be extended.
#[test]
fn what_stands_in_a_table_is_not_extended() {
    lab(|lab| {
        let chain = Chain::new("fw").program("entry", "xdp", "JUMP(next);", &["next"]).attach(&[xdp(NEAR)]);
        let mut chain = chain.program("next", "xdp", "return policy(ctx);", &[]);
        chain.globals = POLICY.into();
        match deploy(lab, &extend(chain.bundle(lab.folder()), lab.folder(), "next", DROP)) {
            Ok(_) => assert!(!kernel_is_at_least(6, 13)),
            Err(error) if error.to_string().contains("stands in a jump table") => assert!(!lab.bpffs.join("ouro").exists()),
            Err(error) => refused(lab, &error),
        }
    });
}

#[test]
fn an_extension_is_there_before_its_program_runs() {
    lab(|lab| {
        // Before it drops everything: so the ends know each other's addresses.
        assert_eq!(lab.ping(1), 1);
        let (strict, lax) = (extended(lab.folder(), DROP), extended(lab.folder(), PASS));
        let steps = match ouro_deploy::deploy(&lab.bpffs, &strict, &Options::default(), &mut |_| {}) {
            Ok(plan) => plan.steps,
            Err(error) => return refused(lab, &error),
        };
        let place = |steps: &[Step], wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
        assert!(
            place(&steps, |step| matches!(step, Step::Extend { .. })) < place(&steps, |step| matches!(step, Step::Attach { .. }))
        );
        assert_eq!(lab.ping(3), 0, "what replaces the policy drops");
        let found = status(lab);
        assert_eq!((found.problems.as_slice(), found.foreign.as_slice()), (&[][..], &[][..]));

        let steps = deployed(lab, &lax);
        assert!(
            place(&steps, |step| matches!(step, Step::Extend { .. })) < place(&steps, |step| matches!(step, Step::Switch { .. }))
        );
        assert_eq!(lab.ping(3), 3);
        redeployed(lab, &lax);
        assert_eq!((lab.ping(3), generation_folders(lab).len()), (3, 2));
        deployed(lab, &strict);
        assert_eq!(lab.ping(3), 0);
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(lab.ping(3), 3, "the extension of the generation before was there all the time");
        undeployed(lab, "fw");
    });
}

/// Where the kernel takes no extensions, one that is optional is left out, and the function stays.
#[test]
fn an_optional_extension_is_not_missed() {
    lab(|lab| {
        assert_eq!(lab.ping(1), 1);
        let mut bundle = extended(lab.folder(), DROP);
        bundle.manifest.tests.clear();
        bundle.manifest.programs[1].optional = true;
        deployed(lab, &bundle);
        let found = status(lab);
        assert_eq!(found.problems, []);
        assert_eq!(lab.ping(3), if found.programs[1].left_out { 3 } else { 0 });
        undeployed(lab, "fw");
        bundle.manifest.programs[1].requires = vec!["999.0".parse().unwrap()];
        deployed(lab, &bundle);
        assert!(status(lab).programs[1].left_out);
        assert_eq!((lab.ping(3), status(lab).problems), (3, vec![]));
        undeployed(lab, "fw");
    });
}

#[test]
fn an_extension_moves_with_its_program() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.99.1");
        let bundle = extended(lab.folder(), DROP);
        if let Err(error) = deploy(lab, &bundle) {
            return refused(lab, &error);
        }
        let mut both = bundle.clone();
        both.manifest.attach.push(xdp("near1"));
        let steps = deployed(lab, &both);
        assert!(steps.iter().any(|step| matches!(step, Step::AdoptGeneration { .. })), "{steps:?}");
        assert_eq!((lab.ping(2), lab.ping_address("10.99.1.1", 2)), (0, 0));
        // The first generation goes, and its pin of the link with it.
        redeployed(lab, &both);
        assert_eq!((lab.ping(2), status(lab).problems), (0, vec![]));

        let link = lab.bpffs.join("ouro/fw/gen-3/extensions/other");
        fs::remove_file(&link).unwrap();
        assert_eq!(status(lab).problems, [Problem::ExtensionGone { program: "other".into() }]);
        deployed(lab, &both);
        assert_eq!((lab.ping(2), status(lab).problems), (0, vec![]), "a generation that is not whole is not used again");
        undeployed(lab, "fw");
    });
}

/// A congestion control that leaves the window as it is and counts by `step`.
fn control(name: &str, step: u64) -> Chain {
    let chain = Chain::new("fw").map(map("seen", "array", 1));
    let count = count("seen").replace("(n, 1)", &format!("(n, {step})"));
    let mut chain = chain.program("ssthresh", "struct_ops/ssthresh", "return 2;", &[]);
    chain.globals = format!(
        "struct sock;\n\
         struct tcp_congestion_ops {{ int ouro_only; unsigned int (*ssthresh)(struct sock *); \
         void (*cong_avoid)(struct sock *, unsigned int, unsigned int); unsigned int (*undo_cwnd)(struct sock *); char name[16]; }};\n\
         int ssthresh(void *ctx);\n\
         SEC(\"struct_ops\") void cong_avoid(unsigned long long *ctx) {count}\n\
         SEC(\"struct_ops\") unsigned int undo_cwnd(unsigned long long *ctx) {{ return 10; }}\n\
         SEC(\".struct_ops.link\") struct tcp_congestion_ops ours = {{ .ssthresh = (void *)ssthresh, \
         .cong_avoid = (void *)cong_avoid, .undo_cwnd = (void *)undo_cwnd, .name = \"{name}\" }};\n"
    );
    chain.attach(&[Attach::StructOps(StructOps { table: "ours".into(), ty: "tcp_congestion_ops".into() })])
}

fn is_available(name: &str) -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
        .unwrap()
        .split_whitespace()
        .any(|known| known == name)
}

/// Sends a megabyte over lo, from a socket that has this congestion control.
fn talk(name: &str) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    // SAFETY: the kernel reads the name within its length.
    let set = unsafe {
        let length = libc::socklen_t::try_from(name.len()).unwrap();
        libc::setsockopt(sender.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_ptr().cast(), length)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    let receiver = std::thread::spawn(move || {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        all.len()
    });
    sender.write_all(&vec![7; 1 << 20]).unwrap();
    drop(sender);
    assert_eq!(receiver.join().unwrap(), 1 << 20);
}

#[test]
fn a_table_of_functions_is_registered_and_replaced() {
    if precedes("links of tables", "6.4") {
        return;
    }
    const NAME: &str = "ouro_replaced";
    const MANY: u64 = 1 << 32;
    lab(|lab| {
        let (first, second) = (control(NAME, 1).bundle(lab.folder()), control(NAME, MANY).bundle(lab.folder()));
        if let Err(error) = deploy(lab, &first) {
            return refused(lab, &error);
        }
        assert!(is_available(NAME));
        talk(NAME);
        let once = seen(lab);
        assert!((1..MANY).contains(&once), "{once}");
        let found = status(lab);
        assert_eq!((found.generation, found.problems, found.foreign), (Some(1), vec![], vec![]));

        let steps = deployed(lab, &second);
        assert!(steps.iter().any(|step| matches!(step, Step::Switch { .. })), "{steps:?}");
        assert_eq!((status(lab).generation, status(lab).problems), (Some(2), vec![]));
        talk(NAME);
        let twice = seen(lab);
        assert_eq!((twice % MANY, twice >= MANY), (once, true), "the second table alone was used");

        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status(lab).generation, Some(1));
        talk(NAME);
        assert!(seen(lab) - twice < MANY, "the first table is used again");
        undeployed(lab, "fw");
        assert!(!is_available(NAME));
    });
}

#[test]
fn what_is_wrong_with_a_table_is_told_before_it_is_used() {
    lab(|lab| {
        let told = |chain: Chain| deploy(lab, &chain.bundle(lab.folder())).unwrap_err().to_string();
        let edited = |from: &str, to: &str| {
            let mut chain = control("ouro_wrong", 1);
            chain.globals = chain.globals.replace(from, to);
            chain
        };
        let misspelt = told(edited("undo_cwnd", "undo_cwdn"));
        assert!(misspelt.contains("has no `undo_cwdn`"), "{misspelt}");
        let unknown = told(edited("tcp_congestion_ops", "tcp_congestion_opz"));
        assert!(unknown.contains("tcp_congestion_opz"), "{unknown}");
        assert!(!lab.bpffs.join("ouro").exists());
        // Objects are made where the kernel is new, also those for older ones.
        let right = control("ouro_wrong", 1).bundle(lab.folder());
        if !kernel_is_at_least(6, 4) {
            let error = deploy(lab, &right).unwrap_err().to_string();
            assert!(error.contains("Linux 6.4"), "{error}");
        }
    });
}
