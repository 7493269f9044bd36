//! Reads compiled objects: programs, maps, tail calls, stack use; and compares them with what was declared.
//!
//! Pure: bytes in, facts or findings out.

mod endian;
mod unreadable;

mod elf;
mod insn;
mod lines;

mod body;
mod flow;
mod results;
mod state;
mod value;

mod arguments;
mod calls;
mod decoded;
mod globals;
mod jumps;
mod layout;
mod maps;
mod program;
mod replaced;
mod tables;

use serde::{Deserialize, Serialize};

pub use self::arguments::arguments;
pub use self::globals::{Form, Global, check_globals, globals, unknown as unknown_global};
pub use self::replaced::{Side, check_replaced};
pub use self::tables::{Table, tables};

use self::decoded::Decoded;
use self::elf::{Image, Symbol};
use self::unreadable::Unreadable;
use crate::diagnostic::{Diagnostic, sorted};
use crate::manifest::{COUNTING, EDGE_PREFIX, LINK_SECTION, MapSpec, SLOT_PREFIX, SPECS_MAP};

/// Bytes of a number the bundle step writes.
const LINK_BYTES: usize = 4;

/// What a BUILD file says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The program's label, for messages.
    pub label: String,
    /// Its declared type: `xdp`, `cgroup_skb/egress`.
    pub ty: String,
    /// The C function, when named.
    pub function: Option<String>,
    /// The names of the declared jumps.
    pub jumps: Vec<String>,
    /// The declared maps.
    pub maps: Vec<MapSpec>,
}

/// What an object really holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The program's C function.
    pub function: String,
    /// Its ELF section.
    pub section: String,
    /// The license string.
    pub license: String,
    /// Bytes of stack of the deepest path of calls.
    pub stack: u32,
    /// Instructions of the object.
    pub instructions: u32,
    /// The declared maps the object refers to, with the sizes of keys and values from its BTF.
    pub maps: Vec<MapSpec>,
    /// Every tail call found in the bytecode.
    pub jumps: Vec<JumpSite>,
    /// Whether it reads arguments of declared probes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reads_arguments: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(answer: &bool) -> bool {
    !*answer
}

/// A tail call in the bytecode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JumpSite {
    /// The declared jump it takes.
    pub name: String,
    /// The C function it stands in.
    pub function: String,
    /// Its source file and line, when the object says; the line is 0 otherwise.
    pub file: String,
    /// See `file`.
    pub line: u32,
}

impl Facts {
    /// As stored: JSON, one line feed at the end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("BUG: facts are plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Facts::to_json`] wrote.
    pub fn from_json(bytes: &[u8]) -> Result<Facts, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Decodes an object and compares it with what is declared; every finding at once.
///
/// Looked at is what runs when the program does: of several programs in one source, those not chosen are nobody's business.
pub fn inspect(object: &[u8], expected: &Expected) -> Result<Facts, Vec<Diagnostic>> {
    let unreadable =
        |error: Unreadable| vec![Diagnostic { message: format!("`{}`: {error}", expected.label), ..error.finding() }];
    let object = endian::little(object);
    let image = Image::read(&object).map_err(unreadable)?;
    let btf = decoded::types(&image).map_err(unreadable)?;
    let decoded = Decoded::read(image, btf.as_ref()).map_err(unreadable)?;
    let mut findings = Vec::new();
    let program = program::find(&decoded, expected, &mut findings);
    let license = program::license(&decoded, expected).map_err(|finding| findings.push(finding));
    let is_table = program::is_of_table(&expected.ty);
    let functions = decoded.reachable(program.filter(|_| !is_table).map_or_else(|| decoded.programs(), |program| vec![program]));
    let maps = maps::check(&decoded, &functions, expected, &mut findings).map_err(unreadable)?;
    let reads_arguments = maps::is_used(&decoded, &functions, SPECS_MAP);
    let Some(program) = program else { return Err(sorted(findings)) };
    let jumps = jumps::check(&decoded, &functions, expected, &mut findings);
    let stack = calls::check(&decoded, program, &functions, &mut findings);
    match license {
        Ok(license) if findings.is_empty() => Ok(Facts {
            function: decoded.function(program).name.to_owned(),
            section: decoded.section_of(program).to_owned(),
            license,
            stack,
            instructions: instructions(&decoded),
            maps,
            jumps,
            reads_arguments,
        }),
        _ => Err(sorted(findings)),
    }
}

fn instructions(decoded: &Decoded<'_>) -> u32 {
    let count: usize = decoded.image.code.values().map(|code| code.insns.len()).sum();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether the numbers of an object have their largest byte first.
pub(crate) fn is_big_endian(object: &[u8]) -> bool {
    endian::is_big(object)
}

/// A number the bundle step writes: four bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSymbol {
    /// Its symbol.
    pub name: String,
    /// Its offset in the file.
    pub file_offset: usize,
    /// The order of its bytes, which is the object's.
    pub big_endian: bool,
}

impl LinkSymbol {
    /// The bytes that say `value` there.
    pub fn bytes(&self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// The numbers the bundle step writes, sorted by name: slots, edge ids and the counting switch.
pub fn link_symbols(object: &[u8]) -> Result<Vec<LinkSymbol>, Diagnostic> {
    let (big_endian, object) = (endian::is_big(object), endian::little(object));
    let image = Image::read(&object).map_err(|error| error.finding())?;
    let mut found = Vec::new();
    for symbol in image.symbols.iter().filter(|symbol| image.section_of(symbol) == Some(LINK_SECTION)) {
        if symbol.name == COUNTING || symbol.name.starts_with(SLOT_PREFIX) || symbol.name.starts_with(EDGE_PREFIX) {
            found.push(
                link_symbol(&image, symbol, big_endian)
                    .ok_or_else(|| Unreadable::damaged(format!("`{}` is not four bytes", symbol.name)).finding())?,
            );
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn link_symbol(image: &Image<'_>, symbol: &Symbol<'_>, big_endian: bool) -> Option<LinkSymbol> {
    let section = image.sections.get(symbol.section?)?;
    let at = usize::try_from(symbol.value).ok()?;
    section.data.get(at..at.checked_add(LINK_BYTES)?)?;
    let (name, file_offset) = (symbol.name.to_owned(), section.file_offset + at);
    (symbol.size == LINK_BYTES as u64).then_some(LinkSymbol { name, file_offset, big_endian })
}
