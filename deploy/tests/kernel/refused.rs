//! What is refused, with its reason and remedy, and leaves everything as it was.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use ouro_deploy::{Conflict, Error, ErrorKind, Options, Problem, RemoveOptions};

use crate::chain::{Chain, map, xdp};
use crate::missing::precedes;
use crate::raw::{link_update, map_update};
use crate::support::{Lab, kernel_is_at_least, lab, sh};
use crate::{deploy, deployed, nothing_left, status, undeployed};

/// Deploys, which must fail, and leave nothing behind.
fn refused(lab: &Lab, chain: &Chain) -> Error {
    let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err();
    assert!(!lab.bpffs.join("ouro").exists(), "{error}: {}", sh(&format!("find {}", lab.bpffs.display())));
    error
}

fn conflicts(error: Error) -> Vec<Conflict> {
    let Error::Conflicts(conflicts) = error else { panic!("{error:?}") };
    conflicts
}

#[test]
fn a_missing_device_is_named_with_its_neighbours() {
    lab(|lab| {
        let error = refused(lab, &Chain::firewall().attach(&[xdp("naer0")]));
        assert_eq!(
            (error.to_string().as_str(), error.help().as_deref()),
            ("there is no network device `naer0`", Some("did you mean `near0`?"))
        );
        let error = refused(lab, &Chain::firewall().attach(&[xdp("wlp3s0")]));
        assert_eq!(error.help().as_deref(), Some("there are: lo, near0"));
        assert_eq!(error.kind(), ErrorKind::Failed);
    });
}

#[test]
fn a_folder_that_is_no_bpffs() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        for folder in [lab.folder().to_owned(), lab.folder().join("missing")] {
            let error = ouro_deploy::deploy(&folder, &bundle, &Options::default(), &mut |_| {}).unwrap_err();
            assert!(matches!(error, Error::NoBpffs(_)), "{error}");
            assert_eq!(
                (error.help(), error.kind()),
                (
                    Some(format!("mount one on a folder of its own: `mkdir -p {0} && mount -t bpf bpf {0}`", folder.display())),
                    ErrorKind::NotPermitted
                )
            );
            assert!(ouro_deploy::status(&folder).is_err() && !folder.join("ouro").exists());
        }
    });
}

/// Runs on a thread that has only these capabilities.
fn with_capabilities<T: Send>(capabilities: u64, run: impl FnOnce() -> T + Send) -> T {
    let limited = || {
        let header = [0x2008_0522u32, 0];
        let (low, high) = ((capabilities & 0xffff_ffff) as u32, (capabilities >> 32) as u32);
        let data = [low, low, 0, high, high, 0];
        // SAFETY: version 3 reads two data structures of three words; only this thread is affected.
        assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }, 0);
        run()
    };
    std::thread::scope(|scope| scope.spawn(limited).join().unwrap())
}

#[test]
fn a_process_without_rights_is_told_which() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        let error = with_capabilities(0, || deploy(lab, &bundle)).unwrap_err();
        assert_eq!(error.to_string(), "not permitted: this process lacks CAP_BPF and CAP_NET_ADMIN");
        assert_eq!(error.kind(), ErrorKind::NotPermitted);
        let error = with_capabilities(1 << 39, || deploy(lab, &bundle)).unwrap_err();
        assert_eq!(error.to_string(), "not permitted: this process lacks CAP_NET_ADMIN");
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn few_capabilities_are_enough() {
    lab(|lab| {
        // Without CAP_PERFMON older kernels also verify what a processor may do speculatively, and refuse the jump's counter.
        let capabilities = if kernel_is_at_least(6, 18) { 1 << 39 | 1 << 12 } else { 1 << 39 | 1 << 12 | 1 << 38 };
        let bundle = Chain::firewall().bundle(lab.folder());
        with_capabilities(capabilities, || {
            deployed(lab, &bundle);
            crate::redeployed(lab, &bundle);
            assert_eq!(status(lab).problems, []);
            ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap();
        });
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_folder_of_another_user() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        fs::set_permissions(&lab.bpffs, fs::Permissions::from_mode(0o500)).unwrap();
        let error = with_capabilities(1 << 39 | 1 << 12, || deploy(lab, &bundle)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error}");
    });
}

#[test]
fn the_verifier_says_no() {
    lab(|lab| {
        let body = "char *packet = (void *)(long)ctx->data;\n\n return packet[40];";
        let error = refused(lab, &Chain::firewall().program("broken", "xdp", body, &[]));
        let Error::Failed { cause, .. } = error else { panic!("{error}") };
        let Error::Rejected(rejection) = *cause else { panic!("{cause}") };
        assert_eq!(rejection.program, "broken");
        assert!(rejection.to_string().contains("invalid access to packet"), "{rejection}");
        let place = rejection.place.as_ref().unwrap();
        assert!(place.text.contains("return packet[40]"), "{rejection:?}");
        if kernel_is_at_least(6, 9) {
            assert!(place.file.as_deref().unwrap().ends_with("broken.c"), "{rejection:?}");
            let source = fs::read_to_string(lab.folder().join("broken.c")).unwrap();
            let line = source.lines().nth(place.line.unwrap() as usize - 1).unwrap();
            assert_eq!(line.trim(), "return packet[40];");
        }
        assert!(rejection.log.contains("processed "), "{}", rejection.log);
    });
}

#[test]
fn source_that_is_not_utf8_does_no_harm() {
    lab(|lab| {
        let mut chain = Chain::firewall().program("broken", "xdp", "return *(char *)(long)ctx->data; // MARK", &[]);
        chain.globals.clear();
        let mut bundle = chain.bundle(lab.folder());
        // As a compiler would store a source in Latin-1.
        let object = bundle.objects.get_mut("objects/broken.o").unwrap();
        let at: Vec<usize> = object.windows(4).enumerate().filter(|(_, window)| window == b"MARK").map(|(at, _)| at).collect();
        at.into_iter().for_each(|at| object[at] = 0xe9);
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.to_string().contains("// ?ARK"), "{error}");
    });
}

#[test]
fn programs_of_different_types_share_no_table() {
    if precedes("`xdp.frags` programs", "5.18") {
        return;
    }
    lab(|lab| {
        let mixed = Chain::new("fw")
            .program("parse", "xdp", "JUMP(next);", &["next"])
            .program("next", "xdp.frags", "JUMP(last);", &["last"])
            .program("last", "xdp", "return XDP_PASS;", &[]);
        let error = refused(lab, &mixed).to_string();
        assert!(error.contains("`next`") && error.contains("belongs to programs of another type"), "{error}");
        let inserted = Chain::new("fw").program("parse", "xdp", "JUMP(next);", &["next"]).program(
            "next",
            "xdp.frags",
            "return XDP_PASS;",
            &[],
        );
        let error = refused(lab, &inserted).to_string();
        assert!(error.contains("slot 1") && error.contains("differ"), "{error}");
    });
}

#[test]
fn bundles_that_make_no_sense() {
    lab(|lab| {
        let error = refused(lab, &Chain { table_size: Some(2), ..Chain::firewall() }).to_string();
        assert!(error.contains("slot 3") && error.contains("too small"), "{error}");
        let mut bundle = Chain::firewall().bundle(lab.folder());
        bundle.objects.insert("objects/allow.o".to_owned(), b"no object".to_vec());
        let error = deploy(lab, &bundle).unwrap_err().to_string();
        assert!(error.contains("cannot load `allow`"), "{error}");
        bundle.objects.remove("objects/allow.o");
        let error = deploy(lab, &bundle).unwrap_err().to_string();
        assert!(error.contains("the bundle has no `objects/allow.o`"), "{error}");
        let mut unknown = Chain::firewall().bundle(lab.folder());
        unknown.manifest.maps.push(map("other", "hsh", 1));
        let error = deploy(lab, &unknown).unwrap_err().to_string();
        assert!(error.contains("cannot load `other`: `hsh` is no type of map"), "{error}");
        let mut renamed = Chain::firewall().bundle(lab.folder());
        renamed.manifest.name = "../../etc".to_owned();
        assert!(matches!(deploy(lab, &renamed), Err(Error::Name(_))));
        let mut renamed = Chain::firewall().bundle(lab.folder());
        renamed.manifest.programs[1].name = "../x".to_owned();
        let found = conflicts(deploy(lab, &renamed).unwrap_err());
        assert_eq!(found, [Conflict::Name { name: "../x".to_owned() }]);
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_device_that_runs_another_program() {
    lab(|lab| {
        deployed(lab, &Chain { name: "other".to_owned(), ..Chain::firewall() }.bundle(lab.folder()));
        let theirs = status(lab);
        let error = deploy(lab, &Chain::firewall().bundle(lab.folder())).unwrap_err();
        let found = conflicts(error);
        let [Conflict::Taken { program, deployment, .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((*program, deployment.as_deref()), (theirs.programs[0].id, Some("other")));
        assert!(found[0].help().contains("`ouro undeploy other`"));
        // Somebody else's program is told by its id.
        std::fs::remove_dir_all(lab.bpffs.join("ouro/other/gen-1")).unwrap();
        let found = conflicts(deploy(lab, &Chain::firewall().bundle(lab.folder())).unwrap_err());
        assert!(found[0].help().contains("bpftool prog show id"), "{found:?}");
        assert!(!lab.bpffs.join("ouro/fw").exists());
        undeployed(lab, "other");
    });
}

#[test]
fn a_deployment_of_another_chain() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let found = conflicts(
            deploy(lab, &Chain { label: "//other:fw".to_owned(), ..Chain::firewall() }.bundle(lab.folder())).unwrap_err(),
        );
        assert_eq!(found[0].to_string(), "the deployment `fw` belongs to the chain `//test:fw`, not to `//other:fw`");
        assert_eq!(found.len(), 1);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_map_with_another_definition() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let mut bundle = Chain::firewall().bundle(lab.folder());
        bundle.manifest.maps[0].max_entries = 16;
        bundle.manifest.maps[0].ty = "hash".to_owned();
        let found = conflicts(deploy(lab, &bundle).unwrap_err());
        assert_eq!(
            found[0].to_string(),
            "map `seen` is pinned with another definition: type is array, declared is hash; max_entries is 1, declared is 16"
        );
        assert!(found[0].help().contains("`on_change = \"reset\"`: what it holds is dropped"), "{}", found[0].help());
        undeployed(lab, "fw");
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_link_somebody_changed() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let before = status(lab);
        let hook = &before.hooks[0];
        link_update(hook.path.as_ref().unwrap(), &before.programs[2].path);
        let theirs = before.programs[2].id.unwrap();
        assert!(status(lab).problems.contains(&Problem::ForeignProgram { hook: hook.name.clone(), program: Some(theirs) }));
        let found = conflicts(deploy(lab, &bundle).unwrap_err());
        assert_eq!(found, [Conflict::Changed { hook: hook.hook.clone(), program: Some(theirs) }]);
        let undeploy = |force| ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions { force, keep_maps: false }, &mut |_| {});
        assert_eq!(conflicts(undeploy(false).unwrap_err()), found);
        undeploy(true).unwrap();
        nothing_left(lab, &before, &[]);
    });
}

#[test]
fn a_live_table_cannot_be_changed() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let table = lab.bpffs.join("ouro/fw/gen-1/maps/table");
        let program = crate::raw::get(&lab.bpffs.join("ouro/fw/gen-1/progs/block"));
        let error = map_update(&table, 3, &program.as_raw_fd().to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    });
}

#[test]
fn what_others_put_there_stays() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let (first, second) = (lab.bpffs.join("ouro/fw/maps/theirs"), lab.bpffs.join("ouro/fw/gen-1/progs/theirs"));
        for path in [&first, &second] {
            sh(&format!("bpftool map create {} type array key 4 value 4 entries 1 name theirs", path.display()));
        }
        assert_eq!(status(lab).foreign, [second.clone(), first.clone()]);
        let done = ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(done.foreign, [second.clone(), first.clone()]);
        assert!(first.exists() && second.exists());
        let left = sh(&format!("find {} -type f | sort", lab.bpffs.join("ouro").display()));
        assert_eq!(left, format!("{}\n{}\n", second.display(), first.display()));
        // And they are in nobody's way.
        deployed(lab, &bundle);
        assert_eq!(status(lab).generation, Some(2));
        assert_eq!(lab.ping(3), 3);
    });
}

#[test]
fn one_deployer_at_a_time() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        let folder = fs::File::open(lab.bpffs.join("ouro/fw")).unwrap();
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX) }, 0);
        assert!(matches!(deploy(lab, &bundle), Err(Error::Busy(_))));
        assert!(matches!(ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}), Err(Error::Busy(_))));
        assert_eq!(status(lab).problems, [], "looking needs no lock");
        drop(folder);
        undeployed(lab, "fw");
    });
}
