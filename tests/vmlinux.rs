//! `vmlinux_header` with the real compiler: programs compiled against what they can reach are the same programs.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};
use ouro_btf::{Btf, Header, Kind};
use support::{HOST_BTF, Workspace, copy, has_btf};

const CORE: &str = "tests/co-re";

/// The programs of [`CORE`], with their types from here.
fn core(btf: &str) -> Workspace {
    let workspace = Workspace::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(CORE), &workspace.root());
    workspace.edit("BUILD.ouro", "btf = \"host\"", &format!("btf = \"{btf}\""));
    workspace
}

fn out(workspace: &Workspace, path: &str) -> Vec<u8> {
    let folders = fs::read_dir(workspace.path("ouro-out")).expect("outputs").map(|entry| entry.expect("an entry").path());
    let found: Vec<_> = folders.map(|folder| folder.join(path)).filter(|path| path.is_file()).collect();
    fs::read(found.first().unwrap_or_else(|| panic!("{path} was not made"))).expect("a readable file")
}

/// What a loader sees of an object, without the numbers of its types: code with the symbols it refers to, data, and relocations to
/// kernel types by name.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    sections: BTreeMap<String, (Vec<u8>, Vec<String>)>,
    relocations: Vec<String>,
}

fn seen(bytes: &[u8]) -> Seen {
    let file = object::File::parse(bytes).expect("an object");
    let relocations = core_relocations(&file);
    let mut sections = BTreeMap::new();
    for section in file.sections() {
        let name = section.name().expect("a name").to_owned();
        if !matches!(
            section.kind(),
            SectionKind::Text | SectionKind::Data | SectionKind::ReadOnlyData | SectionKind::UninitializedData
        ) {
            continue;
        }
        let mut data = section.data().expect("bytes").to_vec();
        // A loader puts the number of a kernel's type where the compiler puts that of the object's.
        relocations
            .iter()
            .filter(|one| one.section == name && one.is_type_id())
            .for_each(|one| data[one.at + 4..one.at + 8].fill(0));
        let refers = section.relocations().map(|(at, relocation)| match relocation.target() {
            RelocationTarget::Symbol(symbol) => {
                format!("{at}: {:?}", file.symbol_by_index(symbol).map(|symbol| symbol.name().map(str::to_owned)))
            }
            other => format!("{at}: {other:?}"),
        });
        sections.insert(name, (data, refers.collect()));
    }
    Seen { sections, relocations: relocations.iter().map(Relocation::text).collect() }
}

/// A relocation to a kernel type.
struct Relocation {
    section: String,
    at: usize,
    ty: String,
    access: String,
    kind: u32,
}

impl Relocation {
    /// `BPF_CORE_TYPE_ID_LOCAL` and `BPF_CORE_TYPE_ID_TARGET`.
    fn is_type_id(&self) -> bool {
        matches!(self.kind, 6 | 7)
    }

    fn text(&self) -> String {
        let Relocation { section, at, ty, access, kind } = self;
        format!("{section}+{at}: {ty} {access} kind {kind}")
    }
}

/// Those of `.BTF.ext`.
fn core_relocations(file: &object::File<'_>) -> Vec<Relocation> {
    let data = |name: &str| file.section_by_name(name).map(|section| section.data().expect("bytes")).unwrap_or_default();
    let btf = Btf::read(data(".BTF")).expect("BTF");
    let ext = data(".BTF.ext");
    let word = |at: usize| u32::from_le_bytes(ext[at..at + 4].try_into().expect("four bytes"));
    let (header, offset, len) = (word(4) as usize, word(24) as usize, word(28) as usize);
    let mut relocations = Vec::new();
    let (mut at, end) = (header + offset + 4, header + offset + len);
    while at < end {
        let (section, count) = (btf.text(word(at)).to_owned(), word(at + 4) as usize);
        for record in (0..count).map(|index| at + 8 + 16 * index) {
            let ty = btf.get(word(record + 4)).expect("a type");
            let kind = if ty.kind == Kind::Forward { Kind::Struct } else { ty.kind };
            relocations.push(Relocation {
                section: section.clone(),
                at: word(record) as usize,
                ty: format!("{kind:?} {}", btf.name(ty)),
                access: btf.text(word(record + 8)).to_owned(),
                kind: word(record + 12),
            });
        }
        at += 8 + 16 * count;
    }
    relocations
}

#[track_caller]
fn same_programs(workspace: &Workspace) {
    let said = workspace.ok(&["build", "//..."]);
    assert!(!said.err.contains("compiled against all types"), "the slim headers suffice: {}", said.err);
    let mut relocations = 0;
    let sources = fs::read_dir(workspace.root()).expect("sources").map(|entry| entry.expect("an entry").path());
    for name in sources.filter_map(|path| Some(path.to_str()?.strip_suffix(".c")?.rsplit_once('/')?.1.to_owned())) {
        let (slim, whole) = (out(workspace, &format!("{name}.o")), out(workspace, &format!("{name}_all.o")));
        assert_eq!(seen(&slim), seen(&whole), "{name}");
        relocations += seen(&slim).relocations.len();
        let header = out(workspace, &format!("{name}.include/vmlinux.h"));
        assert!(
            20 * header.len() < out(workspace, "vmlinux.include/vmlinux.h").len(),
            "{name} needs a small part: {}",
            header.len()
        );
    }
    assert!(relocations > 100, "programs have relocations: {relocations}");
}

#[test]
fn programs_are_the_same_with_the_slim_header_as_with_the_whole() {
    if has_btf() {
        same_programs(&core("host"));
    }
}

#[test]
fn programs_are_the_same_with_the_part_of_a_header_that_is_there_as_text() {
    if has_btf() {
        let workspace = core("kernel/vmlinux.h");
        let btf = Btf::read(&fs::read(HOST_BTF).expect("BTF")).expect("BTF");
        workspace.write("kernel/vmlinux.h", &Header::of(btf).and_then(|header| header.whole()).expect("a header"));
        same_programs(&workspace);
    }
}

/// A workspace with a program and the types of a small kernel, as BTF.
fn small(types: &str, program: &str) -> Workspace {
    let build = "vmlinux_header(name = \"vmlinux\", btf = \"kernel.btf\")\n\
        bpf_program(name = \"walk\", srcs = [\"walk.c\"], type = \"tc\", deps = [\":vmlinux\"])\n";
    let workspace = Workspace::with(&[("BUILD.ouro", build), ("walk.c", &source(program))]);
    set_kernel(&workspace, types);
    workspace
}

fn source(program: &str) -> String {
    let walk = "SEC(\"tc\") int walk(struct __sk_buff *skb)";
    let program = program.replace("WALK", walk);
    format!("#include \"vmlinux.h\"\n#include <ouro/program.h>\n{program}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n")
}

/// Has a compiler make the BTF of these types, as a file of ELF.
fn set_kernel(workspace: &Workspace, types: &str) {
    let pointers = types.lines().filter_map(|line| line.strip_suffix(" {")).enumerate();
    let pointers: String = pointers.map(|(count, ty)| format!("{ty} *one_{count};\n")).collect();
    let kernel = Workspace::with(&[
        ("BUILD.ouro", "bpf_program(name = \"kernel\", srcs = [\"kernel.c\"], type = \"tc\")"),
        ("kernel.c", &format!("#include <ouro/program.h>\n{types}\n{pointers}\n{KERNEL}")),
    ]);
    kernel.ok(&["build", "//..."]);
    fs::write(workspace.path("kernel.btf"), out(&kernel, "kernel.o")).expect("BTF");
}

/// What the headers of libbpf take for granted, and a program that makes it an object.
const KERNEL: &str = "__s8 a; __s16 b; __s32 c; __s64 d; __u8 e; __u16 f; __u32 g; __u64 h; __be16 i; __be32 j; __wsum k;\n\
    SEC(\"tc\") int kernel(struct __sk_buff *skb) { return 0; }\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";

const TYPES: &str =
    "struct far {\n    int number;\n};\nstruct near {\n    struct far *far;\n    int own;\n};\nstruct other {\n    int x;\n};\n";

const WALK: &str = "WALK\n{\n    struct near *near = (void *)skb;\n    struct far *far;\n\n    \
    bpf_probe_read_kernel(&far, sizeof(far), &near->far);\n    return far ? near->own : 0;\n}\n";

/// Reaches a type by a name that no word of the source tells.
const ODD: &str = "#define P(a, b) a##b\n#define Q(a, b) P(a, b)\n#define HALF fa\nWALK\n{\n    \
    struct Q(HALF, r) *it = (void *)skb;\n\n    return it->number;\n}\n";

#[test]
fn a_slim_header_has_what_the_program_names_and_no_more() {
    let workspace = small(TYPES, WALK);
    workspace.ok(&["build", "//..."]);
    let header = String::from_utf8(out(&workspace, "walk.include/vmlinux.h")).unwrap();
    assert!(header.contains("struct far {\n\tint number;\n};") && header.contains("struct near {"), "{header}");
    assert!(!header.contains("struct other"), "{header}");
    workspace.edit("walk.c", "struct far *far;", "void *pointer;");
    workspace.edit("walk.c", "bpf_probe_read_kernel(&far, sizeof(far), &near->far);", "pointer = near;");
    workspace.edit("walk.c", "far ?", "pointer ?");
    workspace.ok(&["build", "//..."]);
    let header = String::from_utf8(out(&workspace, "walk.include/vmlinux.h")).unwrap();
    assert!(header.contains("struct far;") && !header.contains("int number"), "{header}");
}

#[test]
fn a_kernel_that_changed_elsewhere_compiles_nothing() {
    let workspace = small(TYPES, WALK);
    workspace.ok(&["build", "//..."]);
    set_kernel(&workspace, &format!("struct earlier {{\n    long y;\n}};\n{}", TYPES.replace("int x;", "long x[4];")));
    let said = workspace.ok(&["build", "//...", "-v"]);
    assert!(said.compiled().is_empty(), "{}", said.err);
    said.says("vmlinux //:vmlinux");
    set_kernel(&workspace, &TYPES.replace("int own;", "long long own;"));
    assert_eq!(workspace.ok(&["build", "//...", "-v"]).compiled(), ["//:walk"]);
}

#[test]
fn a_program_that_reaches_more_is_compiled_against_all_types_and_that_is_told_and_kept() {
    let workspace = small(TYPES, ODD);
    let said = workspace.ok(&["build", "//..."]);
    said.says("compiled against all types of the kernel").says("incomplete definition of type 'struct far'");
    let second = workspace.ok(&["build", "//...", "-v"]);
    assert!(second.compiled().is_empty(), "{}", second.err);
    workspace.ok(&["clean"]);
    let third = workspace.ok(&["build", "//...", "-v"]);
    assert!(third.compiled().is_empty(), "{}", third.err);
    // The source names the type now, and the slim header suffices.
    workspace.edit("walk.c", "#define P(", "struct far;\n#define P(");
    let fourth = workspace.ok(&["build", "//..."]);
    assert!(fourth.compiled() == ["//:walk"] && !fourth.err.contains("all types"), "{}", fourth.err);
}

#[test]
fn types_may_be_named_on_the_command_line() {
    let workspace = small(TYPES, &ODD.replace("#define HALF fa\n", "").replace("Q(HALF, r)", "NAME"));
    for given in ["defines = [\"NAME=far\"]", "copts = [\"-DNAME=far\"]"] {
        workspace.edit("BUILD.ouro", "type = \"tc\"", &format!("type = \"tc\", {given}"));
        let said = workspace.ok(&["build", "//..."]);
        assert!(!said.err.contains("all types"), "{}", said.err);
        workspace.edit("BUILD.ouro", &format!(", {given}"), "");
    }
}

#[test]
fn a_mistake_is_told_once() {
    let workspace = small(TYPES, &WALK.replace("near->own", "near->owm"));
    let said = workspace.fails(1, &["build", "//..."]);
    assert_eq!(said.err.matches("no member named 'owm'").count(), 1, "{}", said.err);
    assert!(!said.err.contains("all types of the kernel"), "{}", said.err);
}

#[test]
fn slim_headers_can_be_switched_off() {
    let workspace = small(TYPES, ODD);
    workspace.edit("BUILD.ouro", "type = \"tc\"", "type = \"tc\", slim = False");
    let said = workspace.ok(&["build", "//...", "-v"]);
    assert!(!said.err.contains("slim //") && !said.err.contains("all types"), "{}", said.err);
    workspace.edit("BUILD.ouro", ", slim = False", "");
    workspace.edit("BUILD.ouro", "btf = \"kernel.btf\"", "btf = \"kernel.btf\", slim = False");
    let said = workspace.ok(&["build", "//...", "-v"]);
    assert!(said.compiled().is_empty(), "it is the same action: {}", said.err);
}

#[test]
fn files_that_have_no_types_are_told() {
    let workspace = small(TYPES, WALK);
    let btf = fs::read(workspace.path("kernel.btf")).unwrap();
    let fails = |bytes: &[u8], why: &str| {
        fs::write(workspace.path("kernel.btf"), bytes).unwrap();
        let said = workspace.fails(1, &["build", "//:vmlinux"]);
        said.says("cannot read the types of `kernel.btf`").says(why).says("BUILD.ouro:1:1").says("/sys/kernel/btf/vmlinux");
    };
    fails(b"struct a { int b; };\n", "it is no BTF");
    fails(&btf[..btf.len() / 2], "damaged");
    fails(b"", "it is no BTF");
    fails(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0], "cut short");
    let workspace = small(TYPES, WALK);
    workspace.edit("BUILD.ouro", "kernel.btf", "missing.btf");
    workspace.fails(1, &["build", "//..."]).says("missing.btf");
}

#[test]
fn a_header_beside_the_sources_is_used_and_told() {
    let workspace = small(TYPES, WALK);
    workspace.ok(&["build", "//..."]);
    workspace.write("vmlinux.h", &String::from_utf8(out(&workspace, "vmlinux.include/vmlinux.h")).unwrap());
    workspace.edit("BUILD.ouro", "kernel.btf", "vmlinux.h");
    workspace.ok(&["build", "//..."]).says("finds `vmlinux.h`, all of it").says("folder of its own");
    workspace.edit("walk.c", "\"vmlinux.h\"", "<vmlinux.h>");
    workspace.ok(&["build", "//..."]);
}

#[test]
fn rules_of_users_hand_kernels_on() {
    let workspace = small(TYPES, WALK);
    workspace.write(
        "rules.star",
        "def _impl(ctx):\n    made = ctx.bpf.compile(srcs = ctx.files.srcs, type = \"tc\", headers = [dep[BpfHeadersInfo] for dep in ctx.attr.deps])\n    \
         return made.providers\n\nwalker = rule(implementation = _impl, attrs = {\"srcs\": attr.label_list(allow_files = True), \
         \"deps\": attr.label_list(providers = [BpfHeadersInfo])})\n",
    );
    workspace.write(
        "BUILD.ouro",
        "load(\":rules.star\", \"walker\")\nvmlinux_header(name = \"vmlinux\", btf = \"kernel.btf\")\n\
         bpf_library(name = \"types\", deps = [\":vmlinux\"])\nwalker(name = \"walk\", srcs = [\"walk.c\"], deps = [\":types\"])\n",
    );
    workspace.ok(&["build", "//...", "-v"]).says("slim //:walk");
    assert!(!out(&workspace, "walk.include/vmlinux.h").is_empty());
}

/// A program that has a header of its own reads the kernel's through it.
#[test]
fn types_that_are_read_through_a_slim_header_are_not_unused() {
    let workspace = small(TYPES, WALK);
    workspace.ok(&["build", "//...", "--unused-headers"]).says("every declared header is read");
}

/// Forty lines of redefinitions, and no word of what is wrong.
#[test]
fn headers_of_the_system_beside_the_kernels_types_are_told_in_one_finding() {
    let types = "#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\ntypedef unsigned char __u8;\ntypedef unsigned short __u16;\ntypedef unsigned int __u32;\ntypedef long long __s64;\ntypedef unsigned long long __u64;\ntypedef int __s32;\ntypedef __u16 __be16;\ntypedef __u32 __be32, __wsum;\nstruct ethhdr { __u16 h_proto; };\nenum xdp_action { XDP_PASS = 2 };\nstruct xdp_md { __u32 data; };\n#endif\n";
    let source = "#include \"vmlinux.h\"\n#include <ouro/program.h>\n#include <linux/if_ether.h>\nSEC(\"xdp\") int p(struct xdp_md *ctx) { return sizeof(struct ethhdr); }\nchar _license[] SEC(\"license\") = \"GPL\";\n";
    let build = "vmlinux_header(name = \"types\", btf = \"k/vmlinux.h\")\nbpf_program(name = \"p\", srcs = [\"p.c\"], type = \"xdp\", deps = [\":types\"])\n";
    let workspace = Workspace::with(&[("BUILD.ouro", build), ("k/vmlinux.h", types), ("p.c", source)]);
    let said = workspace.fails(1, &["build", "//..."]);
    said.says("`//:p` includes types twice: `vmlinux.h` and `/usr/include/linux/if_ether.h` declare the same")
        .says("--> p.c:3:1");
    said.says("include `vmlinux.h` first, and none of the system's `<linux/...>` beside it");
    workspace.edit("p.c", "#include <linux/if_ether.h>\n", "");
    workspace.ok(&["build", "//..."]);
}
