/* One thread flips the port of an address between allowed and forbidden while another connects to
 * it. Prints how often the allowed and how often the forbidden port was reached. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile struct sockaddr_in to;
static volatile int over;
static unsigned short ports[2];

static void *flip(void *none) {
    for (unsigned i = 0; !over; i++) to.sin_port = ports[i & 1];
    return none;
}

int main(int count, char **words) {
    ports[0] = htons(atoi(words[1]));
    ports[1] = htons(atoi(words[2]));
    int rounds = atoi(words[3]), reached = 0, leaked = 0;
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = ports[0];
    pthread_t thread;
    pthread_create(&thread, NULL, flip, NULL);
    struct linger now = {1, 0};
    for (int i = 0; i < rounds; i++) {
        int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(s, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        connect(s, (void *)&to, sizeof to);
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        if (!getpeername(s, (void *)&peer, &length)) {
            if (peer.sin_port == ports[0]) reached++; else leaked++;
        }
        close(s);
    }
    over = 1;
    pthread_join(thread, NULL);
    printf("%d %d\n", reached, leaked);
    return 0;
}
