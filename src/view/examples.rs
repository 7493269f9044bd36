//! Chains that the tests of the formats draw.

use ouro_rules::Label;
use ouro_rules::chain::{ChainSpec, Member};
use ouro_rules::manifest::{Attach, Direction, Edge, MapSpec, Replaces, TcVia, XdpMode};

use super::*;

fn map(name: &str, ty: &str, key: &str, value: &str, max_entries: u32) -> MapSpec {
    let (name, ty, key, value) = (name.to_owned(), ty.to_owned(), key.to_owned(), value.to_owned());
    MapSpec { name, ty, key, value, max_entries, ..MapSpec::default() }
}

/// Programs named by `names` with the maps they use, and jumps `(from, to, on_miss, bound)`.
fn chain(names: &[(&str, &[u32])], jumps: &[(u32, u32, i32, Option<u32>)], maps: Vec<MapSpec>) -> ChainSpec {
    let jumped_to = |place: u32| jumps.iter().any(|jump| jump.1 == place);
    let mut slots = 0..;
    let programs = names.iter().zip(0..).map(|((name, maps), place)| Member {
        label: Label::parse(name, "", "fw").unwrap(),
        ty: "xdp".to_owned(),
        slot: if jumped_to(place) { slots.next() } else { None },
        maps: maps.to_vec(),
        hidden: false,
        optional: false,
        replaces: None,
        tried: Vec::new(),
    });
    let programs: Vec<Member> = programs.collect();
    let edge = |(from, to, on_miss, bound): &(u32, u32, i32, Option<u32>)| {
        let name = programs[*to as usize].label.name.to_string();
        Edge { from: *from, to: *to, name, on_miss: *on_miss, bound: *bound }
    };
    let edges: Vec<Edge> = jumps.iter().map(edge).collect();
    ChainSpec {
        workspace: None,
        chain: Label::new("fw", "fw"),
        name: "fw".to_owned(),
        table_size: programs.iter().filter(|member| member.slot.is_some()).count() as u32,
        programs,
        edges,
        maps,
        contents: Default::default(),
        attach: vec![Attach::Xdp { interface: "eth0".to_owned(), mode: XdpMode::Native }],
        counting: true,
        atomic: false,
        tests: Vec::new(),
        has_btf: false,
    }
}

/// One program alone.
pub(super) fn one() -> ChainSpec {
    chain(&[("count", &[0])], &[], vec![map("packets", "percpu_array", "__u32", "__u64", 1)])
}

/// Two programs, the second jumping back, and itself.
pub(super) fn two() -> ChainSpec {
    let mut spec = chain(&[("outer", &[]), ("strip", &[])], &[(0, 1, 2, None), (1, 0, 2, Some(4)), (1, 1, 2, Some(2))], vec![]);
    spec.attach = vec![Attach::Tc {
        interface: "wan0".to_owned(),
        direction: Direction::Ingress,
        priority: 1,
        via: TcVia::Auto,
        handle: 1,
    }];
    spec.programs.iter_mut().for_each(|member| member.ty = "tc".to_owned());
    spec
}

/// The firewall of the examples.
pub(super) fn firewall() -> ChainSpec {
    let maps = vec![
        map("blocked_from", "lpm_trie", "struct prefix", "__u8", 4096),
        map("buckets", "lru_hash", "struct address", "__u64", 65536),
        map("packet_info", "percpu_array", "__u32", "struct packet", 1),
        map("verdicts", "percpu_array", "__u32", "__u64", 4),
    ];
    let names: [(&str, &[u32]); 4] =
        [("parse", &[2, 3]), ("allow", &[3]), ("block_list", &[0, 2, 3]), ("rate_limit", &[1, 2, 3])];
    chain(&names, &[(0, 1, 2, None), (0, 2, 1, None), (2, 3, 1, None), (3, 1, 1, None)], maps)
}

/// Fifteen programs of several packages, with branches that meet again, loops and shared maps.
pub(super) fn fifteen() -> ChainSpec {
    let maps = vec![
        map("events", "ringbuf", "", "", 262_144),
        map("flows", "lru_hash", "struct flow_key", "struct flow", 65536),
        map("routes", "lpm_trie", "struct prefix", "struct route", 10000),
        map("verdicts", "percpu_array", "__u32", "__u64", 16),
    ];
    let names: [(&str, &[u32]); 15] = [
        ("ethernet", &[]),
        ("arp", &[]),
        ("ipv4", &[]),
        ("ipv6", &[]),
        ("vlan", &[]),
        ("ipv6_ext", &[]),
        ("icmp", &[3]),
        ("tcp", &[1]),
        ("udp", &[1]),
        ("//tunnel:vxlan", &[]),
        ("//tunnel:gre", &[]),
        ("conntrack", &[0, 1]),
        ("block_list", &[0, 3]),
        ("rate_limit", &[3]),
        ("route", &[2, 3]),
    ];
    let jumps = [
        (0, 1, 2, None),
        (0, 2, 1, None),
        (0, 3, 1, None),
        (0, 4, 1, None),
        (4, 0, 1, Some(2)),
        (3, 5, 1, None),
        (5, 5, 1, Some(6)),
        (2, 6, 1, None),
        (2, 7, 1, None),
        (2, 8, 1, None),
        (3, 7, 1, None),
        (3, 8, 1, None),
        (5, 8, 1, None),
        (8, 9, 2, None),
        (9, 0, 1, Some(1)),
        (2, 10, 2, None),
        (10, 2, 1, Some(1)),
        (7, 11, 1, None),
        (8, 11, 1, None),
        (11, 12, 1, None),
        (12, 13, 1, None),
        (13, 14, 1, None),
        (11, 14, 1, None),
        (6, 13, 1, None),
    ];
    let mut spec = chain(&names, &jumps, maps);
    spec.attach.push(Attach::Xdp { interface: "eth1".to_owned(), mode: XdpMode::Native });
    spec
}

/// Names that mean something in every format.
pub(super) fn hostile() -> ChainSpec {
    let mut spec = two();
    spec.attach = vec![Attach::Xdp { interface: "<a&\"b>".to_owned(), mode: XdpMode::Generic }];
    spec.programs[1].label.name = "x\"]--><script>".into();
    spec
}

#[test]
fn text_is_a_tree_with_columns() {
    let expected = "\
//fw:fw  4 programs, 4 jumps, 3 slots
eth0 xdp native
parse             entry
├─ allow          slot 0   miss: pass
└─ block_list     slot 1   miss: drop
   └─ rate_limit  slot 2   miss: drop
      └─ allow    (above)  miss: drop
maps
  blocked_from  lpm_trie, 4096 entries   struct prefix → __u8    block_list
  buckets       lru_hash, 65536 entries  struct address → __u64  rate_limit
  packet_info   percpu_array, 1 entry    __u32 → struct packet   parse, block_list, rate_limit
  verdicts      percpu_array, 4 entries  __u32 → __u64           parse, allow, block_list, rate_limit
";
    let drawn = draw(&firewall(), Format::Text, false);
    assert_eq!(drawn, expected);
    assert!(!drawn.contains('\u{1b}') && draw(&firewall(), Format::Text, true).contains('\u{1b}'));
}

#[test]
fn loops_and_names_are_told() {
    let drawn = draw(&two(), Format::Text, false);
    assert!(drawn.contains("   ├─ outer  (above)        miss: drop, loop ≤ 4\n"), "{drawn}");
    let mut spec = two();
    spec.edges[0].name = "inner".to_owned();
    assert!(draw(&spec, Format::Text, false).contains("as inner, miss: drop"));
}

#[test]
fn extensions_stand_below_the_tree() {
    let mut spec = chain(&[("//fw:parse", &[]), ("//fw:strict", &[])], &[], Vec::new());
    spec.programs[1].replaces = Some(Replaces { program: "parse".to_owned(), function: "policy".to_owned() });
    let expected = "//fw:fw  2 programs\neth0 xdp native\nparse   entry\nstrict  replaces policy of parse\n";
    assert_eq!(draw(&spec, Format::Text, false), expected);
    let json: serde_json::Value = serde_json::from_str(&draw(&spec, Format::Json, false)).unwrap();
    assert_eq!(json["programs"][1]["replaces"]["function"], "policy");
    assert!(draw(&spec, Format::Dot, false).contains("replaces policy of parse"));
}

#[test]
fn hidden_programs_are_in_no_picture() {
    let mut spec = firewall();
    spec.programs[3].hidden = true;
    for format in [Format::Text, Format::Dot, Format::Mermaid, Format::Svg] {
        let drawn = draw(&spec, format, false);
        assert!(!drawn.contains("rate_limit") && drawn.contains("block_list"), "{drawn}");
    }
    assert!(draw(&spec, Format::Json, false).contains("\"hidden\": true"));
}

#[test]
fn json_names_what_the_chain_is_made_of() {
    let json: serde_json::Value = serde_json::from_str(&draw(&firewall(), Format::Json, false)).unwrap();
    assert_eq!(json["chain"], "//fw:fw");
    assert_eq!(json["attach"][0], serde_json::json!({ "hook": "xdp", "interface": "eth0", "mode": "native" }));
    assert_eq!(
        json["programs"][0],
        serde_json::json!({ "label": "//fw:parse", "type": "xdp", "entry": true, "slot": null, "maps": ["packet_info", "verdicts"], "hidden": false })
    );
    assert_eq!(
        json["jumps"][0],
        serde_json::json!({ "from": "//fw:parse", "to": "//fw:allow", "name": "allow", "on_miss": 2, "verdict": "pass", "loop": null })
    );
    assert_eq!(json["maps"][3]["max_entries"], 4);
}

#[test]
fn names_cannot_break_out_of_a_format() {
    let svg = draw(&hostile(), Format::Svg, false);
    assert!(!svg.contains("<script>") && !svg.contains("<a&") && svg.contains("x&quot;]--&gt;&lt;script&gt;"), "{svg}");
    let mermaid = draw(&hostile(), Format::Mermaid, false);
    assert!(mermaid.contains("x#quot;]--#gt;#lt;script#gt;") && !mermaid.contains("<script>"), "{mermaid}");
    let dot = draw(&hostile(), Format::Dot, false);
    assert!(dot.contains("x\\\"]--><script>"), "{dot}");
    serde_json::from_str::<serde_json::Value>(&draw(&hostile(), Format::Json, false)).unwrap();
}

#[test]
fn every_arrow_is_in_every_picture() {
    for spec in [one(), two(), firewall(), fifteen()] {
        let arrows = spec.attach.len() + spec.edges.len() + spec.programs.iter().map(|member| member.maps.len()).sum::<usize>();
        let count = |format, sign: &str| draw(&spec, format, false).matches(sign).count();
        assert_eq!(count(Format::Dot, " -> "), arrows);
        assert_eq!(count(Format::Svg, "marker-end="), spec.attach.len() + spec.edges.len());
        let mermaid = draw(&spec, Format::Mermaid, false);
        assert_eq!(["==>", "-->|", "-.->|", " -.- "].iter().map(|sign| mermaid.matches(sign).count()).sum::<usize>(), arrows);
    }
}
