//! Types as odd as C allows: compiled to BTF, printed, compiled back, and compared.

mod support;

use std::fs;

use ouro_btf::{Btf, Damaged, Header, HeaderText, Words};
use support::{compiled, compiled_back, differences};

/// Every kind of type, and every way a member can stand where C alone would not put it.
const ODD: &str = r#"
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef _Bool bool;
struct empty {};
struct plain { char a; short b; int c; long d; long long e; signed char f; unsigned long g; _Bool h; bool i; };
struct wide { __int128 a; unsigned __int128 b; char c; };
struct fractions { float a; double b; };
struct packed { char a; int b; short c; } __attribute__((packed));
struct packed_aligned { char a; int b; } __attribute__((packed, aligned(4)));
struct packed_inside { char a; struct packed b; int c; };
struct packed_short { u64 a; u32 b; } __attribute__((packed));
struct aligned { int a; int b __attribute__((aligned(32))); char c; } __attribute__((aligned(128)));
struct holds_aligned { char a; struct aligned b; char c; };
struct big_gap { char a; char b __attribute__((aligned(4096))); };
struct bits { int a : 3; int b : 29; int c : 1; unsigned long d : 40; unsigned long e : 30; u8 f : 2; u16 g : 9; };
struct bits_apart { int a : 3; int : 0; int b : 3; int : 12; int c : 3; char d; int e : 7; };
struct bits_packed { u8 a : 5; u32 b : 30; u16 c : 13; u64 d : 50; char e; } __attribute__((packed));
struct bits_of_enum { enum color { RED, GREEN = 7, BLUE } a : 4; bool b : 1; char c; };
struct bits_at_end { long a; int b : 1; };
union both { int a; char b[7]; struct { short c; int d : 4; }; long e : 20; };
union aligned_union { char a; } __attribute__((aligned(16)));
struct nested { union { int a; struct { char b; union { short c; long d; }; }; }; struct { int x; } y; struct { int z; } w[2]; };
struct anonymous_bits { struct { u8 a : 4, b : 4; }; union { u32 c : 20; u64 d; }; int e; };
struct arrays { int a[3]; char b[2][3][4]; int *c[5]; int (*d)[5]; char e[0]; struct plain f[2]; };
struct flexible { int a; char b[]; };
struct zero_inside { int a; char b[0]; char c; };
struct functions {
    int (*a)(void); void (*b)(int, char *); int (*c[2])(struct functions *, ...); int (*(*d)(int))(long);
    const char *(*e)(const struct plain *const, volatile int *); void (**f)(u32); int (*(*g)[3])(void);
};
struct qualified { const int a; volatile int b; const volatile char *const volatile c; int *restrict d; const int e[3]; const char *const f[2]; };
struct list { struct list *next, **back; struct tree *tree; union value *value; };
struct tree { struct list *list; struct list inside; };
union value { struct tree *tree; union value *other; };
struct elsewhere; typedef struct elsewhere elsewhere_t;
struct uses_elsewhere { struct elsewhere *a; elsewhere_t *b; union nowhere *c; void *d; };
typedef int (*callback_t)(struct list *, callback_t *x);
"#;

const MORE: &str = r#"
typedef int (*callback_t)(struct list *, void *);
typedef int function_t(int); typedef struct { int a; } unnamed_t; typedef union { int a; } *pointer_t; typedef int matrix_t[2][3];
typedef enum { ONE = 1, TWO } count_t; typedef struct list list_t; typedef list_t alias_t;
struct uses_typedefs { callback_t a; function_t *b; unnamed_t c; unnamed_t *d; pointer_t e; matrix_t f; count_t g; alias_t h; alias_t *i; };
enum large { BIG = 0x100000000ULL, BIGGER = 0xffffffffffffffffULL };
enum negative { NEGATIVE = -1, LOWEST = -2147483647 - 1, HIGH = 2147483647 };
enum low { LOW = -0x7fffffffffffffffLL - 1, LESS = -0x100000000LL };
enum unsigned_one { TOP = 0xffffffff };
enum tiny { TINY = 1 } __attribute__((mode(byte)));
enum half { HALF = 1 } __attribute__((packed, mode(HI)));
enum eight { EIGHT = 1 } __attribute__((mode(DI)));
struct holds_enums { enum large a; enum negative b; enum tiny c; enum half d; enum eight e; enum { IN = 5, OUT } f; enum low g; enum { X1, X2 } *h; };
struct default_ { int default_; };
struct tagged { int __attribute__((btf_type_tag("user"))) *a; struct list __attribute__((btf_type_tag("rcu"))) *b; };
"#;

fn header(btf: Btf) -> Header {
    Header::of(btf).expect("a header")
}

fn text() -> String {
    let types = ODD.replace("typedef int (*callback_t)(struct list *, callback_t *x);\n", "");
    types + MORE
}

/// The BTF of these types, as a compiler makes it.
fn btf_of(types: &str, flags: &[&str]) -> Btf {
    let folder = tempfile::tempdir().expect("a folder");
    let mut source = types.to_owned();
    for (count, line) in types.replace("; typedef", ";\ntypedef").lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        if matches!(words[0], "struct" | "union" | "enum") && words.get(2) == Some(&"{") {
            source += &format!("{} {} *one_{count};\n", words[0], words[1]);
        }
    }
    fs::write(folder.path().join("vmlinux.h"), "").expect("a header");
    Btf::read(&compiled(folder.path(), "types", &source, flags)).expect("BTF")
}

#[test]
fn odd_types_are_the_same_when_printed() {
    for (flags, _) in [(&[][..], "little"), (&["-target", "bpfeb"][..], "big")] {
        let btf = btf_of(&text(), flags);
        let header = header(btf.clone()).whole().expect("a header");
        let found = differences(&btf, &compiled_back(&header, flags));
        assert!(found.is_empty(), "{}\n{header}", found.join("\n"));
    }
}

#[test]
fn what_was_printed_prints_the_same_again() {
    let first = header(btf_of(&text(), &[])).whole().expect("a header");
    for standard in ["-std=gnu11", "-std=gnu23", "-std=c17"] {
        let back = compiled_back(&first, &[standard]);
        assert!(back.len() > 30, "all types are there with {standard}: {}", back.len());
    }
}

/// Two types of one name, as two sources of a kernel have them, and a third that is like the first.
#[test]
fn of_types_with_one_name_the_others_are_numbered() {
    let mut raw = Raw::default();
    let (int, long) = (raw.int("int", 4), raw.int("long", 8));
    let (same, a, b, e) = (raw.name("same"), raw.name("a"), raw.name("b"), raw.name("enumerator"));
    let first = raw.add(&[same, STRUCT | 1, 4, a, int, 0]);
    raw.add(&[same, STRUCT | 1, 4, a, int, 0]);
    let second = raw.add(&[same, STRUCT | 1, 8, b, long, 0]);
    raw.add(&[0, ENUM | 1, 4, e, 1]);
    raw.add(&[0, ENUM | 1, 4, e, 2]);
    let user = raw.name("user");
    let pointer = raw.add(&[0, POINTER, second]);
    raw.add(&[user, STRUCT | 2, 16, a, first, 0, b, pointer, 64]);
    let header = header(Btf::read(&raw.bytes()).expect("BTF"));
    let whole = header.whole().expect("a header");
    assert_eq!(whole.matches("struct same {").count(), 1, "{whole}");
    assert!(whole.contains("struct same___2 {\n\tlong b;\n};") && !whole.contains("same___3"), "{whole}");
    assert!(whole.contains("enumerator = 1") && whole.contains("enumerator___2 = 2"), "{whole}");
    assert!(whole.contains("struct same a;") && whole.contains("struct same___2 *b;"), "{whole}");
    assert!(compiled_back(&whole, &[]).contains_key("struct same"));
    for word in ["same", "same___2"] {
        let mut words = Words::default();
        words.add(word);
        let slim = header.slim(&words).expect("a header");
        assert!(slim.contains("struct same {") && slim.contains("struct same___2 {"), "{word}: {slim}");
    }
}

#[test]
fn names_that_c_keeps_for_itself_are_changed() {
    let mut raw = Raw::default();
    let int = raw.int("int", 4);
    let names = ["default", "register", "while", "a::b<c>", "bool", "true", "__builtin_va_list"].map(|name| raw.name(name));
    let [default, register, while_, path, bool, true_, list] = names;
    let record = raw.add(&[default, STRUCT | 2, 8, register, int, 0, while_, int, 32]);
    raw.add(&[path, STRUCT | 1, 8, register, record, 0]);
    raw.add(&[bool, TYPEDEF, int]);
    raw.add(&[list, TYPEDEF, int]);
    raw.add(&[0, ENUM | 1, 4, true_, 1]);
    raw.add(&[while_, ENUM | 1, 4, register, 1]);
    let header = header(Btf::read(&raw.bytes()).expect("BTF")).whole().expect("a header");
    for standard in ["-std=gnu11", "-std=gnu23"] {
        let back = compiled_back(&header, &[standard]);
        assert!(back.contains_key("struct default_") && back.contains_key("enum while_"), "{header}");
    }
}

#[test]
fn a_module_counts_on_from_its_kernel() {
    let (mut kernel, mut module) = (Raw::default(), Raw::default());
    let int = kernel.int("int", 4);
    let (base, a) = (kernel.name("base"), kernel.name("a"));
    let base = kernel.add(&[base, STRUCT | 1, 4, a, int, 0]);
    (module.first, module.before) = (kernel.next(), kernel.strings.len() as u32);
    let (own, b) = (module.name("own"), module.name("b"));
    module.add(&[own, STRUCT | 1, 4, b, base, 0]);
    let alone = Btf::read(&module.bytes()).and_then(Header::of);
    assert_eq!(alone.err(), Some(Damaged::Dangling(1)));
    let mut btf = Btf::read(&kernel.bytes()).expect("BTF");
    btf.extend(&module.bytes()).expect("BTF on top");
    let header = header(btf).whole().expect("a header");
    assert!(header.contains("struct own {\n\tstruct base b;\n};"), "{header}");
}

#[test]
fn functions_that_programs_may_call_are_declared_for_those_that_name_them() {
    let mut raw = Raw::default();
    let int = raw.int("int", 4);
    let names = ["bpf_get_it", "bpf_kfunc", "it", "task"].map(|name| raw.name(name));
    let [function, tag, it, task] = names;
    let record = raw.add(&[it, STRUCT | 1, 4, task, int, 0]);
    let pointer = raw.add(&[0, POINTER, record]);
    let prototype = raw.add(&[0, PROTOTYPE | 1, pointer, task, int]);
    let function = raw.add(&[function, FUNCTION, prototype]);
    raw.add(&[tag, DECL_TAG, function, u32::MAX]);
    let header = header(Btf::read(&raw.bytes()).expect("BTF"));
    let mut words = Words::default();
    assert!(!header.slim(&words).expect("a header").contains("bpf_get_it"));
    words.add("x = bpf_get_it(1)->task;");
    let slim = header.slim(&words).expect("a header");
    assert!(slim.contains("extern struct it *bpf_get_it(int) __weak __ksym;") && slim.contains("struct it {"), "{slim}");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("vmlinux.h"), slim).expect("a header");
    compiled(folder.path(), "uses", "#include \"vmlinux.h\"\nint f(void) { return bpf_get_it(1)->task; }\n", &[]);
}

#[test]
fn types_without_an_end_are_told() {
    let whole = |words: &[&[u32]]| {
        let mut raw = Raw::default();
        raw.name("a");
        for words in words {
            raw.add(words);
        }
        Btf::read(&raw.bytes()).and_then(Header::of)?.whole()
    };
    // A struct in itself; a typedef of itself; a pointer chain that bites its tail; an unnamed struct in itself.
    assert!(whole(&[&[1, STRUCT | 1, 4, 1, 1, 0]]).is_ok());
    assert_eq!(whole(&[&[1, TYPEDEF, 1]]), Err(Damaged::TooDeep));
    assert_eq!(whole(&[&[1, TYPEDEF, 2], &[0, CONST, 2]]), Err(Damaged::TooDeep));
    assert_eq!(whole(&[&[0, STRUCT | 1, 4, 0, 1, 0], &[1, TYPEDEF, 1]]), Err(Damaged::TooDeep));
    assert_eq!(whole(&[&[1, TYPEDEF, 7]]), Err(Damaged::Dangling(1)));
    // Each struct without a name holds the next one twice.
    let mut doubling: Vec<Vec<u32>> = (0..60).map(|id| vec![0, STRUCT | 2, 8, 0, id + 2, 0, 0, id + 2, 0]).collect();
    doubling.push(vec![0, STRUCT, 0]);
    doubling.push(vec![1, TYPEDEF, 1]);
    let doubling: Vec<&[u32]> = doubling.iter().map(Vec::as_slice).collect();
    assert_eq!(whole(&doubling), Err(Damaged::TooDeep));
    // A gap of half a gigabyte is no text of that size.
    assert!(whole(&[&[1, STRUCT, u32::MAX]]).is_ok_and(|header| header.len() < 1 << 20));
}

/// Bytes that differ from real ones: whatever comes of it, nothing panics and nothing takes long.
#[test]
fn damaged_bytes_are_told_or_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("vmlinux.h"), "").expect("a header");
    let object = compiled(folder.path(), "types", &(text() + "struct nested *a; struct functions *b; struct list *c;"), &[]);
    let at = object.windows(4).position(|window| window == [0x9f, 0xeb, 1, 0]).expect("BTF");
    let btf = &object[at..];
    let mut words = Words::default();
    words.add(&text());
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) as usize % below
    };
    let read = |bytes: &[u8]| {
        if let Ok(header) = Btf::read(bytes).and_then(Header::of) {
            let (_, _) = (header.whole(), header.slim(&words));
        }
    };
    for _ in 0..1500 {
        let mut bytes = btf.to_vec();
        for _ in 0..1 + next(4) {
            let len = bytes.len();
            bytes[next(len)] = next(256) as u8;
        }
        bytes.truncate(if next(8) == 0 { next(btf.len()) } else { btf.len() });
        read(&bytes);
    }
}

#[test]
fn damaged_headers_are_cut_down_to_something() {
    let whole = header(btf_of(&text(), &[])).whole().expect("a header");
    let mut words = Words::default();
    words.add("struct nested struct functions list_t GREEN");
    for end in (0..whole.len()).step_by(7) {
        HeaderText::of(whole[..end].to_owned()).slim(&words);
        HeaderText::of(whole[end..].to_owned()).slim(&words);
    }
}

/// What is reached by value, by a pointer that is named, and by one that is not.
#[test]
fn a_part_of_a_header_compiles_and_has_what_was_named() {
    let whole = header(btf_of(&text(), &[])).whole().expect("a header");
    let btf = btf_of(&text(), &[]);
    let mut words = Words::default();
    words.add("struct uses_typedefs *x; x->i->tree; enum large y; BLUE");
    for slim in [header(btf).slim(&words).expect("a header"), HeaderText::of(whole).slim(&words)] {
        assert!(slim.contains("struct uses_typedefs {") && slim.contains("struct list {"), "{slim}");
        assert!(slim.contains("struct tree {") && slim.contains("union value;") && slim.contains("BLUE = 8"), "{slim}");
        assert!(!slim.contains("union value {") && !slim.contains("struct packed"), "{slim}");
        let back = compiled_back(&slim, &[]);
        assert!(back.contains_key("struct tree") && back.contains_key("enum large"), "{slim}");
    }
}

/// A header that people have written to: what is no type stays, or is kept for those that name it.
#[test]
fn of_a_header_with_more_than_types_the_code_stays() {
    let text = "#ifndef H\n#define H\n/* struct comment { int x; }; */\n#define LIMIT(x) ((struct by_macro *)(x))->y\n\
        struct a {\n\tint x;\n};\n\nstruct b {\n\tstruct a *a;\n\tstruct a **others[2];\n};\n\nstruct by_macro {\n\tint y;\n};\n\n\
        typedef struct {\n\tstruct b b;\n} c_t;\n\nextern struct a *get_a(struct b *b, c_t *c) __weak __ksym;\n\n\
        static inline int use(struct a *a)\n{\n\treturn a->x;\n}\n\nenum {\n\tE1 = (1 << 3),\n\tE2 = 2,\n};\n\n\
        enum named {\n\tN1 = 0,\n} __attribute__((mode(byte)));\n\ntypedef int (*call_t)(struct b *, enum named);\n\n\
        struct holds {\n\tenum named n: 3;\n\tc_t *c;\n\tint (*f)(struct far *, call_t);\n\tunion {\n\t\tcall_t g;\n\t};\n};\n#endif\n";
    let header = HeaderText::of(text.to_owned());
    let slim = |code: &str| {
        let mut words = Words::default();
        words.add(code);
        let slim = header.slim(&words);
        compiled_back(&slim.replace("__weak __ksym", "__attribute__((weak))"), &[]);
        slim
    };
    let least = slim("");
    for kept in
        ["#define LIMIT", "struct by_macro {", "static inline int use(struct a *a)\n{\n\treturn a->x;\n}", "struct a {", "#endif"]
    {
        assert!(least.contains(kept), "{kept}: {least}");
    }
    for left in ["struct b {", "c_t", "enum", "get_a", "holds"] {
        assert!(!least.contains(left), "{left}: {least}");
    }
    let holds = slim("struct holds *h;");
    assert!(holds.contains("struct far;") && holds.contains("enum named {") && holds.contains("} c_t;"), "{holds}");
    assert!(holds.contains("typedef int (*call_t)") && holds.contains("struct b {") && !holds.contains("get_a"), "{holds}");
    assert!(slim("get_a(0, 0)").contains("extern struct a *get_a(struct b *b, c_t *c)"));
    assert!(slim("E2").contains("E1 = (1 << 3)") && slim("N1").contains("enum named {"));
}

const POINTER: u32 = 2 << 24;
const STRUCT: u32 = 4 << 24;
const ENUM: u32 = 6 << 24;
const TYPEDEF: u32 = 8 << 24;
const CONST: u32 = 10 << 24;
const FUNCTION: u32 = 12 << 24;
const PROTOTYPE: u32 = 13 << 24;
const DECL_TAG: u32 = 17 << 24;

/// BTF, word by word.
struct Raw {
    words: Vec<u32>,
    strings: Vec<u8>,
    /// The number of the first type, and where the strings begin: behind those of a kernel.
    first: u32,
    before: u32,
    count: u32,
}

impl Default for Raw {
    fn default() -> Raw {
        Raw { words: Vec::new(), strings: vec![0], first: 1, before: 0, count: 0 }
    }
}

impl Raw {
    fn name(&mut self, name: &str) -> u32 {
        let at = self.before + self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    fn next(&self) -> u32 {
        self.first + self.count
    }

    fn add(&mut self, words: &[u32]) -> u32 {
        self.words.extend(words);
        self.count += 1;
        self.next() - 1
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        let name = self.name(name);
        self.add(&[name, 1 << 24, size, (1 << 24) | (8 * size)])
    }

    fn bytes(&self) -> Vec<u8> {
        let len = 4 * self.words.len() as u32;
        let header = [0x0001_eb9f, 24, 0, len, len, self.strings.len() as u32];
        let words = header.iter().chain(&self.words).flat_map(|word| word.to_le_bytes());
        words.chain(self.strings.iter().copied()).collect()
    }
}
