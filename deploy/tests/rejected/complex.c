#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	__u32 sum = 0;
	for (__u32 i = 0; i < 1000000; i++) {
		sum += bpf_get_prandom_u32();
	}
	return sum & 1;
}
