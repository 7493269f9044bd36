//! Programs as BUILD files declare them, and what reading their objects gives.
//!
//! Knows nothing of what may be wrong with them.

use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::header::HeaderSpec;
use ouro_rules::manifest::MapSpec;
use ouro_rules::object::{Expected, Facts, inspect};

use crate::clang::compile;

pub const LICENSE: &str = "char _license[] SEC(\"license\") = \"GPL\";\n";

/// A program without jumps.
pub const PASS: &str = "SEC(\"xdp\") int parse(struct xdp_md *ctx) { return ctx->rx_queue_index; }";

/// One that jumps at line 5 and at line 7.
pub const TWO_JUMPS: &str = r#"
SEC("xdp") int parse(struct xdp_md *ctx) {
	if (ctx->rx_queue_index)
		OURO_JUMP(ctx, block_list);
	else
		JUMP_TO_PROGRAM(ctx, PROG_rate_limit);
}"#;

/// A program as a BUILD file declares it.
#[derive(Clone)]
pub struct Declared {
    pub header: HeaderSpec,
    pub expected: Expected,
}

impl Declared {
    pub fn maps(mut self, maps: &[MapSpec]) -> Declared {
        (self.header.maps, self.expected.maps) = (maps.to_vec(), maps.to_vec());
        self
    }

    pub fn ty(mut self, ty: &str) -> Declared {
        self.expected.ty = ty.to_owned();
        self
    }

    pub fn function(mut self, name: &str) -> Declared {
        self.expected.function = Some(name.to_owned());
        self
    }

    /// The header offers these jumps, whatever is declared: what a stale or home-made header would do.
    pub fn offering(mut self, jumps: &[&str]) -> Declared {
        self.header.jumps = jumps.iter().map(|name| ((*name).to_owned(), 1)).collect();
        self
    }

    pub fn object(&self, source: &str, flags: &[&str]) -> Vec<u8> {
        let source = format!("#include <ouro/program.h>\n{source}\n{LICENSE}");
        compile(&self.header, &source, flags).unwrap_or_else(|message| panic!("{message}"))
    }

    pub fn inspect(&self, source: &str) -> Result<Facts, Vec<Diagnostic>> {
        inspect(&self.object(source, &[]), &self.expected)
    }

    /// The facts of a source that has nothing wrong; line 2 of the file is its first.
    pub fn facts(&self, source: &str) -> Facts {
        self.inspect(source).unwrap_or_else(|findings| panic!("{findings:#?}"))
    }

    /// The only finding, as `file:line: message`.
    pub fn finding(&self, source: &str) -> String {
        let findings = self.inspect(source).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(findings[0].help.is_some(), "{findings:#?}");
        shown(&findings[0])
    }
}

/// An XDP program with these jumps, and no maps.
pub fn xdp(jumps: &[&str]) -> Declared {
    let jumps: Vec<String> = jumps.iter().map(|name| (*name).to_owned()).collect();
    let label = "//fw:parse".to_owned();
    Declared {
        header: HeaderSpec {
            label: label.clone(),
            jumps: jumps.iter().map(|name| (name.clone(), 1)).collect(),
            ..HeaderSpec::default()
        },
        expected: Expected { label, ty: "xdp".to_owned(), function: None, jumps, maps: Vec::new() },
    }
}

/// A map of 4096 entries.
pub fn map(name: &str, ty: &str, key: &str, value: &str) -> MapSpec {
    let text = |text: &str| text.to_owned();
    MapSpec {
        name: text(name),
        ty: text(ty),
        key: text(key),
        value: text(value),
        max_entries: 4096,
        flags: 0,
        ..MapSpec::default()
    }
}

/// A finding as `file:line: message`.
pub fn shown(finding: &Diagnostic) -> String {
    match &finding.span {
        Some(span) => format!("{}:{}: {}", span.file, span.line, finding.message),
        None => finding.message.clone(),
    }
}

/// Each jump with its function and its line.
pub fn sites(facts: &Facts) -> Vec<(&str, &str, u32)> {
    facts.jumps.iter().map(|jump| (jump.name.as_str(), jump.function.as_str(), jump.line)).collect()
}
