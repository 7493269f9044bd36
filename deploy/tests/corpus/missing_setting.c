// A setting that no kernel has; its neighbour does without.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

extern bool CONFIG_NO_SUCH_THING __kconfig;

SEC("xdp")
int wants(struct xdp_md *ctx)
{
	return CONFIG_NO_SUCH_THING ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int does_without(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
