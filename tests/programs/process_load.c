/*
 * Runs many short processes, one after the other: each is forked, executes this program anew and makes one connection
 * to the process that started it.
 *
 *   process_load [-n PROCESSES]
 *
 * Prints "PROCESSES SECONDS" at the end.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A closed connection keeps its port for a while: a new destination address before the ports run out. */
enum { PER_ADDRESS = 20000 };

static int connect_once(int port, int host)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + host),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	return close(fd);
}

static void run_one(const char *program, int listener, const char *port, int host)
{
	char host_text[16];
	int status;
	pid_t child;

	snprintf(host_text, sizeof(host_text), "%d", host);
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (child == 0) {
		execl(program, program, port, host_text, NULL);
		err(1, "exec");
	}
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		err(1, "accept");
	close(fd);
	if (waitpid(child, &status, 0) < 0 || status)
		errx(1, "a process failed");
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int processes = argc == 3 && !strcmp(argv[1], "-n") ? atoi(argv[2]) : 1000;
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	char port[16];

	if (argc == 3 && strcmp(argv[1], "-n"))
		return connect_once(atoi(argv[1]), atoi(argv[2]));
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		err(1, "listen");
	snprintf(port, sizeof(port), "%d", ntohs(address.sin_port));
	double start = now();

	for (int i = 0; i < processes; i++)
		run_one(argv[0], listener, port, i / PER_ADDRESS);
	printf("%d %.6f\n", processes, now() - start);
	return 0;
}
