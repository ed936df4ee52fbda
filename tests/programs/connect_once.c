/*
 * The subject of the process tests: connects once, says so, waits to be let go.
 *
 *   connect_once PORT [IGNORED...]
 *
 * Connects to 127.0.0.1:PORT, prints "connected", reads a line from standard input, ends.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc < 2)
		errx(2, "usage: connect_once PORT");
	address.sin_port = htons(atoi(argv[1]));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(1, "connect");
	puts("connected");
	fflush(stdout);
	getchar();
	return 0;
}
