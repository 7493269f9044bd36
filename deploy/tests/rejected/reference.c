#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!event)
		return 1;
	*event = 1;
	return 2;
}
