/*
 * Asks the resolver of the C library musl, then connects to port 9 of the first address.
 *
 *   resolve_musl NAME
 */
#include <err.h>
#include <netdb.h>
#include <stddef.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
	int error, sock;

	if (argc != 2)
		errx(2, "usage: resolve_musl NAME");
	error = getaddrinfo(argv[1], "9", &hints, &found);
	if (error)
		errx(1, "%s: %s", argv[1], gai_strerror(error));
	sock = socket(found->ai_family, found->ai_socktype, 0);
	if (sock < 0)
		err(1, "socket");
	connect(sock, found->ai_addr, found->ai_addrlen);
	return 0;
}
