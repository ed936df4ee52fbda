"""All that talks to the kernel: libbpf, the BPF object, its maps and programs, and /proc."""
