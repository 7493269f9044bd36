#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	char name[16];
	bpf_probe_read_kernel(name, bpf_get_prandom_u32(), (void *)8);
	return 2;
}
