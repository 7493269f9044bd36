// Variables of the kernel: one with a type, one without that may be missing, and one that no kernel has.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern const int bpf_prog_active __ksym;
extern const void init_task __ksym __weak;
extern const int no_such_variable __ksym __weak;

SEC("tp_btf/sched_switch")
int typed(void *ctx)
{
	int *active = bpf_per_cpu_ptr(&bpf_prog_active, 0);

	return active ? *active : 0;
}

SEC("raw_tp/sched_switch")
int weak(void *ctx)
{
	if (&no_such_variable) {
		for (;;)
			bpf_printk("the verifier refuses this, if it can be reached");
	}
	bpf_printk("%lx", &init_task);
	return 0;
}

char _license[] SEC("license") = "GPL";
