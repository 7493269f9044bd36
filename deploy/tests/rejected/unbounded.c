#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct table { unsigned char bytes[64]; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, struct table); } tables SEC(".maps");
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct table *t = bpf_map_lookup_elem(&tables, &key);
	if (!t)
		return 1;
	return t->bytes[bpf_get_prandom_u32()];
}
