//! How programs read the arguments of declared probes: from a table that libbpf's `usdt.bpf.h` defines and a deployer fills.
//!
//! Knows the members of the table by their names, as versions of the header differ in where they are; not what stands in the table.

use ouro_btf::{Btf, Kind, Member, Type};

use super::decoded;
use super::elf::Image;
use super::endian;
use super::unreadable::Unreadable;
use crate::diagnostic::Diagnostic;
use crate::manifest::{Arguments, Bits, SPECS_MAP};

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

/// How an object reads the arguments of probes; none if it does not.
pub fn arguments(object: &[u8]) -> Result<Option<Arguments>, Diagnostic> {
    let unreadable = |error: Unreadable| error.finding();
    let object = endian::little(object);
    let image = Image::read(&object).map_err(unreadable)?;
    decoded::types(&image).map_err(unreadable)?.map_or(Ok(None), |btf| of_types(&btf))
}

/// The same of an object with these types.
pub(super) fn of_types(btf: &Btf) -> Result<Option<Arguments>, Diagnostic> {
    let variables = btf.variables(".maps").into_iter().filter_map(|id| btf.get(id));
    let mut tables = variables.filter(|ty| ty.kind == Kind::Variable && btf.name(*ty) == SPECS_MAP);
    tables.next().map(|table| read(btf, table).map_err(|what| unknown(&what))).transpose()
}

fn unknown(what: &str) -> Diagnostic {
    Diagnostic::bare(format!("the arguments of declared probes are read in a way that ouro does not know: {what}"))
        .note(format!("`{SPECS_MAP}` is the table of libbpf's `usdt.bpf.h`, which ouro fills"))
        .help("include `<bpf/usdt.bpf.h>`, and define no map of that name")
}

fn read(btf: &Btf, table: Type) -> Result<Arguments, String> {
    let definition = btf.resolve(table.size_or_type).filter(|ty| ty.kind == Kind::Struct).ok_or("the table has no definition")?;
    let pointee = |name: &str| btf.pointee(member(btf, definition, name)?.ty);
    let number = pointee("type").and_then(|array| btf.resolve(array)?.array()).map(|(_, count)| count);
    if number != Some(ARRAY) || pointee("key").and_then(|key| btf.size(key)) != Some(4) {
        return Err("the table is no array".to_owned());
    }
    let element = pointee("value").and_then(|value| btf.resolve(value)).ok_or("its elements have no type")?;
    only(btf, element, &["args", "usdt_cookie", "arg_cnt"])?;
    let (args, _) = bits(btf, element, "args")?;
    let list = member(btf, element, "args").and_then(|args| btf.resolve(args.ty)?.array());
    let (ty, most) = list.ok_or("`args` is no array")?;
    let (argument, step) = btf.resolve(ty).zip(btf.size(ty)).ok_or("an argument has no type")?;
    let known = ["val_off", "arg_type", "reg_off", "arg_signed", "arg_bitshift", "idx_reg_off", "scale_bitshift", "__reserved"];
    only(btf, argument, &known)?;
    let part = |name: &str| bits(btf, argument, name);
    let has_index = member(btf, argument, "idx_reg_off").is_some();
    let found = Arguments {
        size: element.size_or_type,
        first: args / 8,
        step,
        most,
        count: bits(btf, element, "arg_cnt")?,
        value: part("val_off")?,
        kind: part("arg_type")?,
        register: part("reg_off")?,
        sign: part("arg_signed")?,
        shift: part("arg_bitshift")?,
        index: if has_index { Some((part("idx_reg_off")?, part("scale_bitshift")?)) } else { None },
    };
    if found.is_sound() { Ok(found) } else { Err("its members lie in no order".to_owned()) }
}

fn member<'a>(btf: &'a Btf, record: Type, name: &str) -> Option<&'a Member> {
    btf.members(record).iter().find(|member| btf.member_name(member) == name)
}

/// What is new may mean that the rest means something else.
fn only(btf: &Btf, record: Type, known: &[&str]) -> Result<(), String> {
    let new = btf.members(record).iter().map(|member| btf.member_name(member)).find(|name| !known.contains(name));
    new.map_or(Ok(()), |name| Err(format!("`struct {}` has a member `{name}`", btf.name(record))))
}

fn bits(btf: &Btf, record: Type, name: &str) -> Result<Bits, String> {
    let missing = || format!("`struct {}` has no `{name}`", btf.name(record));
    let found = member(btf, record, name).ok_or_else(missing)?;
    let (start, bits) = btf.place(record, found);
    let bits = bits.or_else(|| btf.size(found.ty).map(|size| u64::from(size) * 8));
    let number = |number: u64| u32::try_from(number).ok();
    number(start).zip(bits.and_then(number)).ok_or_else(missing)
}
