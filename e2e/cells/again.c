/* Connects to an allowed port, lets go of that peer, and tries every way to use the same socket
 * for a forbidden port or for listening. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in at(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int fresh(int port) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = at(port);
    if (connect(s, (void *)&a, sizeof a)) return -1;
    return s;
}

int main(int count, char **words) {
    int open = atoi(words[1]), closed = atoi(words[2]);
    struct sockaddr_in bad = at(closed), any = {.sin_family = AF_INET};
    struct sockaddr none = {.sa_family = AF_UNSPEC};

    int s = fresh(open);
    if (s >= 0) puts("connected");
    connect(s, &none, sizeof none);
    if (!connect(s, (void *)&bad, sizeof bad)) puts("reached by connect");
    close(s);

    s = fresh(open);
    connect(s, &none, sizeof none);
    if (sendto(s, "x", 1, MSG_FASTOPEN, (void *)&bad, sizeof bad) == 1) puts("reached by fast open");
    close(s);

    s = fresh(open);
    shutdown(s, SHUT_RDWR);
    connect(s, &none, sizeof none);
    if (!listen(s, 1)) puts("reached by listen");
    close(s);

    /* A connect that fails leaves an unconnected socket. */
    s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in good = at(open);
    connect(s, (void *)&good, sizeof good);
    connect(s, &none, sizeof none);
    if (!bind(s, (void *)&any, sizeof any) && !listen(s, 1)) puts("reached by bind");
    close(s);
    return 0;
}
