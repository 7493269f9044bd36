// Maps of maps, one filled from the start.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} one SEC(".maps"), two SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} filled SEC(".maps") = { .values = { [0] = &one, [1] = &two } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} empty SEC(".maps");

SEC("xdp")
int outer(struct xdp_md *ctx)
{
	__u32 key = 1;
	void *found = bpf_map_lookup_elem(&filled, &key) ?: bpf_map_lookup_elem(&empty, &key);
	__u64 *value = found ? bpf_map_lookup_elem(found, &key) : 0;

	return value && *value ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
