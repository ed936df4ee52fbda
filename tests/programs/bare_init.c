/*
 * The first process of a guest that has nothing but this program and the executable /netmon.
 *
 * Makes the root read-only, has netmon check the host, then runs it twice at once, connects once, to a port that
 * refuses, and ends both when they have reported that. Prints what they print. Powers off.
 */
#include <arpa/inet.h>
#include <err.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct netmon {
	pid_t pid;
	FILE *output, *errors;
};

static void must(int result, const char *what)
{
	if (result < 0) {
		warn("%s", what);
		reboot(RB_POWER_OFF);
	}
}

static void set_up(void)
{
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	must(mkdir("/proc", 0755), "mkdir /proc");
	must(mkdir("/sys", 0755), "mkdir /sys");
	must(mount("proc", "/proc", "proc", 0, NULL), "mount /proc");
	must(mount("sysfs", "/sys", "sysfs", 0, NULL), "mount /sys");
	must(mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL), "remount /");
	must(ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &loopback), "lo");
}

static struct netmon start(const char *command)
{
	struct netmon netmon;
	int output[2], errors[2];

	must(pipe(output), "pipe");
	must(pipe(errors), "pipe");
	netmon.pid = fork();
	must(netmon.pid, "fork");
	if (!netmon.pid) {
		dup2(output[1], STDOUT_FILENO);
		dup2(errors[1], STDERR_FILENO);
		execl("/netmon", "netmon", command, NULL);
		_exit(127);
	}
	close(output[1]);
	close(errors[1]);
	netmon.output = fdopen(output[0], "r");
	netmon.errors = fdopen(errors[0], "r");
	return netmon;
}

/* Print a stream's lines, until one has a text in it. */
static void relay(FILE *stream, const char *text)
{
	static char line[65536];

	while (fgets(line, sizeof(line), stream)) {
		fputs(line, stdout);
		fflush(stdout);
		if (text && strstr(line, text))
			return;
	}
}

static void end(struct netmon netmon)
{
	int status;

	relay(netmon.output, NULL);
	relay(netmon.errors, NULL);
	waitpid(netmon.pid, &status, 0);
	printf("exit code %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static void connect_in_vain(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	connect(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
}

int main(void)
{
	struct netmon first, second;

	set_up();
	end(start("check"));
	first = start("run");
	second = start("run");
	relay(first.errors, "netmon: ready");
	relay(second.errors, "netmon: ready");
	connect_in_vain();
	relay(first.output, "TcpConnectionClose");
	relay(second.output, "TcpConnectionClose");
	kill(first.pid, SIGTERM);
	kill(second.pid, SIGTERM);
	end(first);
	end(second);
	reboot(RB_POWER_OFF);
}
