#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct locked { struct bpf_spin_lock lock; __u32 n; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, struct locked); } slots SEC(".maps");
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct locked *slot = bpf_map_lookup_elem(&slots, &key);
	if (!slot)
		return 1;
	bpf_spin_lock(&slot->lock);
	slot->n += 1;
	return 2;
}
