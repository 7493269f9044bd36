//! Chains to deploy: workspaces of N programs, built, and their bundles unpacked for those who deploy by other means.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::run;

/// A chain, built and unpacked.
pub struct Chain {
    /// Its bundle.
    pub bundle: PathBuf,
    /// The name of its deployment.
    pub name: String,
    /// Name, slot and object of each program; the entry first.
    programs: Vec<(String, Option<u64>, PathBuf)>,
}

impl Chain {
    /// An entry that jumps to each of the other programs, by a byte of the packet that none has; each counts in its way.
    pub fn star(folder: &Path, count: usize) -> Chain {
        let leaf = |number: usize| format!("if (ctx->data_end - ctx->data < {number})\n\t\treturn XDP_DROP;\n\treturn XDP_PASS;");
        let jump = |number: usize| format!("if (ctx->rx_queue_index == {}) OURO_JUMP(ctx, p{number});", number + 1000);
        let entry: Vec<String> = (1..count).map(jump).collect();
        let bodies = std::iter::once(format!("{}\n\treturn XDP_PASS;", entry.join("\n\t"))).chain((1..count).map(leaf));
        Chain::build(folder, "bench", &bodies.collect::<Vec<_>>())
    }

    /// The same, of programs whose loops the verifier walks through step by step.
    pub fn heavy(folder: &Path, name: &str, count: usize) -> Chain {
        let walk =
            "__u32 sum = ctx->rx_queue_index;\n\tfor (int i = 0; i < 20000; i++)\n\t\tsum = sum * 31 + (sum >> 3) + i;\n\t";
        let jump = |number: usize| format!("if (sum == {}) OURO_JUMP(ctx, p{number});", number + 1000);
        let entry: Vec<String> = (1..count).map(jump).collect();
        let bodies = std::iter::once(format!("{walk}{}\n\treturn XDP_PASS;", entry.join("\n\t")))
            .chain((1..count).map(|number| format!("{walk}return sum == {number} ? XDP_DROP : XDP_PASS;")));
        Chain::build(folder, name, &bodies.collect::<Vec<_>>())
    }

    fn build(folder: &Path, name: &str, bodies: &[String]) -> Chain {
        fs::create_dir_all(folder).expect("a folder");
        fs::write(folder.join("ouro.toml"), "[cache]\ndir = \".cache\"\n").expect("a file");
        let mut rules = String::new();
        for (number, body) in bodies.iter().enumerate() {
            let jumps: Vec<String> = (1..bodies.len()).filter(|_| number == 0).map(|to| format!("\":p{to}\"")).collect();
            writeln!(
                rules,
                "bpf_program(name = \"p{number}\", srcs = [\"p{number}.c\"], type = \"xdp\", jumps = [{}], on_miss = \"pass\")",
                jumps.join(", ")
            )
            .expect("memory");
            let source = format!(
                "#include <ouro/program.h>\nSEC(\"xdp\") int p{number}(struct xdp_md *ctx)\n{{\n\t{body}\n}}\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"
            );
            fs::write(folder.join(format!("p{number}.c")), source).expect("a file");
        }
        writeln!(rules, "bpf_chain(name = \"{name}\", entry = \":p0\", attach = [xdp(interface = \"eth0\")])").expect("memory");
        fs::write(folder.join("BUILD.ouro"), rules).expect("a file");
        let bundle = folder.join("bench.bundle");
        run(Command::new(crate::OURO).args(["bundle", &format!("//:{name}"), "-o", "bench.bundle"]).current_dir(folder));
        run(Command::new("tar").args(["-xf", "bench.bundle"]).current_dir(folder));
        Chain::unpacked(folder, bundle)
    }

    fn unpacked(folder: &Path, bundle: PathBuf) -> Chain {
        let text = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let word = |program: &serde_json::Value, name: &str| program[name].as_str().expect("text").to_owned();
        let programs = manifest["programs"].as_array().expect("programs");
        Chain {
            bundle,
            name: word(&manifest, "name"),
            programs: programs
                .iter()
                .map(|program| (word(program, "name"), program["slot"].as_u64(), folder.join(word(program, "object"))))
                .collect(),
        }
    }

    /// What `libbpf.c` takes.
    pub fn words(&self) -> Vec<String> {
        let slot = |slot: &Option<u64>| slot.map_or_else(|| "-1".to_owned(), |slot| slot.to_string());
        let of = |(name, at, object): &(String, Option<u64>, PathBuf)| [name.clone(), slot(at), object.display().to_string()];
        self.programs.iter().flat_map(of).collect()
    }

    /// The same by bpftool.
    pub fn script(&self, pins: &Path, device: &str) -> String {
        let (pins, count) = (pins.display(), self.programs.len());
        let create = |name: &str, ty: &str, value: u32| {
            format!("bpftool map create {pins}/{name} type {ty} key 4 value {value} entries {count} name {name}\n")
        };
        let mut text = format!("mkdir {pins}\n{}{}", create("table", "prog_array", 4), create("counts", "percpu_array", 16));
        for (name, slot, object) in &self.programs {
            let maps = format!("map name ouro_jumps pinned {pins}/table map name ouro_counts pinned {pins}/counts");
            // An object without jumps has neither map, and bpftool takes no map that is not there.
            let maps = if slot.is_none() { maps } else { String::new() };
            writeln!(text, "bpftool prog load {} {pins}/{name} {maps}", object.display()).expect("memory");
            if let Some(slot) = slot {
                let key = u32::try_from(*slot).expect("a slot").to_ne_bytes().map(|byte| byte.to_string()).join(" ");
                writeln!(text, "bpftool map update pinned {pins}/table key {key} value pinned {pins}/{name}").expect("memory");
            }
        }
        let (entry, ..) = &self.programs[0];
        writeln!(text, "bpftool net attach xdp pinned {pins}/{entry} dev {device}\nbpftool net detach xdp dev {device}")
            .expect("memory");
        text
    }
}
