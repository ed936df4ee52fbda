/*
 * Keeps a CPU inside of netmon's programs, as any user can: makes connections whose process has to be described each
 * time anew, and takes long to describe.
 *
 *   describe_load PROCESSES CPU
 *
 * Each process runs on that CPU alone, when nothing else wants to (SCHED_IDLE). It has a working program deep in
 * directories and 8 KiB of arguments, and its capabilities differ at each connect: those of a user namespace of its
 * own. Some of its sockets are of MPTCP. Prints "busy" when all connect, and goes on until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEPTH = 1000, ARGUMENTS = 8192, USER = 1000, AT_ONCE = 20, MPTCP_EACH = 4, MPTCP = 262 };

static void set_effective(unsigned int bits)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		err(1, "capget");
	data[0].effective = data[0].permitted & bits;
	if (syscall(SYS_capset, &header, data))
		err(1, "capset");
}

/* Copies this program to the bottom of many directories, and runs it there. */
static void exec_deep(char **argv)
{
	static char argument[ARGUMENTS];
	char text[4096];
	int from = open("/proc/self/exe", O_RDONLY), to;
	ssize_t n;

	if (chdir("/tmp"))
		err(1, "/tmp");
	snprintf(text, sizeof(text), "describe_load.%d", getpid());
	for (int i = 0; i < DEPTH; i++) {
		if (mkdir(i ? "d" : text, 0700) || chdir(i ? "d" : text))
			err(1, "mkdir");
	}
	to = open("deep", O_WRONLY | O_CREAT, 0700);
	while ((n = read(from, text, sizeof(text))) > 0) {
		if (write(to, text, n) != n)
			err(1, "write");
	}
	close(to);
	memset(argument, 'x', sizeof(argument) - 1);
	execl("./deep", "deep", "", argv[2], argument, NULL);
	err(1, "deep");
}

static void connect_for_ever(const char *cpu)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sched_param none = {};
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(atoi(cpu), &cpus);
	/* After the exec, which takes the capabilities of whoever is not root in the namespace. */
	if (unshare(CLONE_NEWUSER))
		err(1, "unshare");
	if (sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    syscall(SYS_sched_setscheduler, 0, SCHED_IDLE, &none)) /* musl has no function for it */
		err(1, "sched");
	for (unsigned int i = 0;; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, i % MPTCP_EACH ? 0 : MPTCP);

		set_effective(i);
		connect(fd, (struct sockaddr *)&address, sizeof(address));
		close(fd);
		if (i == AT_ONCE && write(STDOUT_FILENO, ".", 1) != 1)
			err(1, "write");
	}
}

int main(int argc, char **argv)
{
	int pipes[2], processes = argc > 1 ? atoi(argv[1]) : 0;
	char ready;

	if (argc == 4)
		connect_for_ever(argv[2]);
	if (argc != 3)
		errx(2, "usage: describe_load PROCESSES CPU");
	if (pipe(pipes) || setgid(USER) || setuid(USER) || prctl(PR_SET_DUMPABLE, 1))
		err(1, "user");
	for (int i = 0; i < processes; i++) {
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			dup2(pipes[1], STDOUT_FILENO);
			exec_deep(argv);
		}
	}
	close(pipes[1]);
	for (int i = 0; i < processes; i++) {
		if (read(pipes[0], &ready, 1) != 1)
			errx(1, "a process ended");
	}
	puts("busy");
	fflush(stdout);
	while (wait(NULL) > 0)
		;
	return 1;
}
