//! Makes bundles from C, with a stand-in for the generated header whose slots are compiled in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use ouro_cache::Digest;
use ouro_rules::bundle::Bundle;
use ouro_rules::header::{self, HeaderSpec};
use ouro_rules::hook;
use ouro_rules::manifest::{
    Attach, Edge, FORMAT, LINK_SECTION, Manifest, ManifestProgram, MapSpec, PacketTest, Scalar, Usdt, XdpMode,
};

use crate::support::NEAR;

pub const DROP: i32 = 1;

/// A program of a [`Chain`]; the first is the entry.
pub struct Program {
    name: String,
    section: String,
    body: String,
    jumps: Vec<(String, i32)>,
}

/// A chain in the making. Every program but the entry has a slot, and not the first ones.
pub struct Chain {
    pub label: String,
    pub name: String,
    pub programs: Vec<Program>,
    pub maps: Vec<MapSpec>,
    pub attach: Vec<Attach>,
    pub table_size: Option<u32>,
    /// What stands behind the maps.
    pub globals: String,
    /// What [`Chain::global`] has declared.
    pub values: BTreeMap<String, Scalar>,
    /// What stands before the maps.
    pub declarations: String,
    pub slot_section: &'static str,
    pub atomic: bool,
    pub tests: Vec<PacketTest>,
}

pub fn xdp(interface: &str) -> Attach {
    Attach::Xdp { interface: interface.to_owned(), mode: XdpMode::Native }
}

pub fn map(name: &str, ty: &str, max_entries: u32) -> MapSpec {
    let (key, value) = ("__u32".to_owned(), "__u64".to_owned());
    MapSpec {
        name: name.to_owned(),
        ty: ty.to_owned(),
        key,
        value,
        max_entries,
        key_size: 4,
        value_size: 8,
        ..MapSpec::default()
    }
}

pub fn ring(name: &str, bytes: u32) -> MapSpec {
    MapSpec { key: String::new(), value: String::new(), key_size: 0, value_size: 0, ..map(name, "ringbuf", bytes) }
}

/// The body of a function that runs `udp` for a UDP packet and `rest` for any other.
pub fn if_udp(udp: &str, rest: &str) -> String {
    format!(
        "unsigned char *p = (void *)(long)ctx->data;\n\
         if (p + 34 <= (unsigned char *)(long)ctx->data_end && p[12] == 8 && p[13] == 0 && p[23] == 17) {{ {udp} }}\n{rest}"
    )
}

/// Adds one to the first element of a map.
pub fn count(map: &str) -> String {
    format!("{{ __u32 zero = 0; __u64 *n = bpf_map_lookup_elem(&{map}, &zero); if (n) __sync_fetch_and_add(n, 1); }}\n")
}

impl Chain {
    pub fn new(name: &str) -> Chain {
        let (label, name) = (format!("//test:{name}"), name.to_owned());
        let (programs, maps, globals, declarations) = (Vec::new(), Vec::new(), String::new(), String::new());
        let values = BTreeMap::new();
        Chain {
            label,
            name,
            programs,
            maps,
            attach: vec![xdp(NEAR)],
            table_size: None,
            globals,
            values,
            declarations,
            slot_section: LINK_SECTION,
            atomic: false,
            tests: Vec::new(),
        }
    }

    /// The chain most tests deploy: pings pass through `allow`, UDP is dropped by `block`, a missed jump drops.
    pub fn firewall() -> Chain {
        Chain::new("fw")
            .map(map("seen", "array", 1))
            .program("parse", "xdp", &if_udp("JUMP(block);", "JUMP(allow);"), &["block", "allow"])
            .program("block", "xdp", &format!("{}return XDP_DROP;", count("seen")), &[])
            .program("allow", "xdp", "return XDP_PASS;", &[])
    }

    pub fn program(mut self, name: &str, section: &str, body: &str, jumps: &[&str]) -> Chain {
        let jumps = jumps.iter().map(|target| ((*target).to_owned(), DROP)).collect();
        self.programs.push(Program { name: name.to_owned(), section: section.to_owned(), body: body.to_owned(), jumps });
        self
    }

    pub fn map(mut self, map: MapSpec) -> Chain {
        self.maps.push(map);
        self
    }

    pub fn attach(mut self, points: &[Attach]) -> Chain {
        self.attach = points.to_vec();
        self
    }

    /// A number that every program has, and that is written when it is loaded: what differs from run to run is not compiled in.
    pub fn global(mut self, name: &str, value: i64) -> Chain {
        writeln!(self.globals, "const volatile __u64 {name} = 0;").expect("a string");
        self.values.insert(name.to_owned(), Scalar::Int(value));
        self
    }

    /// Compiles and packs it.
    pub fn bundle(&self, folder: &Path) -> Bundle {
        let edges = self.edges();
        let mut objects = BTreeMap::new();
        let mut programs = Vec::new();
        for (index, program) in self.programs.iter().enumerate() {
            let object = compile(folder, &program.name, &self.source(index, &edges));
            let path = format!("objects/{}.o", program.name);
            programs.push(ManifestProgram {
                label: format!("//test:{}", program.name),
                name: program.name.clone(),
                ty: program.section.clone(),
                function: program.name.clone(),
                slot: slot(index),
                object: path.clone(),
                digest: Digest::of(&object).to_string(),
                globals: self.values.clone(),
                ..ManifestProgram::default()
            });
            objects.insert(path, object);
        }
        let table_size = if edges.is_empty() { 0 } else { 2 * u32::try_from(programs.len()).expect("few programs") };
        let manifest = Manifest {
            workspace: None,
            format: FORMAT,
            chain: self.label.clone(),
            name: self.name.clone(),
            program_type: self.programs[0].section.clone(),
            table_size: self.table_size.unwrap_or(table_size),
            counting: true,
            programs,
            edges,
            maps: self.maps.clone(),
            attach: self.attach.iter().map(|point| with_arguments(point, &objects)).collect(),
            atomic: self.atomic,
            tests: self.tests.clone(),
            btf: None,
            card: None,
            devices: Vec::new(),
        };
        let digest = Digest::of(format!("{manifest:?}").as_bytes()).to_string();
        Bundle { manifest, objects, btf: None, digest }
    }

    fn edges(&self) -> Vec<Edge> {
        let place = |name: &str| {
            self.programs.iter().zip(0u32..).find(|(program, _)| program.name == name).expect("a program of the chain").1
        };
        let of = |(program, from): (&Program, u32)| {
            let edge = move |(name, on_miss): &(String, i32)| Edge {
                from,
                to: place(name),
                name: name.clone(),
                on_miss: *on_miss,
                bound: None,
            };
            program.jumps.iter().map(edge).collect::<Vec<_>>()
        };
        self.programs.iter().zip(0u32..).flat_map(of).collect()
    }

    fn source(&self, index: usize, edges: &[Edge]) -> String {
        let program = &self.programs[index];
        let mut text = HEADER.to_owned();
        for (edge, id) in edges.iter().zip(0u32..).filter(|(edge, _)| edge.from as usize == index) {
            let slot = slot(edge.to as usize).unwrap_or(0);
            let Edge { name, on_miss, .. } = edge;
            let (section, constant) = (self.slot_section, if self.slot_section == LINK_SECTION { "const" } else { "" });
            writeln!(text, "{constant} volatile __u32 __ouro_slot_{name} SEC(\"{section}\") __attribute__((weak)) = {slot};")
                .expect("a string");
            writeln!(text, "const volatile __u32 __ouro_edge_{name} SEC(\"{LINK_SECTION}\") __attribute__((weak)) = {id};")
                .expect("a string");
            writeln!(text, "enum {{ __ouro_miss_{name} = {on_miss} }};").expect("a string");
        }
        text.push_str(&self.declarations);
        let maps = HeaderSpec { maps: self.maps.clone(), ..HeaderSpec::default() };
        let own = header::own(&maps).unwrap_or_default();
        // It was written to be included.
        text.extend(own.lines().filter(|line| !line.starts_with("#pragma")).map(|line| format!("{line}\n")));
        let context = hook::find(&program.section).map_or("struct xdp_md", |hook| context(hook.prog_type));
        let Program { name, section, body, .. } = program;
        let globals = &self.globals;
        write!(text, "{globals}\nSEC(\"{section}\") int {name}({context} *ctx)\n{{\n{body}\n}}\nchar _license[] SEC(\"license\") = \"GPL\";\n")
            .expect("a string");
        text
    }
}

/// An attach point with what the objects tell of how they read the arguments of probes.
fn with_arguments(point: &Attach, objects: &BTreeMap<String, Vec<u8>>) -> Attach {
    let Attach::Usdt(place) = point else { return point.clone() };
    let arguments = objects.values().find_map(|object| ouro_rules::object::arguments(object).expect("a table that is known"));
    Attach::Usdt(Usdt { arguments, ..place.clone() })
}

/// What a program of a type is given.
fn context(prog_type: &str) -> &'static str {
    match prog_type {
        "xdp" => "struct xdp_md",
        "sched_cls" | "cgroup_skb" | "sk_skb" | "flow_dissector" | "socket_filter" => "struct __sk_buff",
        "cgroup_sock_addr" => "struct bpf_sock_addr",
        "cgroup_sock" => "struct bpf_sock",
        "cgroup_device" => "struct bpf_cgroup_dev_ctx",
        "cgroup_sysctl" => "struct bpf_sysctl",
        "cgroup_sockopt" => "struct bpf_sockopt",
        "sock_ops" => "struct bpf_sock_ops",
        "sk_lookup" => "struct bpf_sk_lookup",
        "sk_msg" => "struct sk_msg_md",
        "raw_tracepoint" | "tracing" => "unsigned long long",
        _ => "void",
    }
}

/// Odd numbers, so that a mistaken place in the table is an empty one.
fn slot(index: usize) -> Option<u32> {
    (index > 0).then(|| 2 * u32::try_from(index).expect("few programs") - 1)
}

const HEADER: &str = r#"
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u32); } ouro_jumps SEC(".maps") __attribute__((weak));
struct ouro_count { __u64 taken, missed; };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct ouro_count); } ouro_counts SEC(".maps") __attribute__((weak));
#define JUMP(name) do { \
	struct ouro_count *c = bpf_map_lookup_elem(&ouro_counts, (const void *)&__ouro_edge_##name); \
	if (c) c->taken++; \
	asm volatile("r1 = %[c]\n\tr2 = %[t] ll\n\tr3 = %[s] ll\n\tr3 = *(u32 *)(r3 + 0)\n\tcall 12" \
		: [k] "+r"(c) : [c] "r"(ctx), [t] "i"(&ouro_jumps), [s] "i"(&__ouro_slot_##name) : "r0", "r1", "r2", "r3", "r4", "r5", "memory"); \
	if (c) { c->taken--; c->missed++; } \
	return __ouro_miss_##name; \
} while (0)
"#;

/// The folder this names keeps objects by their sources: where there is no clang, as in a virtual machine, they are found there.
const OBJECTS: &str = "OURO_TEST_OBJECTS";

pub fn compile(folder: &Path, name: &str, source: &str) -> Vec<u8> {
    let kept = std::env::var_os(OBJECTS).map(|folder| Path::new(&folder).join(Digest::of(source.as_bytes()).to_string()));
    fs::write(folder.join(format!("{name}.c")), source).expect("the folder can be written");
    if let Some(object) = kept.as_ref().and_then(|kept| fs::read(kept).ok()) {
        fs::write(folder.join(format!("{name}.o")), &object).expect("the folder can be written");
        return object;
    }
    let object = compile_anew(folder, name);
    if let Some(kept) = kept {
        fs::write(kept, &object).expect("the folder of kept objects can be written");
    }
    object
}

fn compile_anew(folder: &Path, name: &str) -> Vec<u8> {
    let (input, output) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.o")));
    let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
    let mut clang = Command::new("clang-19");
    clang.args(["-target", "bpf", "-O2", "-g", "-Wall", "-Wno-unused-variable", "-c", "-o"]).args([&output, &input]);
    let done = clang.arg(format!("-I/usr/include/{arch}-linux-gnu")).output().expect("clang-19 runs");
    assert!(done.status.success(), "clang: {}", String::from_utf8_lossy(&done.stderr));
    fs::read(output).expect("clang wrote it")
}

/// Writes a bundle to a folder, for another process.
pub fn save(bundle: &Bundle, folder: &Path) {
    let manifest = serde_json::to_vec(&(&bundle.manifest, &bundle.digest)).expect("plain data");
    fs::write(folder.join("manifest"), manifest).expect("the folder can be written");
}

/// Reads what [`save`] wrote; the objects lie where they were compiled.
pub fn load(folder: &Path) -> Bundle {
    let text = fs::read(folder.join("manifest")).expect("it was saved");
    let (manifest, digest): (Manifest, String) = serde_json::from_slice(&text).expect("it was saved");
    let object = |program: &ManifestProgram| {
        (program.object.clone(), fs::read(folder.join(format!("{}.o", program.name))).expect("compiled"))
    };
    Bundle { objects: manifest.programs.iter().map(object).collect(), btf: None, manifest, digest }
}
