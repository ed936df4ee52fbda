/*
 * Holds many connections open over loopback, each with a byte carried.
 *
 *   open_sending CONNECTIONS
 *
 * Waits for a line on standard input, opens the connections, sends a byte from the client to the server of each, and
 * prints "open". At the next line it ends, which closes both ends of each.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void open_one(int listener, struct sockaddr_in *address)
{
	int server, client = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 0;

	if (client < 0 || connect(client, (struct sockaddr *)address, sizeof(*address)))
		err(1, "connect");
	server = accept(listener, NULL, NULL);
	if (server < 0)
		err(1, "accept");
	if (send(client, &byte, 1, 0) != 1 || recv(server, &byte, 1, 0) != 1)
		err(1, "send");
}

int main(int argc, char **argv)
{
	struct rlimit files = {1 << 20, 1 << 20};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 2)
		errx(2, "usage: open_sending CONNECTIONS");
	setrlimit(RLIMIT_NOFILE, &files);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		err(1, "listen");
	getchar();
	for (int i = 0; i < atoi(argv[1]); i++)
		open_one(listener, &address);
	printf("open\n");
	fflush(stdout);
	getchar();
	return 0;
}
