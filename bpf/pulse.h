/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A sign of life. User space has the kernel call bpf_fentry_test1(), a function that exists for tests of BPF
 * (BPF_PROG_TEST_RUN), and looks whether the program that is attached to it has run. If it has not, the kernel has
 * stopped running attached programs, as with the sysctl kernel.ftrace_enabled=0, although they stay attached.
 */
#ifndef __PULSE_H__
#define __PULSE_H__

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

__u64 pulses SEC(".data.pulses") = 0; /* since the start */

/* Counts a run. Returns 0. */
static __always_inline int count_pulse(void)
{
	__sync_fetch_and_add(&pulses, 1);
	return 0;
}

#endif
