// Accesses to types of the kernel; one of a member that it never had.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct task_struct {
	int pid;
	struct task_struct *real_parent;
	int no_such_member;
} __attribute__((preserve_access_index));

enum pid_type___ours { PIDTYPE_TGID___ours };

SEC("raw_tp/sched_switch")
int core(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	int sum = BPF_CORE_READ(task, real_parent, pid);

	if (bpf_core_field_exists(task->no_such_member))
		sum += BPF_CORE_READ(task, no_such_member);
	sum += bpf_core_type_size(struct task_struct) + bpf_core_enum_value(enum pid_type___ours, PIDTYPE_TGID___ours);
	bpf_printk("%d", sum);
	return 0;
}

SEC("raw_tp/sched_wakeup")
int unguarded(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, no_such_member);
}

char _license[] SEC("license") = "GPL";
