//! Bundles: linked from real objects, read back, and refused when they would lead a deployer astray.

#[expect(dead_code, reason = "no program here has several sources")]
mod clang;

use std::collections::BTreeMap;

use ouro_rules::bundle::{Bundle, link};
use ouro_rules::chain::{ChainSpec, MAX_EDGES, Member, Tried};
use ouro_rules::header::HeaderSpec;
use ouro_rules::manifest::{
    Arguments, Attach, Bytes, Content, Edge, Element, Kprobe, Layout, Manifest, MapSpec, PacketTest, Replaces, StructOps, Usdt,
    XdpMode,
};
use ouro_rules::object::{Expected, link_symbols};
use ouro_rules::{Diagnostic, Label};

/// A compiled program: what it must be, and its object.
fn compiled(name: &str, jumps: &[&str], maps: &[MapSpec]) -> (Expected, Vec<u8>) {
    let label = format!("//fw:{name}");
    let jumps: Vec<String> = jumps.iter().map(|jump| (*jump).to_owned()).collect();
    let edges = jumps.iter().map(|jump| (jump.clone(), 1)).collect();
    let header = HeaderSpec { label: label.clone(), jumps: edges, maps: maps.to_vec(), ..HeaderSpec::default() };
    let body = jumps.iter().map(|jump| format!("OURO_JUMP(ctx, {jump});")).collect::<String>();
    let source = format!(
        "#include <ouro/program.h>\nSEC(\"xdp\") int {name}(struct xdp_md *ctx) {{ (void)ctx; {body} return 2; }}\n\
         char _license[] SEC(\"license\") = \"GPL\";\n"
    );
    let object = clang::compile(&header, &source, &[]).unwrap();
    (Expected { label, ty: "xdp".to_owned(), function: None, jumps, maps: maps.to_vec() }, object)
}

fn member(name: &str, slot: Option<u32>) -> Member {
    Member {
        label: Label::new("fw", name),
        ty: "xdp".to_owned(),
        slot,
        maps: Vec::new(),
        hidden: false,
        optional: false,
        replaces: None,
        tried: vec![tried(name)],
    }
}

fn tried(name: &str) -> Tried {
    Tried { label: Label::new("fw", name), globals: BTreeMap::new(), requires: Vec::new() }
}

fn edge(from: u32, to: u32, name: &str) -> Edge {
    Edge { from, to, name: name.to_owned(), on_miss: 1, bound: None }
}

fn map(name: &str) -> MapSpec {
    let text = |text: &str| text.to_owned();
    MapSpec {
        name: text(name),
        ty: text("hash"),
        key: text("__u32"),
        value: text("__u64"),
        max_entries: 1,
        flags: 0,
        key_size: 4,
        value_size: 8,
        ..MapSpec::default()
    }
}

fn element(key: usize, value: Content) -> Element {
    Element { key: Bytes(vec![0; key]), value }
}

/// `parse` jumps to `next`, which has this slot.
fn chain(name: &str, slot: u32) -> ChainSpec {
    ChainSpec {
        workspace: None,
        chain: Label::new("fw", name),
        name: name.to_owned(),
        programs: vec![member("parse", None), member("next", Some(slot))],
        edges: vec![edge(0, 1, "next")],
        maps: Vec::new(),
        contents: Default::default(),
        attach: vec![Attach::Xdp { interface: "eth0".to_owned(), mode: XdpMode::Native }],
        table_size: slot + 1,
        counting: true,
        atomic: false,
        tests: Vec::new(),
        has_btf: false,
    }
}

/// Those two, with these maps.
fn programs(parse: &[MapSpec], next: &[MapSpec]) -> (Vec<Expected>, Vec<Vec<u8>>) {
    [compiled("parse", &["next"], parse), compiled("next", &[], next)].into_iter().unzip()
}

fn link_both(spec: &ChainSpec) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let (expected, objects) = programs(&[], &[]);
    link(spec, &expected, &objects)
}

fn linked(bundle: &Bundle, object: &str) -> Vec<(String, u32)> {
    let object = &bundle.objects[object];
    let read = |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().unwrap());
    link_symbols(object).unwrap().into_iter().map(|symbol| (symbol.name, read(symbol.file_offset))).collect()
}

#[test]
fn a_program_in_two_chains_has_the_slots_of_each() {
    let (expected, objects) = programs(&[], &[]);
    let mut second = chain("second", 5);
    second.counting = false;
    second.edges.insert(0, edge(1, 1, "unused"));
    let numbers = |spec: &ChainSpec| {
        let bundle = Bundle::read(&link(spec, &expected, &objects).unwrap()).unwrap();
        linked(&bundle, "objects/parse.o")
    };
    let named = |counting, edge, slot| {
        [("__ouro_counting", counting), ("__ouro_edge_next", edge), ("__ouro_slot_next", slot)]
            .map(|(name, value)| (name.to_owned(), value))
    };
    assert_eq!(numbers(&chain("first", 0)), named(1, 0, 0));
    assert_eq!(numbers(&second), named(0, 1, 5));
}

#[test]
fn a_bundle_depends_on_what_is_in_it_and_on_nothing_else() {
    let spec = chain("fw", 0);
    let bytes = link_both(&spec).unwrap();
    assert_eq!(bytes, link_both(&spec).unwrap());
    let bundle = Bundle::read(&bytes).unwrap();
    assert_eq!((bundle.manifest.chain.as_str(), bundle.manifest.program_type.as_str()), ("//fw:fw", "xdp"));
    assert_eq!(bundle.objects.keys().collect::<Vec<_>>(), ["objects/next.o", "objects/parse.o"]);
}

#[test]
fn a_jump_that_is_no_part_of_the_chain_cannot_be_linked() {
    let mut spec = chain("fw", 0);
    spec.edges.clear();
    let findings = link_both(&spec).unwrap_err();
    assert_eq!(findings[0].message, "cannot link `//fw:parse`: jump `next` is not part of `//fw:fw`");
}

#[test]
fn an_object_that_is_not_as_declared_cannot_be_linked() {
    let (mut expected, objects) = programs(&[], &[]);
    expected[1].ty = "tc".to_owned();
    let findings = link(&chain("fw", 0), &expected, &objects).unwrap_err();
    assert!(findings.iter().any(|finding| finding.message.contains("`//fw:next`")), "{findings:?}");
}

#[test]
fn objects_must_agree_on_the_size_of_a_map() {
    let mut spec = chain("fw", 0);
    spec.maps = vec![map("flows"), map("unused")];
    let (expected, objects) = programs(&[map("flows")], &[map("flows")]);
    let maps = Bundle::read(&link(&spec, &expected, &objects).unwrap()).unwrap().manifest.maps;
    assert_eq!(maps.iter().map(|map| map.name.as_str()).collect::<Vec<_>>(), ["flows"], "nobody uses the other one");

    let (expected, objects) = programs(&[map("flows")], &[MapSpec { value: "__u8[12]".to_owned(), ..map("flows") }]);
    let findings = link(&spec, &expected, &objects).unwrap_err();
    let sizes = "a key of 4 and a value of 8 bytes in `//fw:parse`, and a key of 4 and a value of 12 bytes in `//fw:next`";
    assert_eq!(findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>(), [format!("map `flows` has {sizes}")]);
}

/// Two programs of a chain that read arguments of a probe, by tables whose elements have these members.
fn reading(parse: &str, next: &str) -> Result<Manifest, String> {
    let text = String::new;
    let probe = Attach::Usdt(Usdt { binary: text(), provider: text(), probe: text(), pid: None, arguments: None });
    reading_at(parse, next, probe)
}

fn reading_at(parse: &str, next: &str, place: Attach) -> Result<Manifest, String> {
    let program = |name: &str, argument: &str| {
        let source = format!(
            "#include <ouro/program.h>\n#include <stdbool.h>\n\
             struct argument {{ {argument} short reg_off; bool arg_signed; char arg_bitshift; }};\n\
             struct spec {{ struct argument args[12]; __u64 usdt_cookie; short arg_cnt; }};\n\
             struct {{ __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 256); __type(key, int); __type(value, struct spec); }} \
             __bpf_usdt_specs SEC(\".maps\");\n\
             SEC(\"usdt\") int {name}(void *ctx) {{ int id = !ctx; return !!bpf_map_lookup_elem(&__bpf_usdt_specs, &id); }}\n\
             char _license[] SEC(\"license\") = \"GPL\";\n"
        );
        let label = format!("//fw:{name}");
        let expected = Expected { label, ty: "usdt".to_owned(), function: None, jumps: Vec::new(), maps: Vec::new() };
        (expected, clang::compile(&HeaderSpec::default(), &source, &[]).unwrap())
    };
    let (expected, objects): (Vec<_>, Vec<_>) = [program("parse", parse), program("next", next)].into_iter().unzip();
    let spec = ChainSpec { attach: vec![place], ..chain("fw", 0) };
    let bundle = link(&spec, &expected, &objects).map_err(|findings| findings[0].message.clone())?;
    Ok(Bundle::read(&bundle).unwrap().manifest)
}

#[test]
fn all_programs_of_a_chain_read_arguments_by_one_table() {
    let (old, new) =
        ("__u64 val_off; int arg_type;", "__u64 val_off; int arg_type: 8; short idx_reg_off: 12, scale_bitshift: 4;");
    let found = reading(old, old).unwrap().attach;
    let [Attach::Usdt(Usdt { arguments: Some(arguments), .. })] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((arguments.size, arguments.step, &arguments.index), (208, 16, &None));
    let mixed = "`//fw:parse` and `//fw:next` were compiled with different versions of libbpf's `usdt.bpf.h`";
    assert_eq!(reading(old, new).unwrap_err(), mixed);
}

/// It was built and deployed, and every argument was an error when it ran.
#[test]
fn arguments_are_read_of_probes_and_nothing_else() {
    let old = "__u64 val_off; int arg_type;";
    let place = Attach::Kprobe(Kprobe { function: "vfs_read".to_owned(), offset: 0, returns: false });
    let said = "`//fw:parse` reads arguments of declared probes, and `//fw:fw` is attached to none";
    assert_eq!(reading_at(old, old, place).unwrap_err(), said);
}

/// The bundle's files, in order.
fn files(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let read = |mut entry: tar::Entry<'_, &[u8]>| {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn archive(files: &[(String, Vec<u8>)], kind: tar::EntryType) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_entry_type(if name == "manifest.json" { tar::EntryType::Regular } else { kind });
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    Bundle::read(bytes).unwrap_err().to_string()
}

#[test]
fn archives_that_ouro_did_not_write_are_refused() {
    let good = files(&link_both(&chain("fw", 0)).unwrap());
    let regular = tar::EntryType::Regular;
    assert!(Bundle::read(&archive(&good, regular)).is_ok());

    for kind in [tar::EntryType::GNUSparse, tar::EntryType::Symlink, tar::EntryType::Directory, tar::EntryType::GNULongName] {
        assert!(refusal(&archive(&good, kind)).ends_with("is no regular file"), "{kind:?}");
    }
    let twice = [good.clone(), vec![good[1].clone()]].concat();
    assert!(refusal(&archive(&twice, regular)).ends_with("`objects/next.o` is there twice"));
    assert!(refusal(&archive(&good[1..], regular)).ends_with("no manifest.json"));
    assert!(refusal(&archive(&good[..2], regular)).ends_with("`objects/parse.o` is missing"));
    let mut changed = good.clone();
    changed[1].1[100] ^= 1;
    assert_eq!(refusal(&archive(&changed, regular)), "`objects/next.o` in the bundle does not match its digest in the manifest");

    let whole = archive(&good, regular);
    for len in [1, 511, 600, whole.len() / 2] {
        assert!(Bundle::read(&whole[..len]).is_err(), "{len}");
    }
    assert!(refusal(b"").contains("no manifest.json"));
}

/// A header may claim any size; only as much is read as there is.
#[test]
fn a_claimed_size_costs_nothing() {
    let mut header = tar::Header::new_gnu();
    header.set_path("manifest.json").unwrap();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(1 << 60);
    header.set_cksum();
    let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
    assert_eq!(refusal(&bytes), "not a bundle: `manifest.json` is cut short");
}

/// A probe whose arguments are read from elements of `size` bytes; where in one of their twelve parts its register stands, in bits.
fn usdt(probe: &str, size: u32, register: (u32, u32)) -> Attach {
    let (value, kind, sign, shift) = ((0, 64), (64, 32), (112, 8), (120, 8));
    let (first, step, most, count, index) = (0, 16, 12, (1600, 16), None);
    let table = Arguments { size, first, step, most, count, value, kind, register, sign, shift, index };
    let (binary, provider) = (String::new(), String::new());
    Attach::Usdt(Usdt { binary, provider, probe: probe.to_owned(), pid: None, arguments: Some(table) })
}

#[test]
fn manifests_that_lead_astray_are_refused() {
    let good = files(&link_both(&chain("fw", 0)).unwrap());
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest: Manifest = serde_json::from_slice(&good[0].1).unwrap();
        change(&mut manifest);
        let text = serde_json::to_vec(&manifest).unwrap();
        archive(&[vec![(good[0].0.clone(), text)], good[1..].to_vec()].concat(), tar::EntryType::Regular)
    };
    assert!(Bundle::read(&with(&|_| {})).is_ok());
    type Change = fn(&mut Manifest);
    let table: &[(Change, &str)] = &[
        (|m| m.format = 9, "bundle has format 9; this ouro knows format 2"),
        (|m| m.name = "../x".to_owned(), "`../x` cannot name a pin"),
        (|m| m.name = "x".repeat(200), "cannot name a pin"),
        (|m| m.programs[0].name = "a/b".to_owned(), "`a/b` cannot name a pin"),
        (|m| m.programs[0].name = "sixteen_is_a_lot".to_owned(), "cannot name a pin"),
        (|m| m.maps = vec![map("")], "`` cannot name a pin"),
        (|m| m.maps = vec![map("m"), map("m")], "two maps are named `m`"),
        (
            |m| m.maps = vec![MapSpec { contents: vec![element(4, Content::Bytes(Bytes(vec![0; 9])))], ..map("m") }],
            "does not fit it",
        ),
        (
            |m| m.maps = vec![MapSpec { contents: vec![element(4, Content::Map("../x".to_owned()))], ..map("m") }],
            "does not fit it",
        ),
        (
            |m| m.maps = vec![MapSpec { value_layout: Some(Layout::Int { bytes: 4, signed: false }), ..map("m") }],
            "the members of map `m` do not have its size",
        ),
        (
            |m| m.attach = vec![Attach::Xdp { interface: "..".to_owned(), mode: XdpMode::Generic }],
            "`..` cannot name a network device",
        ),
        (
            |m| m.attach = vec![Attach::StructOps(StructOps { table: "../x".to_owned(), ty: String::new() })],
            "`../x` cannot name a table of functions",
        ),
        (|m| m.attach = vec![usdt("one", 208, (200, 16))], "the table of arguments of probes has members outside of itself"),
        (
            // The kernel would read an element of the larger from one of the smaller.
            |m| m.attach = vec![usdt("one", 304, (96, 16)), usdt("other", 208, (96, 16))],
            "arguments of its probes are read from different tables",
        ),
        (
            |m| m.programs[1].replaces = Some(Replaces { program: "parse".to_owned(), function: "f".to_owned() }),
            "what `next` replaces makes no sense",
        ),
        (
            |m| m.programs[0].replaces = Some(Replaces { program: "parse".to_owned(), function: "f".to_owned() }),
            "what `parse` replaces makes no sense",
        ),
        (|m| m.programs[1].ty = "freplace/f".to_owned(), "what `next` replaces makes no sense"),
        (|m| m.programs.clear(), "it has no program"),
        (
            |m| m.tests = vec![PacketTest { name: "odd".to_owned(), data: "0".to_owned(), verdict: 0 }],
            "the packet `odd` has no bytes",
        ),
        (|m| m.programs[0].name = "next".to_owned(), "two programs are named `next`"),
        (|m| m.programs[0].object = "objects/next.o".to_owned(), "two programs share `objects/next.o`"),
        (|m| m.programs[0].slot = Some(0), "two programs have slot 0"),
        (|m| m.programs[1].slot = Some(1), "slot of `next` is beyond the table"),
        (|m| m.programs[1].slot = None, "edge `next` leads to no program with a slot"),
        (|m| m.edges[0].to = 2, "edge `next` leads to no program"),
        (|m| m.edges[0].from = 2, "edge `next` leads to no program"),
        (|m| m.table_size = 65_537, "is more than ouro makes"),
        (|m| m.edges = vec![edge(0, 1, "next"); MAX_EDGES + 1], "is more than ouro makes"),
    ];
    for (change, expected) in table {
        let refusal = refusal(&with(change));
        assert!(refusal.contains(expected), "{refusal} instead of {expected}");
    }
}
