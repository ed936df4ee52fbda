/*
 * What any user can do to netmon, as fast as it can, until it is killed.
 *
 *   attack connect [ARGUMENT...]    connects to a port that nobody listens on
 *   attack change [ARGUMENT...]     the same, with other credentials each time, so that each is described anew
 *   attack fork [ARGUMENT...]       the same, in a new process each time, which has renamed itself
 *   attack hold [ARGUMENT...]       connects to itself and keeps all connections
 *
 * Started by root it becomes user 1000, whose saved ids let it change between groups 1000 and 1001. The arguments are
 * only there to be reported. Prints "begun" once it has begun.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USER = 1000, CLOSED_PORT = 1 };

static void become_user(void)
{
	if (getuid())
		return;
	if (setgroups(0, NULL) || setresgid(USER, USER, USER + 1) || setresuid(USER, USER, USER))
		err(1, "become user %d", USER);
}

static int connect_to(in_port_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = port,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno != ECONNREFUSED) {
		close(fd);
		return -1;
	}
	return fd;
}

static void connect_and_close(void)
{
	close(connect_to(htons(CLOSED_PORT)));
}

static void change_credentials(void)
{
	static bool other;

	other = !other;
	if (setresgid(-1, USER + other, -1))
		err(1, "setresgid");
}

/* A name that would control a terminal. */
static void connect_in_new_process(void)
{
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_NAME, "\x1b]0;x\x07\xe2\x80\xae\n");
		connect_and_close();
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

/* Connects to itself until no more descriptors are left, then waits. */
static void hold_connections(void)
{
	struct rlimit files = {1 << 20, 1 << 20};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	setrlimit(RLIMIT_NOFILE, &files);
	if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		err(1, "listen");
	while (connect_to(address.sin_port) >= 0 && accept(listener, NULL, NULL) >= 0)
		;
	pause();
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	bool change = !strcmp(kind, "change");

	become_user();
	puts("begun");
	fflush(stdout);
	if (!strcmp(kind, "hold"))
		hold_connections();
	if (!strcmp(kind, "fork"))
		for (;;)
			connect_in_new_process();
	if (strcmp(kind, "connect") && !change)
		errx(2, "attack connect|change|fork|hold [ARGUMENT...]");
	for (;;) {
		if (change)
			change_credentials();
		connect_and_close();
	}
}
