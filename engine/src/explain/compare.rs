//! What differs between two lists of facts. Pure.
//!
//! Knows kinds of facts only to tell digests from text: a kind it never heard of is compared all the same, so a new ingredient of
//! the key cannot be missed here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ouro_cache::Digest;

use crate::execute::READ;
use crate::state::journal::Fact;

/// What something that an action depends on is; the names are those of the key's ingredients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// How the engine runs actions.
    Version,
    /// The kind of work.
    Mnemonic,
    /// The program that runs.
    Tool,
    /// An argument.
    Argument,
    /// A variable of the environment.
    Environment,
    /// Where the process writes what it read.
    Depfile,
    /// An argument of the process' second way.
    Fallback,
    /// A function of the engine, with its arguments.
    Work,
    /// What its outputs must be.
    Check,
    /// The bytes that are written.
    Content,
    /// A file it is given.
    Input,
    /// A file it is given may be run.
    Executable,
    /// A file it makes.
    Output,
    /// A file it read besides those it is given.
    Read,
    /// Something of another kind.
    Other(Arc<str>),
    /// All is the same, in another order.
    Order,
}

/// A thing that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is.
    pub kind: Kind,
    /// Which: a path, an argument, a variable; empty where there is but one.
    pub name: String,
    /// What it was; nothing when it was not there.
    pub old: Option<Value>,
    /// What it is now; nothing when it is gone.
    pub new: Option<Value>,
}

/// What a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Bytes, by digest.
    Digest(Digest),
    /// Itself.
    Text(String),
    /// There; the name says it all.
    There,
}

/// What differs, by kind and name; nothing exactly when both would give the same key, and what was read is unchanged.
pub fn compare(old: &[Arc<Fact>], new: &[Arc<Fact>]) -> Vec<Difference> {
    let (before, after) = (named(old), named(new));
    let names: BTreeSet<&(Kind, String)> = before.keys().chain(after.keys()).collect();
    let none = Vec::new();
    let mut differences = Vec::new();
    for name in names {
        differences.extend(pairs(name, before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none)));
    }
    // A source that changed is also among the files that were read.
    let inputs: BTreeSet<String> = differences.iter().filter(|one| one.kind == Kind::Input).map(|one| one.name.clone()).collect();
    differences.retain(|one| one.kind != Kind::Read || !inputs.contains(&one.name));
    if differences.is_empty() {
        differences.extend(order(old, new));
    }
    differences
}

/// The values under each name, in their order. A file that was read and is gone has none.
fn named(facts: &[Arc<Fact>]) -> BTreeMap<(Kind, String), Vec<Option<Value>>> {
    let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for fact in facts {
        let kind = Kind::of(&fact.kind);
        let (name, value) = kind.name_and_value(&fact.parts);
        named.entry((kind, name)).or_default().push(value);
    }
    named
}

fn pairs((kind, name): &(Kind, String), old: &[Option<Value>], new: &[Option<Value>]) -> Vec<Difference> {
    // What is read depends on everything else: a header that is read for the first time, or no more, is no reason but a result.
    if *kind == Kind::Read && (old.is_empty() || new.is_empty()) {
        return Vec::new();
    }
    let pair = |place: usize| (old.get(place).cloned().flatten(), new.get(place).cloned().flatten());
    let places = (0..old.len().max(new.len())).map(pair).filter(|(old, new)| old != new);
    places.map(|(old, new)| Difference { kind: kind.clone(), name: name.clone(), old, new }).collect()
}

/// The kind of the first thing that stands elsewhere.
fn order(old: &[Arc<Fact>], new: &[Arc<Fact>]) -> Option<Difference> {
    let keyed = |facts: &[Arc<Fact>]| facts.iter().filter(|fact| &*fact.kind != READ).cloned().collect::<Vec<_>>();
    let (old, new) = (keyed(old), keyed(new));
    let moved = old.iter().zip(&new).find(|(old, new)| old != new)?;
    Some(Difference { kind: Kind::Order, name: moved.0.kind.to_string(), old: None, new: None })
}

impl Kind {
    fn of(word: &str) -> Kind {
        match word {
            "version" => Kind::Version,
            "mnemonic" => Kind::Mnemonic,
            "tool" => Kind::Tool,
            "argument" => Kind::Argument,
            "environment" => Kind::Environment,
            "depfile" => Kind::Depfile,
            "fallback" => Kind::Fallback,
            "work" => Kind::Work,
            "check" => Kind::Check,
            "content" => Kind::Content,
            "input" => Kind::Input,
            "executable" => Kind::Executable,
            "output" => Kind::Output,
            READ => Kind::Read,
            other => Kind::Other(other.into()),
        }
    }

    /// The word for it, as in keys.
    pub fn word(&self) -> &str {
        match self {
            Kind::Version => "version",
            Kind::Mnemonic => "mnemonic",
            Kind::Tool => "tool",
            Kind::Argument => "argument",
            Kind::Environment => "environment",
            Kind::Depfile => "depfile",
            Kind::Fallback => "fallback",
            Kind::Work => "work",
            Kind::Check => "check",
            Kind::Content => "content",
            Kind::Input => "input",
            Kind::Executable => "executable",
            Kind::Output => "output",
            Kind::Read => READ,
            Kind::Other(word) => word,
            Kind::Order => "order",
        }
    }

    /// What two lists are compared by, and what then differs. Damaged numbers and digests are shown as the text they are not.
    fn name_and_value(&self, [first, second]: &[Arc<[u8]>; 2]) -> (String, Option<Value>) {
        let alone = |value: Value| (String::new(), Some(value));
        match self {
            Kind::Version => alone(Value::Text(number(first))),
            Kind::Tool => alone(digest(first)),
            Kind::Mnemonic | Kind::Depfile | Kind::Order => alone(Value::Text(text(first))),
            Kind::Work | Kind::Check => alone(Value::Text(format!("version {}: {}", number(first), text(second)))),
            Kind::Content => (if second[..] == [1] { "executable".to_owned() } else { String::new() }, Some(digest(first))),
            Kind::Argument | Kind::Executable | Kind::Output => (text(first), Some(Value::There)),
            Kind::Input => (text(first), Some(digest(second))),
            Kind::Read => (text(first), (!second.is_empty()).then(|| digest(second))),
            Kind::Environment | Kind::Fallback | Kind::Other(_) => (text(first), Some(Value::Text(text(second)))),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: &[u8]) -> String {
    bytes.try_into().map_or_else(|_| text(bytes), |bytes| u32::from_le_bytes(bytes).to_string())
}

fn digest(bytes: &[u8]) -> Value {
    bytes.try_into().map_or_else(|_| Value::Text(text(bytes)), |bytes| Value::Digest(Digest::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::key::{self, Ingredient};

    fn facts(ingredients: &[Ingredient<'_>]) -> Vec<Arc<Fact>> {
        ingredients.iter().map(|one| Arc::new(one.with_parts(Fact::new))).collect()
    }

    fn of(bytes: &str) -> Digest {
        Digest::of(bytes.as_bytes())
    }

    /// One of every kind.
    fn all() -> Vec<Ingredient<'static>> {
        vec![
            Ingredient::Version(1),
            Ingredient::Mnemonic("compile"),
            Ingredient::Tool(of("clang 18")),
            Ingredient::Argument("-O2"),
            Ingredient::Argument("-g"),
            Ingredient::Environment("A", "1"),
            Ingredient::Depfile("a.d"),
            Ingredient::Work(1, "{}".to_owned()),
            Ingredient::Content(of("text"), false),
            Ingredient::Input("a.c", of("source")),
            Ingredient::Output("a.o"),
            Ingredient::Executable("a.sh"),
            Ingredient::Fallback("-Ia", "b.h"),
            Ingredient::Check(1, "{}".to_owned()),
        ]
    }

    /// A new kind of ingredient does not compile here; it needs a kind of its own, and a place in the tests below.
    fn kind(ingredient: &Ingredient<'_>) -> Kind {
        match ingredient {
            Ingredient::Version(_) => Kind::Version,
            Ingredient::Mnemonic(_) => Kind::Mnemonic,
            Ingredient::Tool(_) => Kind::Tool,
            Ingredient::Argument(_) => Kind::Argument,
            Ingredient::Environment(..) => Kind::Environment,
            Ingredient::Depfile(_) => Kind::Depfile,
            Ingredient::Fallback(..) => Kind::Fallback,
            Ingredient::Work(..) => Kind::Work,
            Ingredient::Check(..) => Kind::Check,
            Ingredient::Content(..) => Kind::Content,
            Ingredient::Input(..) => Kind::Input,
            Ingredient::Executable(_) => Kind::Executable,
            Ingredient::Output(_) => Kind::Output,
        }
    }

    /// What is told when the ingredient at `place` is replaced, which must also change the key.
    #[track_caller]
    fn told(place: usize, with: Ingredient<'static>) -> Vec<(Kind, String, Option<Value>, Option<Value>)> {
        let mut changed = all();
        changed[place] = with;
        assert_ne!(key::digest(&all()), key::digest(&changed));
        let differences = compare(&facts(&all()), &facts(&changed));
        differences.into_iter().map(|one| (one.kind, one.name, one.old, one.new)).collect()
    }

    fn text_value(text: &str) -> Option<Value> {
        Some(Value::Text(text.to_owned()))
    }

    #[test]
    fn every_kind_of_ingredient_is_known_and_nothing_differs_from_itself() {
        for ingredient in all() {
            let word = ingredient.with_parts(|word, _| word);
            assert_eq!((Kind::of(word), Kind::of(word).word()), (kind(&ingredient), word));
        }
        assert_eq!(compare(&facts(&all()), &facts(&all())), []);
    }

    #[test]
    fn every_kind_stands_in_the_documentation() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/explain.md")).unwrap();
        let rows = page.lines().skip_while(|line| !line.starts_with("| `reason` |")).take_while(|line| line.starts_with('|'));
        let named: Vec<&str> = rows.filter_map(|row| row.split('|').nth(1)).collect();
        for kind in all().iter().map(kind).chain([Kind::Read, Kind::Order]) {
            assert!(named.iter().any(|names| names.contains(&format!("`{}`", kind.word()))), "{kind:?}");
        }
    }

    #[test]
    fn version_differs() {
        assert_eq!(told(0, Ingredient::Version(2)), [(Kind::Version, String::new(), text_value("1"), text_value("2"))]);
    }

    #[test]
    fn fallback_differs() {
        let expected = [(Kind::Fallback, "-Ia".to_owned(), text_value("b.h"), text_value("c.h"))];
        assert_eq!(told(12, Ingredient::Fallback("-Ia", "c.h")), expected);
    }

    #[test]
    fn mnemonic_differs() {
        let expected = [(Kind::Mnemonic, String::new(), text_value("compile"), text_value("link"))];
        assert_eq!(told(1, Ingredient::Mnemonic("link")), expected);
    }

    #[test]
    fn tool_differs() {
        let (old, new) = (Value::Digest(of("clang 18")), Value::Digest(of("clang 19")));
        assert_eq!(told(2, Ingredient::Tool(of("clang 19"))), [(Kind::Tool, String::new(), Some(old), Some(new))]);
    }

    #[test]
    fn argument_differs() {
        let there = || Some(Value::There);
        let expected = [(Kind::Argument, "-O1".to_owned(), None, there()), (Kind::Argument, "-O2".to_owned(), there(), None)];
        assert_eq!(told(3, Ingredient::Argument("-O1")), expected);
        // The same argument twice is not the same as once.
        let twice = told(3, Ingredient::Argument("-g"));
        assert_eq!(twice, [(Kind::Argument, "-O2".to_owned(), there(), None), (Kind::Argument, "-g".to_owned(), None, there())]);
    }

    #[test]
    fn environment_differs() {
        let expected = [(Kind::Environment, "A".to_owned(), text_value("1"), text_value("2"))];
        assert_eq!(told(5, Ingredient::Environment("A", "2")), expected);
    }

    #[test]
    fn depfile_differs() {
        assert_eq!(told(6, Ingredient::Depfile("b.d")), [(Kind::Depfile, String::new(), text_value("a.d"), text_value("b.d"))]);
    }

    #[test]
    fn work_and_checks_differ() {
        type Made = fn(u32, String) -> Ingredient<'static>;
        let kinds: [(usize, Kind, Made); 2] = [(7, Kind::Work, Ingredient::Work), (13, Kind::Check, Ingredient::Check)];
        for (place, kind, made) in kinds {
            for other in [made(2, "{}".to_owned()), made(1, "{\"a\":1}".to_owned())] {
                let told = told(place, other);
                assert!(told.len() == 1 && told[0].0 == kind && told[0].2 != told[0].3, "{told:?}");
            }
        }
    }

    #[test]
    fn content_differs() {
        let (old, new) = (Value::Digest(of("text")), Value::Digest(of("other")));
        let expected = [(Kind::Content, String::new(), Some(old), Some(new))];
        assert_eq!(told(8, Ingredient::Content(of("other"), false)), expected);
        assert_eq!(told(8, Ingredient::Content(of("text"), true)).len(), 2, "one gone, another that may be run");
    }

    #[test]
    fn input_differs() {
        let (old, new) = (Value::Digest(of("source")), Value::Digest(of("other")));
        let expected = [(Kind::Input, "a.c".to_owned(), Some(old), Some(new))];
        assert_eq!(told(9, Ingredient::Input("a.c", of("other"))), expected);
        assert_eq!(told(9, Ingredient::Input("b.c", of("source"))).len(), 2);
    }

    #[test]
    fn executable_differs() {
        let names: Vec<String> = told(11, Ingredient::Executable("b.sh")).into_iter().map(|one| one.1).collect();
        assert_eq!(names, ["a.sh", "b.sh"]);
    }

    #[test]
    fn output_differs() {
        let names: Vec<String> = told(10, Ingredient::Output("b.o")).into_iter().map(|one| one.1).collect();
        assert_eq!(names, ["a.o", "b.o"]);
    }

    #[test]
    fn order_differs() {
        let mut swapped = all();
        swapped.swap(3, 4);
        assert_ne!(key::digest(&all()), key::digest(&swapped));
        let differences = compare(&facts(&all()), &facts(&swapped));
        assert!(differences.len() == 1 && differences[0].kind == Kind::Order && differences[0].name == "argument");
    }

    #[test]
    fn another_kind_differs() {
        let fact = |value: &[u8]| vec![Arc::new(Fact::new("novelty", [b"name", value]))];
        let differences = compare(&fact(b"1"), &fact(b"2"));
        let expected = Difference {
            kind: Kind::Other("novelty".into()),
            name: "name".to_owned(),
            old: text_value("1"),
            new: text_value("2"),
        };
        assert_eq!(differences, [expected]);
    }

    #[test]
    fn a_read_counts_when_its_bytes_change_or_it_goes() {
        let read = |path: &str, digest: &[u8]| Arc::new(Fact::new(READ, [path.as_bytes(), digest]));
        let (one, two) = (of("one"), of("two"));
        let changed = compare(&[read("a.h", one.as_bytes())], &[read("a.h", two.as_bytes())]);
        assert_eq!((changed.len(), &changed[0].kind), (1, &Kind::Read));
        let gone = compare(&[read("a.h", one.as_bytes())], &[read("a.h", b"")]);
        assert_eq!((gone.len(), &gone[0].new), (1, &None));
        // What the source includes is the source's doing.
        assert_eq!(compare(&[read("a.h", one.as_bytes())], &[read("b.h", one.as_bytes())]), []);
        // A source is told once.
        let source =
            |digest: Digest| vec![Arc::new(Fact::new("input", [b"a.c", digest.as_bytes()])), read("a.c", digest.as_bytes())];
        assert_eq!(compare(&source(one), &source(two)).len(), 1);
    }
}
