// How the kernel was made; one setting that may be missing.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern char CONFIG_CC_VERSION_TEXT[8] __kconfig __weak;
extern bool CONFIG_NO_SUCH_THING __kconfig __weak;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;

SEC("xdp")
int settings(struct xdp_md *ctx)
{
	if (LINUX_KERNEL_VERSION < (5 << 16) || !CONFIG_BPF_SYSCALL || CONFIG_NET == TRI_NO || CONFIG_NO_SUCH_THING) {
		for (;;)
			bpf_printk("the verifier refuses this, if it can be reached");
	}
	return CONFIG_CC_VERSION_TEXT[0] && LINUX_HAS_BPF_COOKIE ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
