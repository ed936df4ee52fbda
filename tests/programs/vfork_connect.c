/*
 * A child that shares its parent's memory (vfork) connects, then execs.
 *
 *   vfork_connect PORT PROGRAM
 *
 * The child connects to 127.0.0.1:PORT and execs PROGRAM with PORT as argument, the connection still open.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), status;
	pid_t child;

	if (argc != 3)
		errx(2, "usage: vfork_connect PORT PROGRAM");
	address.sin_port = htons(atoi(argv[1]));
	child = vfork();
	if (!child) {
		if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
			execl(argv[2], argv[2], argv[1], NULL);
		_exit(1);
	}
	close(fd);
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		errx(1, "the child failed");
	return 0;
}
